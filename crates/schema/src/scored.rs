//! The record around a scored event.
//!
//! The event is its last field, with the event's own schema: its bytes are copied and never encoded again, and what
//! stands before them is read without knowing that schema.

mod head;

use millrace_core::Code;

use crate::{Schema, Type, java};

pub use head::{Head, Reason, decode_head, encode_head};

/// The full name of the record.
pub const NAME: &str = "millrace.v1.Scored";

/// The field that holds the event.
pub const EVENT_FIELD: &str = "event";

/// Everything but the event's type, which goes between the last quotes.
const TEMPLATE: &str = include_str!("scored/scored.avsc");

/// Why there is no scored record around an event, or no event in a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The two schemas cannot stand in one: the event's defines a type of ours, or nests too deeply.
    #[error("event schema cannot be nested in {NAME}: {0}")]
    NotNestable(String),
    /// It is not a record of scored events.
    #[error("not a schema of scored events: {0}")]
    NotScored(&'static str),
}

impl Error {
    /// What callers see.
    pub fn code(&self) -> Code {
        match self {
            Self::NotNestable(_) => Code::InvalidConfig,
            Self::NotScored(_) => Code::Corrupt,
        }
    }

    /// Low cardinality, stable: a metric label.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::NotNestable(_) => "not_nestable",
            Self::NotScored(_) => "not_scored",
        }
    }

    /// Schemas do not change.
    pub fn is_retriable(&self) -> bool {
        false
    }
}

/// The schema of a scored event: ours, with the event's as its last field, references written out.
pub fn compose(event: &Schema) -> Result<Schema, Error> {
    // A type without a namespace would take ours on; the Java form says `"namespace":""` where it stands inside one.
    let event = java::render_within(event, java::References::Inlined, Some("millrace.v1"));
    let text = TEMPLATE.replacen("\"EVENT\"", &event, 1);
    Schema::parse(&text).map_err(|error| Error::NotNestable(error.to_string()))
}

/// The event's schema out of that of a scored event. It shares the nodes; [`Schema::standalone`] writes it out.
pub fn event_schema(scored: &Schema) -> Result<Schema, Error> {
    let record = scored.root_node().record().ok_or(Error::NotScored("it is no record"))?;
    if record.name.full() != NAME {
        return Err(Error::NotScored("it has another name"));
    }
    let event = record.fields.last().filter(|field| field.name == EVENT_FIELD);
    let event = event.ok_or(Error::NotScored("its last field is not the event"))?;
    if scored.node(event.node).ty() == Type::Union {
        return Err(Error::NotScored("the event is a union"));
    }
    Ok(scored.at(event.node))
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
        assert_eq!(event_schema(&event).unwrap_err(), Error::NotScored("it has another name"));
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
