//! Default values, in the form that schemas write them: bytes as characters, unions by the first branch that fits.

use serde_json::Value;

use crate::{Kind, NodeId, Schema, parse, wire};

/// Appends the datum of a default that the parser has checked. Returns its node: in a union, the branch.
pub(crate) fn encode_default(schema: &Schema, node: NodeId, value: &Value, out: &mut Vec<u8>) -> NodeId {
    match (&schema.node(node).kind, value) {
        (Kind::Union(branches), _) => {
            let branch = parse::branch_of(schema, branches, value).unwrap_or_default();
            wire::put_long(out, branch as i64);
            return branches.get(branch).map_or(node, |&branch| encode_default(schema, branch, value, out));
        }
        (Kind::Boolean, _) => wire::put_bool(out, value.as_bool().unwrap_or_default()),
        (Kind::Int | Kind::Long, _) => wire::put_long(out, value.as_i64().unwrap_or_default()),
        (Kind::Float, _) => wire::put_float(out, default_double(value) as f32),
        (Kind::Double, _) => wire::put_double(out, default_double(value)),
        (Kind::String, Value::String(text)) => wire::put_str(out, text),
        (Kind::Bytes, Value::String(text)) => wire::put_bytes(out, &default_bytes(text)),
        (Kind::Fixed(_), Value::String(text)) => out.extend(default_bytes(text)),
        (Kind::Enum(it), Value::String(text)) => {
            let index = it.symbols.iter().position(|symbol| symbol == text);
            wire::put_long(out, index.unwrap_or_default() as i64);
        }
        (Kind::Array(node), Value::Array(items)) => {
            list(items.len(), out, |out| items.iter().for_each(|item| _ = encode_default(schema, *node, item, out)));
        }
        (Kind::Map(node), Value::Object(entries)) => list(entries.len(), out, |out| {
            for (key, entry) in entries {
                wire::put_str(out, key);
                encode_default(schema, *node, entry, out);
            }
        }),
        (Kind::Record(record), Value::Object(given)) => {
            for field in &record.fields {
                if let Some(value) = given.get(&field.name).or(field.default.as_ref()) {
                    encode_default(schema, field.node, value, out);
                }
            }
        }
        _ => {}
    }
    node
}

/// An array or a map in one block.
pub(super) fn list(len: usize, out: &mut Vec<u8>, items: impl FnOnce(&mut Vec<u8>)) {
    if len > 0 {
        wire::put_long(out, len as i64);
        items(out);
    }
    wire::put_long(out, 0);
}

/// A number, or the text of one that JSON cannot write.
pub(crate) fn default_double(value: &Value) -> f64 {
    match value {
        Value::String(text) => super::time::special_double(text).unwrap_or_default(),
        _ => value.as_f64().unwrap_or_default(),
    }
}

/// One byte for each character.
pub(crate) fn default_bytes(text: &str) -> Vec<u8> {
    text.chars().map(|char| u32::from(char) as u8).collect()
}
