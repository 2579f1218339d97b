//! What can go wrong with Kafka, and what it means to a caller.

use millrace_core::Code;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

/// The result of a call to Kafka.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// librdkafka refuses the settings, or has no threads or memory for another client.
    #[error("create Kafka client")]
    Create(#[source] KafkaError),
    /// The brokers are away or did not answer in time. For a send: the record may be there or not.
    #[error("{what}: Kafka is unavailable")]
    Unavailable {
        /// What was tried.
        what: &'static str,
        /// What librdkafka says.
        source: KafkaError,
    },
    /// Too much waits for its acknowledgement already. Nothing was sent.
    #[error("over {limit} bytes wait for Kafka's acknowledgement")]
    Busy {
        /// The bound, in bytes.
        limit: usize,
    },
    /// The record is over the producer's or the topic's limit.
    #[error("record of {size} bytes is over Kafka's limit")]
    TooLarge {
        /// The record's size, in bytes.
        size: usize,
    },
    /// No such topic or partition.
    #[error("topic {0} does not exist")]
    UnknownTopic(String),
    /// The brokers do not let us.
    #[error("{what}: not authorised")]
    Unauthorized {
        /// What was tried.
        what: &'static str,
        /// What librdkafka says.
        source: KafkaError,
    },
    /// The brokers refuse.
    #[error("{what}")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// What librdkafka says.
        source: KafkaError,
    },
    /// The client is closing.
    #[error("Kafka client is closed")]
    Closed,
}

impl Error {
    /// What callers see.
    pub fn code(&self) -> Code {
        match self {
            Self::Create(_) => Code::InvalidConfig,
            Self::Unavailable { .. } | Self::Closed => Code::Unavailable,
            Self::Busy { .. } => Code::RateLimited,
            Self::TooLarge { .. } => Code::TooLarge,
            Self::UnknownTopic(_) => Code::NotFound,
            Self::Unauthorized { .. } => Code::PermissionDenied,
            Self::Refused { .. } => Code::Internal,
        }
    }

    /// Low cardinality, stable: a metric label.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Unavailable { .. } => "unavailable",
            Self::Busy { .. } => "busy",
            Self::TooLarge { .. } => "too_large",
            Self::UnknownTopic(_) => "unknown_topic",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Refused { .. } => "refused",
            Self::Closed => "closed",
        }
    }

    /// Whether the same call may succeed later, unchanged.
    pub fn is_retriable(&self) -> bool {
        self.code().is_retriable()
    }

    /// Sorts a failure of librdkafka by what a caller can do about it.
    pub(crate) fn from_kafka(what: &'static str, source: KafkaError) -> Self {
        use RDKafkaErrorCode as E;
        match source.rdkafka_error_code() {
            Some(E::MessageSizeTooLarge | E::MessageBatchTooLarge) => Self::TooLarge { size: 0 },
            Some(
                E::TopicAuthorizationFailed
                | E::GroupAuthorizationFailed
                | E::ClusterAuthorizationFailed
                | E::TransactionalIdAuthorizationFailed
                | E::SaslAuthenticationFailed
                | E::Authentication,
            ) => Self::Unauthorized { what, source },
            Some(code) if is_transient(code) => Self::Unavailable { what, source },
            _ => Self::Refused { what, source },
        }
    }
}

/// Whether the brokers may do the same thing later.
pub(crate) fn is_transient(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as E;
    matches!(
        code,
        E::BrokerTransportFailure
            | E::AllBrokersDown
            | E::Resolve
            | E::OperationTimedOut
            | E::MessageTimedOut
            | E::TimedOutQueue
            | E::RequestTimedOut
            | E::QueueFull
            | E::ISRInsufficient
            | E::NotEnoughReplicas
            | E::NotEnoughReplicasAfterAppend
            | E::LeaderNotAvailable
            | E::NotLeaderForPartition
            | E::BrokerNotAvailable
            | E::ReplicaNotAvailable
            | E::NetworkException
            | E::NotController
            | E::CoordinatorLoadInProgress
            | E::CoordinatorNotAvailable
            | E::NotCoordinator
            | E::WaitingForCoordinator
            | E::UnstableOffsetCommit
            | E::OffsetNotAvailable
            | E::ThrottlingQuotaExceeded
            | E::KafkaStorageError
            | E::PurgeQueue
            | E::PurgeInflight
            | E::DestroyBroker
            | E::BrokerDestroy
            | E::Retry
            | E::GaplessGuarantee
    )
}

/// Whether a consumer cannot go on after that error: the brokers refuse us, and will go on to do so.
pub(crate) fn is_fatal_to_reading(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as E;
    matches!(
        code,
        E::Fatal
            | E::TopicAuthorizationFailed
            | E::GroupAuthorizationFailed
            | E::ClusterAuthorizationFailed
            | E::InconsistentGroupProtocol
            | E::UnsupportedAssignor
            | E::InvalidGroupId
            | E::FencedInstanceId
    )
}
