//! Whole data against their schema.
use millrace_core::Code;
use crate::{Corrupt, Schema};

/// A datum that is not of its schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct Invalid {
    /// Where: `$.attachments[2].size`.
    pub path: String,
    /// One sentence.
    pub message: String,
}

impl Invalid {
    /// What callers see.
    pub fn code(&self) -> Code { Code::InvalidEvent }
    /// Low cardinality, stable: a metric label.
    pub fn tag(&self) -> &'static str { "invalid_avro" }
    /// The same bytes never pass later.
    pub fn is_retriable(&self) -> bool { false }
}

/// Checks data of one schema.
pub struct Validator {}

impl Validator {
    /// Prepares to check data of `schema`.
    pub fn compile(_schema: &Schema) -> Self { unimplemented!() }
    /// Walks the whole datum, which must be all of `datum`.
    pub fn validate(&self, _datum: &[u8]) -> Result<(), Invalid> { unimplemented!() }
    /// Where the datum at the beginning of `bytes` ends. Looks at lengths only.
    pub fn skip(&self, _bytes: &[u8]) -> Result<usize, Corrupt> { unimplemented!() }
}
