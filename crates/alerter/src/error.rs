use millrace_core::Code;
use millrace_schema::{Corrupt, client, framing, scored};

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can be wrong with one record, for good.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A tombstone where a record is expected.
    #[error("record has no value")]
    NoValue,
    /// The value does not name its schema.
    #[error(transparent)]
    Framing(#[from] framing::Error),
    /// The registry does not know the schema, or holds something else under its name.
    #[error("{0}")]
    Schema(client::Error),
    /// The schema is not one of scored events.
    #[error(transparent)]
    NotScored(#[from] scored::Error),
    /// The policy, or this service, cannot read data of the schema.
    #[error("{reason}")]
    Unreadable {
        /// What that is to a caller.
        code: Code,
        /// A metric label.
        tag: &'static str,
        /// In words.
        reason: String,
    },
    /// The bytes are not what the schema says.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// Postgres refuses what the record says.
    #[error(transparent)]
    Refused(millrace_postgres::Error),
}

impl Error {
    /// What goes into the dead letter.
    pub fn code(&self) -> Code {
        match self {
            Self::NoValue | Self::NotScored(_) => Code::InvalidEvent,
            Self::Framing(error) => error.code(),
            Self::Schema(error) => error.code(),
            Self::Unreadable { code, .. } => *code,
            Self::Corrupt(error) => error.code(),
            Self::Refused(error) => error.code(),
        }
    }

    /// Low cardinality, stable: a metric label.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::NoValue => "no_value",
            Self::Framing(error) => error.tag(),
            Self::Schema(error) => error.tag(),
            Self::NotScored(_) => "not_scored",
            Self::Unreadable { tag, .. } => tag,
            Self::Corrupt(error) => error.tag(),
            Self::Refused(error) => error.tag(),
        }
    }

    /// Never: what may pass later is no error of the record, and the loops wait for it.
    pub fn is_retriable(&self) -> bool {
        false
    }
}
