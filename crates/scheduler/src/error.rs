//! What can go wrong.

use millrace_core::Code;

use crate::plan::Hash;

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of the scheduler.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Postgres, or the way to it.
    #[error(transparent)]
    Postgres(#[from] millrace_postgres::Error),
    /// A run is pinned to a document that is not there, or that this version cannot read.
    #[error("document {hash}: {problem}")]
    Document {
        /// Which.
        hash: Hash,
        /// What is wrong with it.
        problem: String,
    },
    /// Something that somebody asked for is not there.
    #[error("there is no {0}")]
    NotFound(String),
    /// What somebody asked for cannot be done.
    #[error("{0}")]
    Invalid(String),
    /// What the database holds is not what we have written.
    #[error("database holds what nobody has written: {0}")]
    Strange(String),
}

impl Error {
    /// Parameters that a run cannot have, each with what is wrong.
    pub(crate) fn params(problems: &[(String, String)]) -> Self {
        let said: Vec<String> = problems.iter().map(|(name, it)| format!("parameter {name:?} {it}")).collect();
        Self::Invalid(said.join("; "))
    }

    /// What callers see.
    pub fn code(&self) -> Code {
        match self {
            Self::Postgres(error) => error.code(),
            Self::NotFound(_) => Code::NotFound,
            Self::Invalid(_) => Code::InvalidRequest,
            Self::Document { .. } | Self::Strange(_) => Code::Internal,
        }
    }

    /// Low cardinality, stable: a metric label.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Postgres(error) => error.tag(),
            Self::Document { .. } => "document",
            Self::NotFound(_) => "not_found",
            Self::Invalid(_) => "invalid",
            Self::Strange(_) => "strange",
        }
    }

    /// Whether the same may succeed later, unchanged.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Postgres(error) => error.is_retriable(),
            Self::Document { .. } | Self::NotFound(_) | Self::Invalid(_) | Self::Strange(_) => false,
        }
    }
}
