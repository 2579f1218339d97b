//! Records on their way out and on their way in.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rdkafka::Message;

use crate::headers::{self, Headers};

/// What Kafka adds to each record on the wire, roughly, in bytes; it keeps empty records from counting as nothing.
const OVERHEAD: usize = 64;

/// Room for a record's key and the values of its headers, in bytes: ours take about so many.
const HEADERS: usize = 192;

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
        let payload = message.payload().unwrap_or_default();
        let mut buffer = BytesMut::with_capacity(payload.len() + HEADERS);
        // All parts of a record live as long as it does: they share one allocation.
        let mut copy = |part: &[u8]| {
            buffer.extend_from_slice(part);
            buffer.split().freeze()
        };
        let (key, value) = (message.key().map(&mut copy), message.payload().map(&mut copy));
        let mut all = Headers::new();
        headers::for_each(message, |name, value| all.push(headers::intern(name), copy(value)));
        Self { offset: message.offset(), timestamp_ms: message.timestamp().to_millis(), key, value, headers: all }
    }

    /// What the record takes in memory, in bytes.
    pub fn size(&self) -> usize {
        self.key.as_ref().map_or(0, Bytes::len)
            + self.value.as_ref().map_or(0, Bytes::len)
            + self.headers.size()
            + OVERHEAD
    }
}
