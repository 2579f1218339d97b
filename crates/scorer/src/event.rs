//! What is known about an event beside its value: ids and times, from headers, from its own fields, or from its place.

use std::borrow::Cow;

use millrace_core::{Pipeline, header, id};
use millrace_kafka::{
    lane::{Input, Unavailable},
    trace,
};
use millrace_runtime::ConfigError;
use millrace_schema::{FieldPath, Projection, Schema, Slot};

use crate::{lookup::Lookup, rows::Ids};

/// An event's identity. What its headers lack is made up for, the same way each time the record is read.
pub(crate) struct Identity<'a> {
    pub(crate) event_id: Cow<'a, str>,
    pub(crate) correlation_id: Cow<'a, str>,
    /// Milliseconds since 1970.
    pub(crate) received_at: i64,
    /// Headers that the record lacked.
    pub(crate) missing: Vec<(&'static str, String)>,
}

impl Identity<'_> {
    pub(crate) fn ids(&self) -> Ids<'_> {
        let Self { event_id, correlation_id, received_at, .. } = self;
        Ids { event_id, correlation_id, received_at: *received_at }
    }
}

/// The field of the events' own ids, where the document names one.
pub(crate) fn id_field(pipeline: &Pipeline) -> Result<Option<FieldPath>, ConfigError> {
    let id = pipeline.spec.events.id.as_deref().map(FieldPath::parse).transpose();
    id.map_err(|error| ConfigError::new(format!("pipeline {}: events.id: {error}", pipeline.name())))
}

/// Reads the id by its name today, also where the writer had another name for it; a writer without it has none.
pub(crate) fn id_projection(writer: &Schema, today: &Schema, id: &FieldPath) -> Option<Projection> {
    let id = std::slice::from_ref(id);
    let compiled = Projection::compile(writer, today, id);
    compiled.or_else(|_| Projection::compile(writer, writer, id)).ok()
}

/// Finds an event's identity: the header, else the field that the document names, else a UUID of the record's place.
pub(crate) fn identify<'a>(
    input: &Input<'a>,
    datum: &[u8],
    id_field: Option<&Projection>,
    lookup: &dyn Lookup,
    now: i64,
) -> Result<Identity<'a>, Unavailable> {
    let mut missing = Vec::new();
    let given = input.headers.text(header::EVENT_ID).filter(|id| id::check_event_id(id).is_ok());
    let event_id = match given {
        Some(id) => Cow::Borrowed(id),
        None => Cow::Owned(made_up_id(input, datum, id_field, lookup)?),
    };
    if given.is_none() {
        missing.push((header::EVENT_ID, event_id.to_string()));
    }
    let given = input.headers.text(header::CORRELATION_ID).filter(|id| !id.is_empty());
    let correlation_id = given.map_or_else(|| event_id.clone(), Cow::Borrowed);
    if given.is_none() {
        missing.push((header::CORRELATION_ID, correlation_id.to_string()));
    }
    let given = input.headers.text(header::RECEIVED_AT).and_then(parse_time);
    let received_at = given.or(input.timestamp_ms).unwrap_or(now);
    if given.is_none()
        && let Some(text) = format_time(received_at)
    {
        missing.push((header::RECEIVED_AT, text));
    }
    if input.headers.text(header::TRACEPARENT).and_then(trace::parse).is_none() {
        missing.push((header::TRACEPARENT, trace::format(&trace::mint())));
    }
    Ok(Identity { event_id, correlation_id, received_at, missing })
}

/// The id of an event that came without one: its field's, else that of the record's place.
fn made_up_id(
    input: &Input<'_>,
    datum: &[u8],
    id_field: Option<&Projection>,
    lookup: &dyn Lookup,
) -> Result<String, Unavailable> {
    if let Some(id) = id_field.and_then(|field| own_id(field, datum)) {
        return Ok(id);
    }
    let topic_id =
        lookup.topic_id(input.topic).map_err(|error| Unavailable { what: "topic id", source: error.into() })?;
    Ok(id::from_record(topic_id, input.partition, input.offset).to_string())
}

/// The event's own id, when it has one that is an id.
pub(crate) fn own_id(field: &Projection, datum: &[u8]) -> Option<String> {
    let mut slots = Vec::with_capacity(1);
    field.read(datum, &mut slots).ok()?;
    let id = match slots.first()? {
        Slot::Str(text) => (*text).to_owned(),
        Slot::Long(number) => number.to_string(),
        Slot::Bytes(bytes) => uuid::Uuid::from_slice(bytes).ok()?.to_string(),
        _ => return None,
    };
    id::check_event_id(&id).is_ok().then_some(id)
}

/// RFC 3339 to milliseconds since 1970.
fn parse_time(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}

/// Milliseconds since 1970 to RFC 3339 in UTC.
fn format_time(milliseconds: i64) -> Option<String> {
    jiff::Timestamp::from_millisecond(milliseconds).ok().map(|time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use millrace_kafka::lane::Batch;
    use millrace_schema::{
        client::{self, Registered},
        framing::SchemaRef,
    };
    use uuid::Uuid;

    use super::*;

    struct Topics;

    impl Lookup for Topics {
        fn event(&self, _: SchemaRef) -> Result<Arc<Registered>, client::Error> {
            Err(client::Error::NotFound("no schemas here".into()))
        }

        fn scored(&self, _: &Schema) -> Result<Arc<Registered>, client::Error> {
            Err(client::Error::NotFound("no schemas here".into()))
        }

        fn topic_id(&self, _: &str) -> Result<Uuid, millrace_kafka::Error> {
            Ok(Uuid::nil())
        }
    }

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn identity(headers: &[(&str, &[u8])], with_field: bool) -> Identity<'static> {
        let mut batch = Batch::new();
        batch.push(("p.events", 2, 7), Some(1_700_000_000_123), None, Some(b""), headers);
        let schema = Schema::parse(r#"{"type":"record","name":"E","fields":[{"name":"n","type":"long"}]}"#).unwrap();
        let field = Projection::compile(&schema, &schema, &[FieldPath::parse("n").unwrap()]).unwrap();
        let inputs = batch.inputs();
        let found = identify(&inputs[0], &[84], with_field.then_some(&field), &Topics, 9).unwrap();
        Identity {
            event_id: found.event_id.into_owned().into(),
            correlation_id: found.correlation_id.into_owned().into(),
            received_at: found.received_at,
            missing: found.missing,
        }
    }

    #[test]
    fn headers_win_and_nothing_is_added() {
        let headers: [(&str, &[u8]); 4] = [
            ("event-id", b"e"),
            ("correlation-id", b"c"),
            ("received-at", b"2026-01-02T03:04:05.678Z"),
            ("traceparent", TRACE.as_bytes()),
        ];
        let found = identity(&headers, true);
        assert_eq!((&*found.event_id, &*found.correlation_id, found.received_at), ("e", "c", 1_767_323_045_678));
        assert!(found.missing.is_empty());
    }

    #[test]
    fn a_foreign_record_is_named_by_its_field_or_by_its_place_always_alike() {
        let by_field = identity(&[], true);
        assert_eq!((&*by_field.event_id, &*by_field.correlation_id), ("42", "42"));
        assert_eq!(by_field.received_at, 1_700_000_000_123);
        let names: Vec<_> = by_field.missing.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["event-id", "correlation-id", "received-at", "traceparent"]);
        assert_eq!(by_field.missing[2].1, "2023-11-14T22:13:20.123Z");
        let place = id::from_record(Uuid::nil(), 2, 7).to_string();
        assert_eq!(*identity(&[("event-id", b"")], false).event_id, *place);
    }
}
