use millrace_core::Code;
use millrace_schema::projection;

/// Why the events of a schema cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A field that the rules use cannot be read from data of that schema.
    #[error("policy cannot read events of this schema: {0}")]
    Field(#[from] projection::Error),
}

impl Error {
    /// What callers see.
    pub fn code(&self) -> Code {
        match self {
            Self::Field(error) => error.code(),
        }
    }

    /// Low cardinality, stable: a metric label.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Field(error) => error.tag(),
        }
    }

    /// Schemas do not change.
    pub fn is_retriable(&self) -> bool {
        self.code().is_retriable()
    }
}
