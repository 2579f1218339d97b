use millrace_core::Code;

/// Why the registry gave no schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It does not know the id, the subject or the version.
    #[error("{0}")]
    NotFound(String),
    /// It cannot be reached, fails, or refuses our credentials: nothing is known about the schema, and to ask again later is right.
    #[error("schema registry unavailable: {0}")]
    Unavailable(String),
    /// The subject's compatibility level refuses the schema.
    #[error("{0}")]
    Incompatible(String),
    /// The schema, or what was asked, is not valid; or a setting is not.
    #[error("{0}")]
    Invalid(String),
}

impl Error {
    /// What callers see.
    pub fn code(&self) -> Code {
        match self {
            Self::NotFound(_) => Code::NotFound,
            Self::Unavailable(_) => Code::Unavailable,
            Self::Incompatible(_) => Code::IncompatibleSchema,
            Self::Invalid(_) => Code::InvalidRequest,
        }
    }

    /// Low cardinality, stable: a metric label.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "schema_not_found",
            Self::Unavailable(_) => "registry_unavailable",
            Self::Incompatible(_) => "incompatible_schema",
            Self::Invalid(_) => "invalid_schema",
        }
    }

    /// Whether the same question may be answered later.
    pub fn is_retriable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}
