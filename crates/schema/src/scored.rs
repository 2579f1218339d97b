//! The record around a scored event.
use crate::{Corrupt, Schema};

/// Everything of a scored event but the event.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the schema documents its fields")]
pub struct Head<'a> {
    pub event_id: &'a str,
    pub correlation_id: &'a str,
    pub pipeline: &'a str,
    /// Milliseconds since 1970.
    pub received_at: i64,
    /// Milliseconds since 1970.
    pub scored_at: i64,
    pub source: &'a str,
    pub model: &'a str,
    pub model_version: &'a str,
    pub score: f64,
    pub margin: f64,
    pub reasons: Vec<Reason<'a>>,
}

/// What moved the score, and by how much.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reason<'a> {
    /// The feature's name.
    pub feature: &'a str,
    /// The value it had, as text.
    pub value: Option<&'a str>,
    /// Its share of the margin.
    pub contribution: f64,
}

/// Why there is no scored record around an event, or no event in a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The event's schema defines a type of ours.
    #[error("event schema defines {0}, which is ours")]
    NameTaken(String),
    /// It is not a record of scored events.
    #[error("not a schema of scored events: {0}")]
    NotScored(&'static str),
}

/// The schema of a scored event: ours, with the event's as its last field.
pub fn compose(_event: &Schema) -> Result<Schema, Error> {
    unimplemented!()
}
/// The event's schema out of that of a scored event.
pub fn event_schema(_scored: &Schema) -> Result<Schema, Error> {
    unimplemented!()
}
/// Appends everything but the event, whose bytes go behind it unchanged.
pub fn encode_head(_head: &Head<'_>, _out: &mut Vec<u8>) {
    unimplemented!()
}
/// Splits a scored event into its head and the event's bytes.
pub fn decode_head(_scored: &[u8]) -> Result<(Head<'_>, &[u8]), Corrupt> {
    unimplemented!()
}
