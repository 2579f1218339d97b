//! Text to schema.
use crate::{NodeId, Schema, arena::Arena};
use millrace_core::Code;

/// Why a text is no schema: where, as a JSON pointer, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", if .pointer.is_empty() { String::new() } else { format!("{}: ", .pointer) })]
pub struct ParseError {
    /// The place in the text: `/fields/3/type`.
    pub pointer: String,
    /// One sentence.
    pub message: String,
}

impl ParseError {
    /// What callers see.
    pub fn code(&self) -> Code {
        Code::InvalidRequest
    }

    /// Low cardinality, stable: a metric label.
    pub fn tag(&self) -> &'static str {
        "invalid_schema"
    }

    /// The same text never parses later.
    pub fn is_retriable(&self) -> bool {
        false
    }
}

pub(crate) fn parse(_text: &str, _references: &[Schema]) -> Result<(Arena, NodeId), ParseError> { unimplemented!() }
