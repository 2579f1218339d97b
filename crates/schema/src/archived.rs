//! The record around an archived event: what Kafka knew of it beside its value.
//!
//! As of a scored one, the event is the last field, its bytes are copied, and what stands before them is read without
//! knowing its schema. A value that is of no known schema is archived as bytes: `["null", "bytes"]` in the event's place.

mod head;

use crate::{Schema, nested};

pub use crate::nested::Error;
pub use head::{Head, Header, decode_head, encode_head};

/// The full name of the record.
pub const NAME: &str = "millrace.v1.Archived";

/// Everything but the event's type.
const TEMPLATE: &str = include_str!("archived/archived.avsc");

/// What stands in the place of an event whose schema is not known; null: a tombstone.
pub const UNKNOWN: &str = r#"["null","bytes"]"#;

/// The schema of an archived event: ours, with the event's as its last field, references written out. None: that of a value
/// whose schema is not known.
pub fn compose(event: Option<&Schema>) -> Result<Schema, Error> {
    nested::compose(NAME, TEMPLATE, event.map_or(nested::Inner::Text(UNKNOWN), nested::Inner::Schema))
}

/// Appends a value whose schema is not known, behind its head; none is a tombstone.
pub fn encode_unknown(value: Option<&[u8]>, out: &mut Vec<u8>) {
    head::put_option(out, value);
}

/// The event's schema out of that of an archived event; none where it was not known.
pub fn event_schema(archived: &Schema) -> Result<Option<Schema>, Error> {
    let event = nested::inner(NAME, archived)?;
    Ok((event.canonical() != UNKNOWN).then_some(event))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Validator;

    const EVENT: &str = r#"{"type":"record","name":"E","fields":[{"name":"x","type":"long"}]}"#;

    fn head() -> Head<'static> {
        Head {
            offset: 1 << 40,
            received_at: 1_767_225_600_000,
            event_id: Some("e-1"),
            correlation_id: None,
            key: Some(b"org\0a"),
            headers: vec![
                Header { name: "traceparent", value: Some(b"00-1") },
                Header { name: "traceparent", value: None },
            ],
        }
    }

    #[test]
    fn head_and_event_are_one_datum_of_the_composed_schema() {
        let event = Schema::parse(EVENT).unwrap();
        let archived = compose(Some(&event)).unwrap();
        assert_eq!(event_schema(&archived).unwrap().unwrap().canonical(), event.canonical());
        let mut datum = Vec::new();
        encode_head(&head(), &mut datum);
        datum.push(84);
        Validator::compile(&archived).validate(&datum).unwrap();
        assert_eq!(decode_head(&datum), Ok((head(), [84].as_slice())));
        let json = crate::json::to_json(&archived, &datum).unwrap();
        assert_eq!((&json["event"]["x"], &json["headers"][1]["value"]), (&42.into(), &serde_json::Value::Null));
        for cut in 0..datum.len() - 1 {
            assert!(decode_head(&datum[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn a_value_of_no_known_schema_is_there_as_bytes() {
        let archived = compose(None).unwrap();
        assert!(event_schema(&archived).unwrap().is_none());
        let mut datum = Vec::new();
        encode_head(&Head { headers: Vec::new(), ..head() }, &mut datum);
        encode_unknown(Some(&[7, 7]), &mut datum);
        Validator::compile(&archived).validate(&datum).unwrap();
    }

    #[test]
    fn more_headers_than_there_are_bytes_are_refused() {
        let mut datum = Vec::new();
        encode_head(&Head { headers: Vec::new(), ..head() }, &mut datum);
        datum.pop();
        crate::wire::put_long(&mut datum, 1 << 40);
        assert!(decode_head(&datum).is_err());
    }
}
