//! The records of one transaction, copied out of librdkafka's buffers into one of our own.
//!
//! A message that is held pins all that was fetched with it; a copy of a kilobyte is cheaper than that. The buffers
//! keep their room from batch to batch, so that a record costs no allocation.

use std::{ops::Range, sync::Arc};

use rdkafka::Message;

use crate::headers;

/// One record, as a processor sees it.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// Where it was read: topic.
    pub topic: &'a str,
    /// Where it was read: partition.
    pub partition: i32,
    /// Where it was read: offset.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: HeadersRef<'a>,
    pub(super) index: usize,
}

/// The headers of an [`Input`].
#[derive(Clone, Copy)]
pub struct HeadersRef<'a> {
    bytes: &'a [u8],
    entries: &'a [(Span, Span)],
}

impl<'a> HeadersRef<'a> {
    /// The value of that name; of several, the last one.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter().rev().find(|(key, _)| *key == name.as_bytes()).map(|(_, value)| value)
    }

    /// The value of that name, when it is text.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// All of them, in order: names (UTF-8) and values.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let bytes = self.bytes;
        self.entries.iter().map(move |(name, value)| (name.of(bytes), value.of(bytes)))
    }
}

/// The records of one transaction. Lanes fill it from Kafka; benchmarks and tests of a processor by hand.
#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    records: Vec<Entry>,
    headers: Vec<(Span, Span)>,
    topics: Vec<Arc<str>>,
}

struct Entry {
    topic: usize,
    partition: i32,
    offset: i64,
    timestamp_ms: Option<i64>,
    key: Option<Span>,
    value: Option<Span>,
    headers: Range<usize>,
}

/// A stretch of a buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    start: usize,
    len: usize,
}

impl Span {
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start..self.start + self.len]
    }

    /// Copies bytes to a buffer's end.
    pub(super) fn append(bytes: &mut Vec<u8>, more: &[u8]) -> Self {
        let start = bytes.len();
        bytes.extend_from_slice(more);
        Self { start, len: more.len() }
    }
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The bytes of keys, values and headers.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a record by hand.
    pub fn push(
        &mut self,
        (topic, partition, offset): (&str, i32, i64),
        timestamp_ms: Option<i64>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, &[u8])],
    ) {
        let first = self.headers.len();
        for (name, value) in headers {
            self.push_header(name, value);
        }
        let entry = Entry {
            topic: self.intern(topic),
            partition,
            offset,
            timestamp_ms,
            key: key.map(|key| Span::append(&mut self.bytes, key)),
            value: value.map(|value| Span::append(&mut self.bytes, value)),
            headers: first..self.headers.len(),
        };
        self.records.push(entry);
    }

    /// Adds a record from Kafka.
    pub(super) fn copy(&mut self, message: &impl Message) {
        let first = self.headers.len();
        headers::for_each(message, |name, value| self.push_header(name, value));
        let entry = Entry {
            topic: self.intern(message.topic()),
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            key: message.key().map(|key| Span::append(&mut self.bytes, key)),
            value: message.payload().map(|value| Span::append(&mut self.bytes, value)),
            headers: first..self.headers.len(),
        };
        self.records.push(entry);
    }

    /// Keeps the records of which `keep` says so, given topic and partition.
    pub(super) fn retain(&mut self, keep: impl Fn(&str, i32) -> bool) {
        let topics = &self.topics;
        self.records.retain(|entry| keep(&topics[entry.topic], entry.partition));
    }

    /// The records, in the order of reading.
    pub fn inputs(&self) -> Vec<Input<'_>> {
        self.records.iter().enumerate().map(|(index, entry)| self.input(index, entry)).collect()
    }

    /// Empties the batch and keeps its room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
        self.headers.clear();
    }

    fn input<'a>(&'a self, index: usize, entry: &'a Entry) -> Input<'a> {
        Input {
            topic: &self.topics[entry.topic],
            partition: entry.partition,
            offset: entry.offset,
            timestamp_ms: entry.timestamp_ms,
            key: entry.key.map(|span| span.of(&self.bytes)),
            value: entry.value.map(|span| span.of(&self.bytes)),
            headers: HeadersRef { bytes: &self.bytes, entries: &self.headers[entry.headers.clone()] },
            index,
        }
    }

    fn push_header(&mut self, name: &str, value: &[u8]) {
        let name = Span::append(&mut self.bytes, name.as_bytes());
        let value = Span::append(&mut self.bytes, value);
        self.headers.push((name, value));
    }

    fn intern(&mut self, topic: &str) -> usize {
        self.topics.iter().position(|known| **known == *topic).unwrap_or_else(|| {
            self.topics.push(topic.into());
            self.topics.len() - 1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_were_put_in() {
        let mut batch = Batch::new();
        for round in 0..2 {
            batch.clear();
            batch.push(("a", 0, 7), Some(1), Some(b"k"), None, &[("x", b"1"), ("x", b"2")]);
            batch.push(("b", 1, 8), None, None, Some(b""), &[]);
            let inputs = batch.inputs();
            let (first, second) = (inputs[0], inputs[1]);
            assert_eq!(
                (first.topic, first.partition, first.offset, first.timestamp_ms),
                ("a", 0, 7, Some(1)),
                "{round}"
            );
            assert_eq!((first.key, first.value), (Some(&b"k"[..]), None));
            assert_eq!((first.headers.text("x"), first.headers.iter().count()), (Some("2"), 2));
            assert_eq!((second.topic, second.key, second.value), ("b", None, Some(&b""[..])));
            assert_eq!(second.headers.get("x"), None);
        }
    }

    #[test]
    fn records_of_partitions_that_moved_away_are_dropped() {
        let mut batch = Batch::new();
        for partition in [0, 1, 0] {
            batch.push(("a", partition, 7), None, None, Some(&[partition as u8]), &[]);
        }
        batch.retain(|_, partition| partition == 0);
        let kept: Vec<_> = batch.inputs().iter().map(|input| (input.index, input.value)).collect();
        assert_eq!(kept, [(0, Some(&[0_u8][..])), (1, Some(&[0_u8][..]))]);
    }
}
