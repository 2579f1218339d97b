//! JSON to data and back.
use millrace_core::Code;
use serde_json::Value;
use crate::{Corrupt, NodeId, Schema};

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
    pub fn code(&self) -> Code { Code::InvalidEvent }
    /// Low cardinality, stable: a metric label.
    pub fn tag(&self) -> &'static str { "mismatch" }
    /// The same value never fits later.
    pub fn is_retriable(&self) -> bool { false }
}

/// Turns JSON into data of one schema.
pub struct Encoder {}

impl Encoder {
    /// Prepares to encode for `schema`.
    pub fn compile(_schema: &Schema) -> Self { unimplemented!() }
    /// Appends the datum of `value`. When it does not fit, `out` is as before.
    pub fn encode(&self, _value: &Value, _out: &mut Vec<u8>) -> Result<(), Mismatch> { unimplemented!() }
}

/// A whole datum as JSON: unions bare, bytes in base64, times in RFC 3339.
pub fn to_json(schema: &Schema, datum: &[u8]) -> Result<Value, Corrupt> { node_to_json(schema, schema.root(), datum) }

/// As [`to_json`], for the data of one of the schema's types.
pub fn node_to_json(_schema: &Schema, _node: NodeId, _datum: &[u8]) -> Result<Value, Corrupt> { unimplemented!() }
