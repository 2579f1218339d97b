//! Text to schema.
//!
//! As strict as the specification, and with the tolerance of Java's parser where the specification is silent: what it
//! ignores (a `doc` that is no text) is ignored here, so that the same texts have the same [`Guid`](crate::Guid).

mod attributes;
mod default;
mod parser;
mod pointer;
mod references;

use millrace_core::Code;

use crate::{NodeId, Schema, arena::Arena};
use parser::Parser;
use pointer::Pointer;

/// Why a text is no schema: where, as a JSON pointer, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The place in the text: `/fields/3/type`.
    pub pointer: String,
    /// One sentence.
    pub message: String,
}

impl std::error::Error for ParseError {}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pointer.as_str() {
            "" => f.write_str(&self.message),
            pointer => write!(f, "{pointer}: {}", self.message),
        }
    }
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

pub(crate) fn parse(text: &str, references: &[Schema]) -> Result<(Arena, NodeId), ParseError> {
    let value = serde_json::from_str(text)
        .map_err(|error| ParseError { pointer: String::new(), message: format!("not JSON: {error}") })?;
    let mut parser = Parser::default();
    for reference in references {
        parser.adopt(reference)?;
    }
    let referenced = parser.nodes.len();
    let root = parser.schema(&value, None, Pointer::Root)?;
    parser.check_defaults()?;
    Ok((Arena { nodes: parser.nodes, referenced }, root))
}

pub(crate) use default::branch_of;

#[cfg(test)]
mod tests;
