//! The record around a scored event.
//!
//! The event is its last field, with the event's own schema: its bytes are copied and never encoded again, and what
//! stands before them is read without knowing that schema.

mod head;

use crate::{Schema, Type, nested};

pub use crate::nested::{EVENT_FIELD, Error};
pub use head::{Head, Reason, decode_head, encode_head};

/// The full name of the record.
pub const NAME: &str = "millrace.v1.Scored";

/// Everything but the event's type.
const TEMPLATE: &str = include_str!("scored/scored.avsc");

/// The schema of a scored event: ours, with the event's as its last field, references written out.
pub fn compose(event: &Schema) -> Result<Schema, Error> {
    nested::compose(NAME, TEMPLATE, nested::Inner::Schema(event))
}

/// The event's schema out of that of a scored event. It shares the nodes; [`Schema::standalone`] writes it out.
pub fn event_schema(scored: &Schema) -> Result<Schema, Error> {
    let event = nested::inner(NAME, scored)?;
    if event.root_node().ty() == Type::Union {
        return Err(Error::Other { name: NAME, reason: "the event is a union" });
    }
    Ok(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"type":"record","name":"E","fields":[{"name":"x","type":{"type":"enum","name":"K","symbols":["A"]}},{"name":"y","type":"K"}]}"#;

    #[test]
    fn the_event_keeps_its_own_name() {
        let event = Schema::parse(EVENT).unwrap();
        let scored = compose(&event).unwrap();
        assert_eq!(scored.root_node().name().unwrap().full(), NAME);
        let inner = event_schema(&scored).unwrap();
        assert_eq!(inner.canonical(), event.canonical());
        assert_eq!(inner.standalone(), event.java_string());
    }

    #[test]
    fn a_type_of_ours_cannot_be_an_event() {
        let event = Schema::parse(r#"{"type":"record","name":"millrace.v1.Reason","fields":[]}"#).unwrap();
        assert!(compose(&event).unwrap_err().to_string().contains("defined already"));
        assert_eq!(event_schema(&event).unwrap_err(), Error::Other { name: NAME, reason: "it has another name" });
    }

    #[test]
    fn head_and_event_are_one_datum_of_the_composed_schema() {
        let event = Schema::parse(EVENT).unwrap();
        let scored = compose(&event).unwrap();
        let head = Head {
            event_id: "e-1",
            correlation_id: "c-1",
            pipeline: "mail",
            received_at: 1,
            scored_at: 2,
            source: "stream",
            model: "m",
            model_version: "v",
            score: 0.25,
            margin: -1.5,
            reasons: vec![
                Reason { feature: "f", value: Some("x"), contribution: 1.0 },
                Reason { feature: "g", value: None, contribution: -0.5 },
            ],
        };
        let mut datum = Vec::new();
        encode_head(&head, &mut datum);
        datum.extend([0, 0]);
        crate::Validator::compile(&scored).validate(&datum).unwrap();
        assert_eq!(decode_head(&datum), Ok((head, [0, 0].as_slice())));
        let json = crate::json::to_json(&scored, &datum).unwrap();
        assert_eq!(json["reasons"][1]["value"], serde_json::Value::Null);
        assert_eq!(json["event"]["x"], "A");
        for cut in 0..datum.len() - 2 {
            assert!(decode_head(&datum[..cut]).is_err());
        }
    }
}
