//! JSON to data and back.
//!
//! | Avro | JSON |
//! |---|---|
//! | int, long | a whole number |
//! | float, double | a number, or `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | bytes, fixed | base64 |
//! | timestamps | a number in the type's unit, or RFC 3339; written as RFC 3339 |
//! | local timestamps, dates, times | a number, or `2026-01-31T10:00:00`, `2026-01-31`, `10:00:00`; written as text |
//! | decimal | base64 of the unscaled bytes, or a number; written as base64 |
//! | uuid | its text |
//! | union | the value alone; `{"string": ".."}`, the form of Avro's own JSON, is read too |
//! | record | an object: a missing field takes its default, an unknown one is refused |
//!
//! In messages an int is called long: JSON knows one kind of whole number.

mod decode;
mod default;
mod encode;
mod time;
mod words;

use millrace_core::Code;
use serde_json::Value;

use crate::{Corrupt, NodeId, Schema};

pub(crate) use default::{default_bytes, default_double, encode_default};
pub use encode::Encoder;

/// A JSON value that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: expected {expected}, got {got}")]
pub struct Mismatch {
    /// Where: `$.attachments[2].size`.
    pub path: String,
    /// What the schema says.
    pub expected: String,
    /// What was there.
    pub got: String,
}

impl Mismatch {
    /// What callers see.
    pub fn code(&self) -> Code {
        Code::InvalidEvent
    }

    /// Low cardinality, stable: a metric label.
    pub fn tag(&self) -> &'static str {
        "mismatch"
    }

    /// The same value never fits later.
    pub fn is_retriable(&self) -> bool {
        false
    }
}

/// A whole datum as JSON; bytes behind it are a fault.
pub fn to_json(schema: &Schema, datum: &[u8]) -> Result<Value, Corrupt> {
    node_to_json(schema, schema.root(), datum)
}

/// As [`to_json`], for the data of one of the schema's types.
pub fn node_to_json(schema: &Schema, node: NodeId, datum: &[u8]) -> Result<Value, Corrupt> {
    decode::decode(schema, node, datum)
}

#[cfg(test)]
mod tests;
