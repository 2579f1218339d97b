//! Names of the record headers. Every record of ours carries the first four.

/// W3C trace context, as in HTTP.
pub const TRACEPARENT: &str = "traceparent";
/// Minted at the gateway or taken from the caller; the same in every record, log line, row and webhook of an event.
pub const CORRELATION_ID: &str = "correlation-id";
/// The idempotency key of the event, end to end.
pub const EVENT_ID: &str = "event-id";
/// When the gateway received the event: RFC 3339 in UTC with milliseconds.
pub const RECEIVED_AT: &str = "received-at";
/// The schema of the value under `guid-header` framing: 0x01 and 16 bytes.
pub const VALUE_SCHEMA_ID: &str = "__value_schema_id";
/// The consumer group that a redriven record is for; other groups skip it.
pub const REDRIVE_FOR: &str = "redrive-for";
/// On scores by a model from the registry: the pipeline's revision by which it was the champion, decimal. Within a partition
/// it never goes back.
pub const MODEL_REVISION: &str = "model-revision";

/// Headers of a dead letter: the record's own headers are kept, and these say what happened to it.
pub mod dead {
    /// The stage that gave up: `scorer`, `importer`, `judge`, `notify`.
    pub const STAGE: &str = "dead-stage";
    /// A [`Code`](crate::Code) by name.
    pub const CODE: &str = "dead-code";
    /// One sentence for a person.
    pub const REASON: &str = "dead-reason";
    /// Where the record was read: topic.
    pub const TOPIC: &str = "dead-topic";
    /// Where the record was read: partition, decimal.
    pub const PARTITION: &str = "dead-partition";
    /// Where the record was read: offset, decimal.
    pub const OFFSET: &str = "dead-offset";
    /// The consumer group that read it, for `redrive-for`.
    pub const GROUP: &str = "dead-group";
    /// When it was given up: RFC 3339 in UTC with milliseconds.
    pub const AT: &str = "dead-at";
    /// Why the letter has no value though the record has one.
    pub const VALUE: &str = "dead-value";
}
