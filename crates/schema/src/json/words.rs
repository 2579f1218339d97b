//! How messages call types and values.

use serde_json::Value;

use super::time;
use crate::{Kind, Logical, NodeId, Schema};

/// What a schema expects.
pub(super) fn expected(schema: &Schema, id: NodeId) -> String {
    let node = schema.node(id);
    match (&node.kind, node.logical) {
        (_, Some(logical @ (Logical::TimestampMillis | Logical::TimestampMicros | Logical::TimestampNanos))) => {
            format!("{} (a number or RFC 3339)", logical.as_str())
        }
        (_, Some(logical)) if time::is_time(Some(logical)) => format!("{} (a number or its text)", logical.as_str()),
        (_, Some(logical @ Logical::Uuid)) => logical.as_str().into(),
        (_, Some(Logical::Decimal { precision, scale })) => {
            format!("decimal of {precision} digits, {scale} behind the point (a number or base64)")
        }
        (Kind::Int, _) => "long".into(),
        (Kind::Bytes, _) => "bytes in base64".into(),
        (Kind::Fixed(it), _) => format!("{} bytes in base64", it.size),
        (Kind::Enum(it), _) => match &it.symbols[..] {
            symbols @ ([] | [_, ..]) if symbols.len() > 8 => format!("a symbol of {}", it.name),
            symbols => format!("one of {}", symbols.join(", ")),
        },
        (Kind::Record(it), _) => format!("record {}", it.name),
        (Kind::Union(branches), _) => {
            let names: Vec<_> = branches.iter().map(|&branch| expected(schema, branch)).collect();
            match names.split_last() {
                Some((last, [])) => last.clone(),
                Some((last, others)) => format!("{} or {last}", others.join(", ")),
                None => "nothing: the union is empty".into(),
            }
        }
        (kind, _) => kind.ty().as_str().into(),
    }
}

/// What kind of value was there.
pub(super) fn got(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() => "long",
        Value::Number(number) if number.is_u64() => "a number over 64 bits",
        Value::Number(_) => "double",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The value itself where its kind is right, shortened.
pub(super) fn quoted(value: &Value) -> String {
    const LONGEST: usize = 40;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{}..", &text[..cut]),
        None => text,
    }
}
