use millrace_core::Code;

use crate::model::Conflict;

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the registry says no. The texts are near to Confluent's: people search for them.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum Error {
    #[error("Subject '{0}' not found.")]
    SubjectNotFound(String),
    #[error("Version {0} not found.")]
    VersionNotFound(String),
    #[error("Schema not found")]
    SchemaNotFound,
    #[error("Schema {0} not found")]
    SchemaIdNotFound(String),
    #[error("Subject '{0}' was soft deleted. Set permanent=true to delete permanently")]
    SubjectSoftDeleted(String),
    #[error("Subject '{0}' was not deleted first before being permanently deleted")]
    SubjectNotSoftDeleted(String),
    #[error("Subject '{0}' Version {1} was soft deleted. Set permanent=true to delete permanently")]
    VersionSoftDeleted(String, u32),
    #[error("Subject '{0}' Version {1} was not deleted first before being permanently deleted")]
    VersionNotSoftDeleted(String, u32),
    #[error("Subject '{0}' does not have subject-level compatibility configured")]
    NotConfigured(String),
    #[error("Schema being registered is incompatible with an earlier schema for subject \"{subject}\", details: [{}]", list(.conflicts))]
    Incompatible { subject: String, conflicts: Vec<Conflict> },
    #[error("Invalid schema: {0}")]
    InvalidSchema(String),
    #[error(
        "The specified version '{0}' is not a valid version id. Allowed values are between [1, 2^31-1] and the string \"latest\""
    )]
    InvalidVersion(String),
    #[error(
        "Invalid compatibility level '{0}'. Valid values are none, backward, forward, full, backward_transitive, forward_transitive, and full_transitive"
    )]
    InvalidLevel(String),
    #[error("{0} is not supported by this registry")]
    NotPermitted(String),
    #[error("One or more references exist to the schema {{magic=1,keytype=SCHEMA,subject={0},version={1}}}.")]
    Referenced(String, u32),
    #[error("The specified subject '{0}' is not a valid subject.")]
    InvalidSubject(String),
    #[error("request of more than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("{0}")]
    BadRequest(String),
    #[error("model {0} not found")]
    ModelNotFound(String),
    #[error("{0}")]
    Unmet(String),
    #[error("this registry keeps no models: start it with --model-store s3://bucket/prefix")]
    NoShelf,
    #[error("{0} is not there any more: a file of a model was removed from the store")]
    Lost(String),
    #[error("model store: {0}")]
    Shelf(#[from] millrace_aws::Error),
    #[error("Error in the backend data store: {0}")]
    Store(#[from] millrace_postgres::Error),
}

fn list(conflicts: &[Conflict]) -> String {
    conflicts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Error {
    /// What callers of gRPC see.
    pub fn code(&self) -> Code {
        match self {
            Self::SubjectNotFound(_)
            | Self::VersionNotFound(_)
            | Self::SchemaNotFound
            | Self::SchemaIdNotFound(_)
            | Self::NotConfigured(_)
            | Self::ModelNotFound(_) => Code::NotFound,
            Self::Unmet(_) => Code::PreconditionFailed,
            Self::NoShelf => Code::InvalidConfig,
            Self::Lost(_) => Code::Corrupt,
            // What S3 has against it is no fault of the caller's.
            Self::Shelf(error) if error.is_retriable() => Code::Unavailable,
            Self::Shelf(_) => Code::Internal,
            Self::Incompatible { .. } => Code::IncompatibleSchema,
            Self::TooLarge { .. } => Code::TooLarge,
            Self::Store(error) => error.code(),
            _ => Code::InvalidRequest,
        }
    }

    /// The `error_code` of Confluent's REST API; its first three digits are the HTTP status.
    pub fn rest(&self) -> u32 {
        match self {
            Self::SubjectNotFound(_) => 40_401,
            Self::VersionNotFound(_) => 40_402,
            Self::SchemaNotFound | Self::SchemaIdNotFound(_) => 40_403,
            Self::SubjectSoftDeleted(_) => 40_404,
            Self::SubjectNotSoftDeleted(_) => 40_405,
            Self::VersionSoftDeleted(..) => 40_406,
            Self::VersionNotSoftDeleted(..) => 40_407,
            Self::NotConfigured(_) => 40_408,
            Self::Incompatible { .. } => 409,
            Self::InvalidSchema(_) => 42_201,
            Self::InvalidVersion(_) => 42_202,
            Self::InvalidLevel(_) => 42_203,
            Self::NotPermitted(_) => 42_205,
            Self::Referenced(..) => 42_206,
            Self::InvalidSubject(_) => 42_208,
            Self::TooLarge { .. } => 42_209,
            Self::BadRequest(_) => 400,
            Self::ModelNotFound(_) => 404,
            Self::Unmet(_) => 412,
            Self::NoShelf | Self::Lost(_) | Self::Shelf(_) => 500,
            Self::Store(_) => 50_001,
        }
    }

    /// Low cardinality, stable: a metric label.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::SubjectNotFound(_) => "subject_not_found",
            Self::VersionNotFound(_) => "version_not_found",
            Self::SchemaNotFound | Self::SchemaIdNotFound(_) => "schema_not_found",
            Self::SubjectSoftDeleted(_)
            | Self::SubjectNotSoftDeleted(_)
            | Self::VersionSoftDeleted(..)
            | Self::VersionNotSoftDeleted(..) => "deletion_order",
            Self::NotConfigured(_) => "not_configured",
            Self::Incompatible { .. } => "incompatible",
            Self::InvalidSchema(_) => "invalid_schema",
            Self::InvalidVersion(_) | Self::InvalidLevel(_) | Self::InvalidSubject(_) | Self::BadRequest(_) => {
                "invalid_request"
            }
            Self::NotPermitted(_) => "not_permitted",
            Self::Referenced(..) => "referenced",
            Self::TooLarge { .. } => "too_large",
            Self::ModelNotFound(_) => "model_not_found",
            Self::Unmet(_) => "unmet",
            Self::NoShelf => "no_model_store",
            Self::Lost(_) => "lost",
            Self::Shelf(error) => error.tag(),
            Self::Store(error) => error.tag(),
        }
    }

    /// Whether the same request may succeed later.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Store(error) => error.is_retriable(),
            Self::Shelf(error) => error.is_retriable(),
            _ => false,
        }
    }
}
