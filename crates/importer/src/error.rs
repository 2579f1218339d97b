//! What can go wrong in storing, sorted by what is to be done about it.

use millrace_core::Code;
use millrace_schema::client;

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why nothing is stored at this moment, or at all. What is wrong with one record is a [`Reject`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Postgres is away or refuses.
    #[error(transparent)]
    Postgres(#[from] millrace_postgres::Error),
    /// The registry is away.
    #[error(transparent)]
    Registry(#[from] client::Error),
    /// Kafka is away or refuses.
    #[error(transparent)]
    Kafka(#[from] millrace_kafka::Error),
    /// S3 or SQS is away or refuses.
    #[error(transparent)]
    Aws(#[from] millrace_aws::Error),
    /// An aggregate of the document asks for what the event does not have.
    #[error("aggregate `{aggregate}`: {problem}")]
    Aggregate {
        /// Its name in the document.
        aggregate: String,
        /// One sentence.
        problem: String,
    },
    /// A table is there and is not what the importer would have made.
    #[error("{table}: {problem}")]
    Table {
        /// The table.
        table: String,
        /// One sentence that says what to do.
        problem: String,
    },
    /// The ledger is behind what this process has stored: the database was restored, or somebody turned it back.
    #[error("the ledger of partition {partition} went back to offset {ledger}, expected {expected} or later")]
    WentBack {
        /// The partition.
        partition: i32,
        /// Where the ledger is.
        ledger: i64,
        /// Where it should be at least.
        expected: i64,
    },
}

impl Error {
    /// What callers see.
    pub fn code(&self) -> Code {
        match self {
            Self::Postgres(error) => error.code(),
            Self::Registry(error) => error.code(),
            Self::Kafka(error) => error.code(),
            Self::Aws(error) => error.code(),
            Self::Aggregate { .. } | Self::Table { .. } => Code::InvalidConfig,
            Self::WentBack { .. } => Code::Internal,
        }
    }

    /// Low cardinality, stable: a metric label.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Postgres(error) => error.tag(),
            Self::Registry(error) => error.tag(),
            Self::Kafka(error) => error.tag(),
            Self::Aws(error) => error.tag(),
            Self::Aggregate { .. } => "aggregate",
            Self::Table { .. } => "table",
            Self::WentBack { .. } => "went_back",
        }
    }

    /// Whether the same may succeed later. What Postgres, Kafka, AWS or the registry refuse today may be granted tomorrow,
    /// so only what is wrong with the documents, or with the ledger, ends the process.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Postgres(error) => {
                !matches!(error, millrace_postgres::Error::Older { .. } | millrace_postgres::Error::Newer { .. })
            }
            Self::Registry(_) | Self::Kafka(_) | Self::Aws(_) => true,
            Self::Aggregate { .. } | Self::Table { .. } | Self::WentBack { .. } => false,
        }
    }

    pub(crate) fn is_fenced(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.is_fenced())
    }

    pub(crate) fn is_data(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.is_data())
    }
}

/// Why one record cannot be stored, for its dead letter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Reject {
    /// For programs.
    pub code: Code,
    /// For people: one sentence.
    pub reason: String,
}

impl Reject {
    pub(crate) fn new(code: Code, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// The same, said of an object.
    pub(crate) fn about(self, bucket: &str, key: &str) -> Self {
        Self { reason: format!("s3://{bucket}/{key}: {}", self.reason), ..self }
    }

    pub(crate) fn corrupt(reason: impl std::fmt::Display) -> Self {
        Self::new(Code::Corrupt, reason.to_string())
    }
}
