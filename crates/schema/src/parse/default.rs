//! Default values against the types of their fields.

use serde_json::Value;

use super::{ParseError, parser::Parser};
use crate::{Kind, Node, NodeId};

/// Defaults that nest deeper than this hold themselves.
const DEPTH: usize = 64;

impl Parser {
    /// Checks every default, now that all types are whole.
    pub(super) fn check_defaults(&self) -> Result<(), ParseError> {
        for (record, place, pointer) in &self.defaults {
            let Kind::Record(record) = &self.nodes[record.index()].kind else { continue };
            let field = &record.fields[*place];
            let Some(default) = &field.default else { continue };
            if !fits(&self.nodes, field.node, default, DEPTH) {
                let ty = describe(&self.nodes, field.node);
                return Err(ParseError {
                    pointer: pointer.clone(),
                    message: format!("{default} is not a value of {ty}"),
                });
            }
        }
        Ok(())
    }
}

fn describe(nodes: &[Node], id: NodeId) -> String {
    match &nodes[id.index()].kind {
        Kind::Union(branches) => {
            let names: Vec<_> = branches.iter().map(|&branch| describe(nodes, branch)).collect();
            format!("the union of {}", names.join(", "))
        }
        Kind::Fixed(it) => format!("fixed {} of {} bytes", it.name, it.size),
        _ => {
            let node = &nodes[id.index()];
            node.name().map_or_else(|| node.ty().to_string(), |name| format!("{} {name}", node.ty()))
        }
    }
}

/// Whether a default, in the form that schemas write them, is a value of that type.
fn fits(nodes: &[Node], id: NodeId, value: &Value, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return false };
    match (&nodes[id.index()].kind, value) {
        (Kind::Null, Value::Null)
        | (Kind::Boolean, Value::Bool(_))
        | (Kind::String, Value::String(_))
        | (Kind::Float | Kind::Double, Value::Number(_)) => true,
        (Kind::Int, Value::Number(number)) => number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        (Kind::Long, Value::Number(number)) => number.is_i64(),
        (Kind::Float | Kind::Double, Value::String(text)) => matches!(text.as_str(), "NaN" | "Infinity" | "-Infinity"),
        (Kind::Bytes, Value::String(text)) => is_bytes(text),
        (Kind::Fixed(fixed), Value::String(text)) => is_bytes(text) && text.chars().count() == fixed.size,
        (Kind::Enum(it), Value::String(symbol)) => it.symbols.contains(symbol),
        (Kind::Array(items), Value::Array(list)) => list.iter().all(|item| fits(nodes, *items, item, depth)),
        (Kind::Map(values), Value::Object(entries)) => entries.values().all(|value| fits(nodes, *values, value, depth)),
        (Kind::Union(branches), _) => branches.iter().any(|&branch| fits(nodes, branch, value, depth)),
        (Kind::Record(record), Value::Object(given)) => record.fields.iter().all(|field| {
            given.get(&field.name).or(field.default.as_ref()).is_some_and(|value| fits(nodes, field.node, value, depth))
        }),
        _ => false,
    }
}

/// Bytes are written as text, one character from U+0000 to U+00FF for each.
fn is_bytes(text: &str) -> bool {
    text.chars().all(|char| u32::from(char) < 256)
}

/// The branch of a union that a default belongs to: the first that it fits.
pub(crate) fn branch_of(schema: &crate::Schema, branches: &[NodeId], value: &Value) -> Option<usize> {
    branches.iter().position(|&branch| fits(schema.nodes(), branch, value, DEPTH))
}
