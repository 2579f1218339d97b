//! What a batch turns into. Nothing is sent before the whole batch is processed.

use std::{ops::Range, sync::Arc};

use millrace_core::{Code, header};

use super::batch::{Input, Span};
use crate::dead::{self, Verdict};

/// The outputs of one batch, in the order of their making.
pub struct Outputs {
    group: String,
    dead_topic: Arc<str>,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    headers: Vec<(Span, Span)>,
    topics: Vec<Arc<str>>,
    letters: Vec<(&'static str, Code)>,
}

struct Entry {
    input: usize,
    topic: usize,
    partition: Option<i32>,
    timestamp_ms: Option<i64>,
    key: Option<Span>,
    value: Option<Span>,
    headers: Range<usize>,
}

/// One output.
#[derive(Clone, Copy, Debug)]
pub struct Output<'a> {
    /// Where to.
    pub topic: &'a str,
    /// The partition; a dead letter has none, its key decides.
    pub partition: Option<i32>,
    /// Milliseconds since 1970: the input's.
    pub timestamp_ms: Option<i64>,
    /// The key: the input's.
    pub key: Option<&'a [u8]>,
    /// The value.
    pub value: Option<&'a [u8]>,
    bytes: &'a [u8],
    headers: &'a [(Span, Span)],
}

impl<'a> Output<'a> {
    /// The headers, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        let bytes = self.bytes;
        self.headers.iter().map(move |(name, value)| {
            // Names come from `&str` or from librdkafka, which has checked them.
            (std::str::from_utf8(name.of(bytes)).unwrap_or_default(), value.of(bytes))
        })
    }

    /// The value of that name; of several, the last one.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers().filter(|(key, _)| *key == name).last().map(|(_, value)| value)
    }

    pub(super) fn header_count(&self) -> usize {
        self.headers.len()
    }
}

impl Outputs {
    /// No outputs yet. Lanes make their own; benchmarks and tests of a processor make one by hand.
    pub fn new(group: impl Into<String>, dead_topic: &str) -> Self {
        Self {
            group: group.into(),
            dead_topic: dead_topic.into(),
            bytes: Vec::new(),
            entries: Vec::new(),
            headers: Vec::new(),
            topics: Vec::new(),
            letters: Vec::new(),
        }
    }

    /// Sends a record on: same key, same partition number, same timestamp. The input's headers are kept, except those
    /// that are about its own value or its own redrive; `headers` replace those of the same name or come after.
    pub fn send(&mut self, input: &Input<'_>, topic: &str, value: &[u8], headers: &[(&str, &[u8])]) {
        let first = self.headers.len();
        for (name, value) in input.headers.iter() {
            if passes_on(name) && !headers.iter().any(|(new, _)| new.as_bytes() == name) {
                self.push_header(name, value);
            }
        }
        for (name, value) in headers {
            self.push_header(name.as_bytes(), value);
        }
        let entry = Entry {
            input: input.index,
            topic: self.intern(topic),
            partition: Some(input.partition),
            timestamp_ms: input.timestamp_ms,
            key: input.key.map(|key| Span::append(&mut self.bytes, key)),
            value: Some(Span::append(&mut self.bytes, value)),
            headers: first..self.headers.len(),
        };
        self.entries.push(entry);
    }

    /// Gives a record up: it goes to the dead letters as it was, with the stage, the code and the reason.
    pub fn dead(&mut self, input: &Input<'_>, stage: &'static str, code: Code, reason: &str) {
        let first = self.headers.len();
        for (name, value) in input.headers.iter() {
            if std::str::from_utf8(name).is_ok_and(dead::keeps) {
                self.push_header(name, value);
            }
        }
        let group = self.group.clone();
        let verdict = Verdict { stage, code, reason, group: &group, topic: input.topic, partition: input.partition };
        for (name, value) in dead::describe(verdict, input.offset) {
            self.push_header(name.as_bytes(), value.as_bytes());
        }
        let dead_topic = Arc::clone(&self.dead_topic);
        let entry = Entry {
            input: input.index,
            topic: self.intern(&dead_topic),
            partition: None,
            timestamp_ms: None,
            key: input.key.map(|key| Span::append(&mut self.bytes, key)),
            value: input.value.map(|value| Span::append(&mut self.bytes, value)),
            headers: first..self.headers.len(),
        };
        self.entries.push(entry);
        self.letters.push((stage, code));
    }

