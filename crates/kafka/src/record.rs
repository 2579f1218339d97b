//! Records on their way out and on their way in.

use std::sync::Arc;

use bytes::Bytes;
use rdkafka::Message;

use crate::headers::{self, Headers};

/// What Kafka adds to each record on the wire, roughly, in bytes; it keeps empty records from counting as nothing.
const OVERHEAD: usize = 64;

/// A record to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Where to.
    pub topic: Arc<str>,
    /// The partition; without one the key decides by murmur2, as in Java's clients, and without a key chance.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; none is a tombstone.
    pub value: Option<Bytes>,
    /// The headers.
    pub headers: Headers,
    /// Milliseconds since 1970; without one, the time of sending.
    pub timestamp_ms: Option<i64>,
}

impl Outgoing {
    /// What the record takes of a producer's bound, in bytes.
    pub fn size(&self) -> usize {
        self.key.as_ref().map_or(0, Bytes::len)
            + self.value.as_ref().map_or(0, Bytes::len)
            + self.headers.size()
            + OVERHEAD
    }
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its offset in its partition.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; none is a tombstone.
    pub value: Option<Bytes>,
    /// The headers.
    pub headers: Headers,
}

impl Record {
    /// Copies a message out of librdkafka's buffer: one that is held would pin everything that was fetched with it.
    pub(crate) fn copy(message: &impl Message) -> Self {
        let mut all = Headers::new();
        headers::for_each(message, |name, value| all.push(headers::intern(name), Bytes::copy_from_slice(value)));
        Self {
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            key: message.key().map(Bytes::copy_from_slice),
            value: message.payload().map(Bytes::copy_from_slice),
            headers: all,
        }
    }

    /// What the record takes in memory, in bytes.
    pub fn size(&self) -> usize {
        self.key.as_ref().map_or(0, Bytes::len)
            + self.value.as_ref().map_or(0, Bytes::len)
            + self.headers.size()
            + OVERHEAD
    }
}
