//! What is wrong with a whole request, and with one event.

use std::time::Duration;

use millrace_core::Code;
use millrace_schema::client;

/// The result of what concerns a whole request.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a whole request was refused. None of its events was published.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Nothing that could be a key.
    #[error("no API key: send the header `Authorization: Bearer mr_...`")]
    KeyMissing,
    /// Malformed, unknown or revoked: the answer does not say which.
    #[error("unknown API key")]
    KeyUnknown,
    /// A key that is not in the cache, while Postgres is away.
    #[error("the API key cannot be checked at the moment: the key store is away")]
    KeyUnchecked,
    /// Not the admin token.
    #[error("key administration needs the admin token: `authorization: Bearer <admin token>`")]
    NotAdmin,
    /// No such pipeline, or none that the key may publish to: the answer does not say which.
    #[error("no pipeline {0:?} for this API key")]
    PipelineUnknown(String),
    /// The request cannot be read.
    #[error("{0}")]
    Malformed(String),
    /// The thing that was asked for is not there.
    #[error("{0}")]
    NotFound(String),
    /// A schema that is not one of the subject's.
    #[error(
        "{what} is not registered under the subject {subject:?}: register it first, for example with `millrace publish --register`"
    )]
    SchemaUnknown {
        /// How the client named it.
        what: String,
        /// The pipeline's subject.
        subject: String,
    },
    /// A registered schema that the pipeline cannot use.
    #[error("the subject {subject:?} holds a schema that this pipeline cannot use: {reason}")]
    SchemaUnusable {
        /// The pipeline's subject.
        subject: String,
        /// What does not fit.
        reason: String,
    },
    /// A schema that is not in the cache, while the registry is away.
    #[error("the schema registry is away")]
    Registry(#[source] client::Error),
    /// Over a bound on size.
    #[error("{what} is over the limit of {limit} {unit}")]
    TooLarge {
        /// What is too large: `the body`.
        what: &'static str,
        /// The bound.
        limit: usize,
        /// What the bound counts.
        unit: &'static str,
    },
    /// Over a bound of the key.
    #[error("the API key is over its limit of {limit} {unit}")]
    RateLimited {
        /// The bound.
        limit: usize,
        /// What the bound counts.
        unit: &'static str,
        /// When it may go on.
        retry_after: Duration,
    },
    /// Over a bound of the whole gateway.
    #[error("the gateway is at its limit of {limit} {unit}")]
    Overloaded {
        /// The bound.
        limit: usize,
        /// What the bound counts.
        unit: &'static str,
    },
    /// The client was too slow, or allowed too little time.
    #[error("{0}")]
    Deadline(&'static str),
    /// A defect of ours, or a database without its migrations.
    #[error("internal error: see the gateway's log")]
    Internal,
}

/// How long a client should wait where nothing better is known.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Error {
    /// What it is to the caller, on gRPC and HTTP alike.
    pub fn code(&self) -> Code {
        match self {
            Self::KeyMissing | Self::KeyUnknown | Self::NotAdmin => Code::Unauthenticated,
            Self::PipelineUnknown(_) | Self::NotFound(_) => Code::NotFound,
            Self::Malformed(_) | Self::SchemaUnknown { .. } => Code::InvalidRequest,
            Self::SchemaUnusable { .. } => Code::InvalidConfig,
            Self::TooLarge { .. } => Code::TooLarge,
            Self::RateLimited { .. } => Code::RateLimited,
            Self::KeyUnchecked | Self::Registry(_) | Self::Overloaded { .. } => Code::Unavailable,
            Self::Deadline(_) => Code::DeadlineExceeded,
            Self::Internal => Code::Internal,
        }
    }

    /// Low cardinality, stable: a metric label.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::KeyMissing => "key_missing",
            Self::KeyUnknown => "key_unknown",
            Self::KeyUnchecked => "key_store_away",
            Self::NotAdmin => "not_admin",
            Self::PipelineUnknown(_) => "pipeline_unknown",
            Self::Malformed(_) => "malformed",
            Self::NotFound(_) => "not_found",
            Self::SchemaUnknown { .. } => "schema_unknown",
            Self::SchemaUnusable { .. } => "schema_unusable",
            Self::Registry(_) => "registry_away",
            Self::TooLarge { .. } => "too_large",
            Self::RateLimited { .. } => "rate_limited",
            Self::Overloaded { .. } => "overloaded",
            Self::Deadline(_) => "deadline",
            Self::Internal => "internal",
        }
    }

    /// Whether the same request may succeed later, unchanged.
    pub fn is_retriable(&self) -> bool {
        self.code().is_retriable()
    }

    /// When to try again: the `Retry-After` of HTTP, the `RetryInfo` of gRPC.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } => Some(*retry_after),
            other => other.is_retriable().then_some(RETRY_AFTER),
        }
    }
}

/// Why one event was refused. It is not in Kafka and will not be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct Rejection {
    /// What it is to the caller.
    pub code: Code,
    /// The field that is wrong, `$.url_count`; empty when it is not about a field.
    pub path: String,
    /// One sentence for a person.
    pub message: String,
}

impl Rejection {
    /// About one field.
    pub(crate) fn at(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: Code::InvalidEvent, path: path.into(), message: message.into() }
    }

    /// About the event and none of its fields.
    pub(crate) fn whole(message: impl Into<String>) -> Self {
        Self::at("", message)
    }

    /// Over the bound on one event.
    pub(crate) fn too_large(size: usize, limit: usize) -> Self {
        Self { code: Code::TooLarge, ..Self::whole(format!("event of {size} bytes is over the limit of {limit}")) }
    }
}