    /// How many outputs there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Output<'_>> {
        (0..self.entries.len()).map(|index| self.output(index))
    }

    /// Empties the outputs and keeps their room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        self.headers.clear();
        self.letters.clear();
    }

    /// The dead letters among them, as (stage, code).
    pub fn letters(&self) -> &[(&'static str, Code)] {
        &self.letters
    }

    pub(super) fn output(&self, index: usize) -> Output<'_> {
        let entry = &self.entries[index];
        Output {
            topic: &self.topics[entry.topic],
            partition: entry.partition,
            timestamp_ms: entry.timestamp_ms,
            key: entry.key.map(|span| span.of(&self.bytes)),
            value: entry.value.map(|span| span.of(&self.bytes)),
            bytes: &self.bytes,
            headers: &self.headers[entry.headers.clone()],
        }
    }

    /// Puts a dead letter in the place of all that came of an input, because output `index` is over Kafka's limit. A
    /// dead letter that is itself too large loses its value: where it was read is among its headers.
    pub(super) fn give_up(&mut self, index: usize, inputs: &[Input<'_>], stage: &'static str) {
        let input = self.entries[index].input;
        if self.entries[index].partition.is_none() {
            self.entries[index].value = None;
            return;
        }
        let size = self.entries[index].value.map_or(0, |span| span.of(&self.bytes).len());
        self.entries.retain(|entry| entry.input != input);
        let reason = format!("output of {size} bytes is over Kafka's limit");
        self.dead(&inputs[input], stage, Code::TooLarge, &reason);
    }

    fn push_header(&mut self, name: &[u8], value: &[u8]) {
        let name = Span::append(&mut self.bytes, name);
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

/// Whether an input's header is also true of what came of it.
fn passes_on(name: &[u8]) -> bool {
    name != header::VALUE_SCHEMA_ID.as_bytes() && name != header::REDRIVE_FOR.as_bytes() && !name.starts_with(b"dead-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::Batch;

    fn batch() -> Batch {
        let mut batch = Batch::new();
        batch.push(
            ("p.events", 3, 9),
            Some(5),
            Some(b"k"),
            Some(b"v"),
            &[("event-id", b"e"), ("__value_schema_id", b"x"), ("redrive-for", b"g"), ("traceparent", b"old")],
        );
        batch
    }

    #[test]
    fn an_output_keeps_key_partition_time_and_headers() {
        let batch = batch();
        let mut out = Outputs::new("g", "p.dead");
        out.send(&batch.inputs()[0], "p.scores", b"scored", &[("traceparent", b"new"), ("more", b"1")]);
        let output = out.output(0);
        assert_eq!((output.topic, output.partition, output.timestamp_ms), ("p.scores", Some(3), Some(5)));
        assert_eq!((output.key, output.value), (Some(&b"k"[..]), Some(&b"scored"[..])));
        let headers: Vec<_> = output.headers().collect();
        assert_eq!(headers, [("event-id", &b"e"[..]), ("traceparent", b"new"), ("more", b"1")]);
    }

    #[test]
    fn a_dead_letter_says_where_and_why() {
        let batch = batch();
        let mut out = Outputs::new("millrace.p.scorer", "p.dead");
        out.dead(&batch.inputs()[0], "scorer", Code::Corrupt, "cut off");
        let letter = out.output(0);
        assert_eq!((letter.topic, letter.partition, letter.value), ("p.dead", None, Some(&b"v"[..])));
        assert_eq!(letter.header("dead-offset"), Some(&b"9"[..]));
        assert_eq!(letter.header("dead-group"), Some(&b"millrace.p.scorer"[..]));
        assert_eq!(letter.header("__value_schema_id"), Some(&b"x"[..]), "the value needs it");
        assert_eq!(letter.header("redrive-for"), None);
        assert_eq!(out.letters(), [("scorer", Code::Corrupt)]);
    }

    #[test]
    fn what_is_too_large_dies_in_two_steps() {
        let batch = batch();
        let inputs = batch.inputs();
        let mut out = Outputs::new("g", "p.dead");
        out.send(&inputs[0], "p.scores", b"large", &[]);
        out.give_up(0, &inputs, "scorer");
        assert_eq!((out.len(), out.output(0).topic), (1, "p.dead"));
        assert_eq!(out.output(0).header("dead-code"), Some(&b"TOO_LARGE"[..]));
        out.give_up(0, &inputs, "scorer");
        assert_eq!((out.len(), out.output(0).value), (1, None));
    }
}
