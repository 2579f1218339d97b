//! Bodies into events: JSON (an object or an array), NDJSON, Avro object container files.

use std::fmt;

use bytes::Bytes;
use millrace_schema::{Schema, container};
use serde::de::{Deserializer as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::{Error, Incoming, Payload, Result, limits::Limits};

/// How a body is written, by its `Content-Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One JSON object, or an array of them.
    Json,
    /// One JSON object a line.
    Ndjson,
    /// An Avro object container file.
    Avro,
}

impl Format {
    /// A body without a type is taken for JSON.
    pub(super) fn of(content_type: Option<&str>) -> Result<Self> {
        let essence = content_type.unwrap_or("application/json").split(';').next().unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            "application/json" | "text/json" => Ok(Self::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
                Ok(Self::Ndjson)
            }
            "application/avro"
            | "application/vnd.apache.avro"
            | "application/vnd.apache.avro+binary"
            | "avro/binary" => Ok(Self::Avro),
            other => Err(Error::Malformed(format!(
                "content type {other:?} is not supported: send application/json, application/x-ndjson or application/avro"
            ))),
        }
    }
}

/// One object, or the elements of one array. The events are slices of the body.
pub(super) fn json(body: &Bytes, limits: &Limits) -> Result<Vec<Incoming>> {
    let malformed = |error: serde_json::Error| Error::Malformed(format!("the body is not JSON: {error}"));
    let event = |raw: &RawValue| Incoming::bare(Payload::Json(body.slice_ref(raw.get().as_bytes())));
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => Ok(vec![event(serde_json::from_slice(body).map_err(malformed)?)]),
        Some(b'[') => {
            let mut deserializer = serde_json::Deserializer::from_slice(body);
            let elements = deserializer.deserialize_seq(Elements { limit: limits.max_batch_events });
            let elements = elements.and_then(|elements| deserializer.end().map(|()| elements)).map_err(malformed)?;
            limits.check_batch(elements.len())?;
            Ok(elements.into_iter().map(event).collect())
        }
        _ => Err(Error::Malformed("the body is neither a JSON object nor an array of objects".to_owned())),
    }
}

/// Collects elements up to one over the limit, and only reads over the rest: a body of a million zeros is cheap.
struct Elements {
    limit: usize,
}

impl<'de> Visitor<'de> for Elements {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> std::result::Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = sequence.next_element::<&'de RawValue>()? {
            elements.push(element);
            if elements.len() > self.limit {
                while sequence.next_element::<IgnoredAny>()?.is_some() {}
                break;
            }
        }
        Ok(elements)
    }
}

/// A line that is not JSON is a bad event among good ones, not a bad body.
pub(super) fn ndjson(body: &Bytes, limits: &Limits) -> Result<Vec<Incoming>> {
    let mut events = Vec::new();
    for line in body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
        events.push(Incoming::bare(Payload::Json(body.slice_ref(line))));
        limits.check_batch(events.len())?;
    }
    Ok(events)
}

/// A whole file: the schema that it was written with, and its data. `grow` is told how many bytes are held.
pub(super) fn avro(
    body: &[u8],
    limits: &Limits,
    mut grow: impl FnMut(usize) -> Result<()>,
) -> Result<(Schema, Vec<Incoming>)> {
    let bounds =
        container::Limits { block: limits.max_decompressed_bytes, total: limits.max_decompressed_bytes as u64 };
    let mut reader = container::Reader::new(body, bounds).map_err(unreadable)?;
    let (mut arena, mut ends) = (Vec::with_capacity(body.len()), Vec::new());
    while let Some(datum) = reader.next_datum() {
        arena.extend_from_slice(datum.map_err(unreadable)?);
        grow(body.len() + arena.len())?;
        ends.push(arena.len());
        limits.check_batch(ends.len())?;
    }
    let arena = Bytes::from(arena);
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let events = starts.zip(&ends).map(|(start, end)| Incoming::bare(Payload::Avro(arena.slice(start..*end))));
    Ok((reader.schema().clone(), events.collect()))
}

fn unreadable(error: container::Error) -> Error {
    match error {
        container::Error::TooLarge { limit, .. } => {
            Error::TooLarge { what: "the decompressed body", limit: limit as usize, unit: "bytes" }
        }
        other => Error::Malformed(format!("the body cannot be read as an Avro container file: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(events: Result<Vec<Incoming>>) -> Vec<String> {
        let text = |event: Incoming| match event.payload {
            Payload::Json(text) => String::from_utf8(text.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        };
        events.unwrap().into_iter().map(text).collect()
    }

    fn limits(max_batch_events: usize) -> Limits {
        Limits { max_batch_events, ..Limits::default() }
    }

    #[test]
    fn json_is_one_object_or_an_array_of_anything() {
        assert_eq!(texts(json(&Bytes::from(" {\"a\": [1, {}]} \n"), &limits(1))), ["{\"a\": [1, {}]}"]);
        assert_eq!(texts(json(&Bytes::from("[{\"a\":1}, 2,null ]"), &limits(3))), ["{\"a\":1}", "2", "null"]);
        assert!(texts(json(&Bytes::from("[]"), &limits(1))).is_empty());
        for bad in ["", "  ", "7", "\"{}\"", "{} {}", "[{}", "[{}] x", "{\"a\": }"] {
            assert!(matches!(json(&Bytes::from(bad), &limits(9)), Err(Error::Malformed(_))), "{bad}");
        }
    }

    #[test]
    fn a_line_is_an_event_and_blank_lines_are_none() {
        let body = Bytes::from("{\"a\":1}\r\n\n  not json\n{\"a\":2}");
        assert_eq!(texts(ndjson(&body, &limits(3))), ["{\"a\":1}", "not json", "{\"a\":2}"]);
    }

    #[test]
    fn a_batch_over_the_limit_is_refused_and_not_held() {
        let array = Bytes::from(format!("[{}0]", "0,".repeat(100_000)));
        assert!(matches!(json(&array, &limits(10)), Err(Error::TooLarge { limit: 10, .. })));
        assert!(matches!(ndjson(&Bytes::from("0\n".repeat(11)), &limits(10)), Err(Error::TooLarge { limit: 10, .. })));
    }

    #[test]
    fn formats_have_their_names_and_json_is_the_default() {
        assert_eq!(Format::of(None).unwrap(), Format::Json);
        assert_eq!(Format::of(Some("Application/JSON; charset=utf-8")).unwrap(), Format::Json);
        assert_eq!(Format::of(Some("application/x-ndjson")).unwrap(), Format::Ndjson);
        assert_eq!(Format::of(Some("application/avro")).unwrap(), Format::Avro);
        assert!(Format::of(Some("text/html")).is_err());
    }
}
