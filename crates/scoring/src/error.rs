use std::{io, path::PathBuf};

use millrace_core::Code;
use millrace_schema::{Corrupt, projection};

/// What can go wrong before a record is scored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A bundle's file cannot be read or written.
    #[error("{action} {}", path.display())]
    Io {
        /// Verb and object.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A bundle's file is not what it should be.
    #[error("model bundle: {}: {problem}", path.display())]
    Bundle {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it, in a sentence.
        problem: String,
    },
    /// A feature's field cannot be read from a writer's records.
    #[error("features do not fit the schema")]
    Field(#[from] projection::Error),
    /// A record for training is not what its schema says.
    #[error("record {index} of the training data")]
    Corrupt {
        /// In the order in which records were added, from zero.
        index: usize,
        /// What is wrong with it.
        source: Corrupt,
    },
    /// There is nothing to learn from.
    #[error("{0}")]
    Training(String),
}

/// The crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What callers see.
    pub fn code(&self) -> Code {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Code::NotFound,
            Self::Io { .. } => Code::Internal,
            Self::Bundle { .. } | Self::Training(_) => Code::InvalidConfig,
            Self::Field(error) => error.code(),
            Self::Corrupt { source, .. } => source.code(),
        }
    }

    /// Low cardinality, stable: a metric label.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Io { .. } => "bundle_io",
            Self::Bundle { .. } => "bundle_invalid",
            Self::Field(error) => error.tag(),
            Self::Corrupt { source, .. } => source.tag(),
            Self::Training(_) => "training_data",
        }
    }

    /// Files and schemas do not mend themselves.
    pub fn is_retriable(&self) -> bool {
        self.code().is_retriable()
    }
}
