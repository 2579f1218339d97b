//! What can go wrong.

use millrace_core::Code;

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a partition cannot be archived now.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// S3.
    #[error(transparent)]
    Aws(#[from] millrace_aws::Error),
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] millrace_kafka::Error),
    /// The schema registry.
    #[error("schema registry: {0}")]
    Registry(#[from] millrace_schema::client::Error),
    /// The record around values cannot be made.
    #[error(transparent)]
    Archived(#[from] millrace_schema::archived::Error),
    /// A file cannot be written.
    #[error("write a file: {0}")]
    Container(#[from] millrace_schema::container::Error),
    /// What the chain has cannot be read here.
    #[error(transparent)]
    Manifest(#[from] millrace_lake::Error),
    /// Somebody else has archived this partition meanwhile, up to another offset.
    #[error(
        "{topic}/{partition}: offsets from {first} on were archived by another, up to {theirs}; going on from there"
    )]
    Overtaken {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The first offset of the window.
        first: i64,
        /// Where theirs ends.
        theirs: i64,
    },
}

impl Error {
    /// What callers see.
    pub fn code(&self) -> Code {
        match self {
            Self::Aws(error) => error.code(),
            Self::Kafka(error) => error.code(),
            Self::Registry(error) => error.code(),
            Self::Archived(_) | Self::Container(_) => Code::Internal,
            Self::Manifest(_) => Code::Corrupt,
            Self::Overtaken { .. } => Code::Unavailable,
        }
    }

    /// Low cardinality, stable: a metric label.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Aws(error) => error.tag(),
            Self::Kafka(error) => error.tag(),
            Self::Registry(_) => "registry",
            Self::Archived(_) => "archived",
            Self::Container(_) => "container",
            Self::Manifest(_) => "manifest",
            Self::Overtaken { .. } => "overtaken",
        }
    }
}
