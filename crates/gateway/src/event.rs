//! One event on its way through: as it came in, and what became of it.

use bytes::Bytes;

use crate::Rejection;

/// An event as a client sent it.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The client's idempotency key; empty: the gateway finds or mints one.
    pub event_id: String,
    /// The client's correlation id; empty: the gateway mints one.
    pub correlation_id: String,
    /// What was sent.
    pub payload: Payload,
}

impl Incoming {
    /// Without ids of the client's own.
    pub(crate) fn bare(payload: Payload) -> Self {
        Self { event_id: String::new(), correlation_id: String::new(), payload }
    }
}

/// The event itself.
#[derive(Clone, Debug)]
pub enum Payload {
    /// One Avro datum, without framing.
    Avro(Bytes),
    /// One JSON object, as text.
    Json(Bytes),
    /// Neither.
    Missing,
}

impl Payload {
    /// Bytes as sent.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Avro(bytes) | Self::Json(bytes) => bytes.len(),
            Self::Missing => 0,
        }
    }
}

/// What became of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The client's, the field's, or the minted one. Empty when none was found before the event was refused.
    pub event_id: String,
    /// The client's or the minted one.
    pub correlation_id: String,
    /// Whether it is in Kafka.
    pub outcome: Outcome,
}

/// Whether an event is in Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All in-sync replicas have it.
    Accepted,
    /// It is not there and will not be.
    Rejected(Rejection),
    /// It may be there or not. The same event with the same id may be sent again: it stays one.
    Unknown(String),
}

impl Outcome {
    /// As JSON answers spell it.
    pub fn status(&self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected(_) => "rejected",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Whether it is [`Unknown`](Self::Unknown).
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }
}
