//! Why an event cannot be scored.

use millrace_core::Code;
use millrace_schema::{
    Corrupt,
    framing::{self, SchemaRef},
    scored,
};

/// The result of scoring one event.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an event cannot be scored, now or ever.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A record without a value.
    #[error("record has no value")]
    NoValue,
    /// The value does not say what schema it has.
    #[error("{0}")]
    Framing(#[from] framing::Error),
    /// The registry does not know the schema.
    #[error("schema {0} is not registered")]
    UnknownSchema(SchemaRef),
    /// The schema is there and cannot be used.
    #[error("schema {schema}: {reason}")]
    Schema {
        /// Which.
        schema: SchemaRef,
        /// What it is to a program.
        code: Code,
        /// What is wrong with it.
        reason: String,
    },
    /// The value is not what its schema says.
    #[error("event is not what its schema says: {0}")]
    Corrupt(Corrupt),
    /// There is more behind the event.
    #[error("{0} bytes behind the event")]
    Trailing(usize),
}

impl Error {
    /// What callers see.
    pub fn code(&self) -> Code {
        match self {
            Self::NoValue => Code::InvalidEvent,
            Self::Framing(error) => error.code(),
            Self::UnknownSchema(_) => Code::NotFound,
            Self::Schema { code, .. } => *code,
            Self::Corrupt(_) | Self::Trailing(_) => Code::Corrupt,
        }
    }

    /// Low cardinality, stable: a metric label.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::NoValue => "no_value",
            Self::Framing(_) => "framing",
            Self::UnknownSchema(_) => "unknown_schema",
            Self::Schema { .. } => "schema",
            Self::Corrupt(_) => "corrupt",
            Self::Trailing(_) => "trailing",
        }
    }

    /// Dead letters only: what may go better later is back-pressure.
    pub fn is_retriable(&self) -> bool {
        false
    }

    /// An event's schema around which there is no scored record.
    pub(crate) fn not_nestable(schema: SchemaRef, error: &scored::Error) -> Self {
        Self::Schema { schema, code: error.code(), reason: error.to_string() }
    }
}
