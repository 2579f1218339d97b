//! Requests and answers: JSON outside, messages inside.

use bytes::Bytes;
use millrace_core::document::segment;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, SerializeOptions};
use serde_json::{Value, json};

use super::{
    Checked,
    values::{self, Misfit},
};
use crate::render::is_templated;

/// How many of a message's fields are listed for somebody who has asked for another.
const MAX_LISTED: usize = 20;

/// A request as the message that it is to be.
pub(super) fn read(message: &MessageDescriptor, request: &Value) -> Result<DynamicMessage, Checked> {
    parse(message, request).map_err(|problem| {
        // As a whole, unless a place in it can be named.
        let found = check(message, request).err();
        found.unwrap_or_else(|| misfit(message, Misfit { pointer: String::new(), problem }))
    })
}

/// Whether a request fits, as far as that can be known before its templates are rendered: a template gives any value.
pub(super) fn check(message: &MessageDescriptor, request: &Value) -> Result<(), Checked> {
    check_message(message, request, "").map_err(|problem| misfit(message, problem))
}

/// An answer as JSON.
pub(super) fn write(message: MessageDescriptor, answer: Bytes) -> Result<Value, String> {
    let options = SerializeOptions::new().stringify_64_bit_integers(false).skip_default_fields(false);
    let name = message.full_name().to_owned();
    let answer =
        DynamicMessage::decode(message, answer).map_err(|error| format!("the answer is no {name}: {error}"))?;
    answer
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map(values::whole)
        .map_err(|error| format!("the answer cannot be said in JSON: {error}"))
}

fn misfit(message: &MessageDescriptor, Misfit { pointer, problem }: Misfit) -> Checked {
    Checked::Request { message: message.full_name().to_owned(), pointer, problem }
}

fn parse(message: &MessageDescriptor, json: &Value) -> Result<DynamicMessage, String> {
    DynamicMessage::deserialize(message.clone(), json).map_err(|error| error.to_string())
}

/// The parser says what is wrong, not where. What does not fit as a whole is taken apart until the part is found that does
/// not fit by itself; what has templates in it is taken apart at once.
fn check_message(message: &MessageDescriptor, json: &Value, pointer: &str) -> Result<(), Misfit> {
    let templated = is_templated(json);
    let problem = if templated { None } else { parse(message, json).err() };
    if problem.is_none() && !templated {
        return Ok(());
    }
    // Well-known types have a JSON of their own.
    let fields = json.as_object().filter(|_| !message.full_name().starts_with("google.protobuf."));
    for (name, value) in fields.into_iter().flatten() {
        let pointer = format!("{pointer}/{}", segment(name));
        match message.get_field_by_json_name(name).or_else(|| message.get_field_by_name(name)) {
            Some(field) => check_field(&field, value, &pointer)?,
            None if name.starts_with('[') => {} // an extension
            None => return Err(Misfit { pointer, problem: unknown(message) }),
        }
    }
    problem.map_or(Ok(()), |problem| Err(Misfit { pointer: pointer.to_owned(), problem }))
}

fn check_field(field: &FieldDescriptor, value: &Value, pointer: &str) -> Result<(), Misfit> {
    match value {
        Value::Null => return Ok(()), // as if it were not there
        Value::String(_) if is_templated(value) => return Ok(()),
        Value::Array(items) if field.is_list() => {
            for (at, item) in items.iter().enumerate() {
                check_single(field, &field.kind(), item, |item| json!([item]), &format!("{pointer}/{at}"))?;
            }
        }
        Value::Object(entries) if field.is_map() => {
            for (key, entry) in entries {
                let pointer = format!("{pointer}/{}", segment(key));
                let kind = field.kind();
                let kind = kind.as_message().map_or_else(|| kind.clone(), |entry| entry.map_entry_value_field().kind());
                check_single(field, &kind, entry, |entry| json!({key: entry}), &pointer)?;
            }
        }
        _ if field.is_list() || field.is_map() => {}
        value => return check_single(field, &field.kind(), value, Value::clone, pointer),
    }
    alone(field, value, pointer)
}

/// One value of a field, which `within` makes the field's whole value of.
fn check_single(
    field: &FieldDescriptor,
    kind: &Kind,
    value: &Value,
    within: impl Fn(&Value) -> Value,
    pointer: &str,
) -> Result<(), Misfit> {
    match kind {
        Kind::Message(message) if !matches!(value, Value::Null) && !is_template(value) => {
            check_message(message, value, pointer)
        }
        _ => alone(field, &within(value), pointer),
    }
}

fn is_template(value: &Value) -> bool {
    value.is_string() && is_templated(value)
}

/// Whether a field could have a value, were it the only one; of one with templates nothing is known.
fn alone(field: &FieldDescriptor, value: &Value, pointer: &str) -> Result<(), Misfit> {
    if is_templated(value) {
        return Ok(());
    }
    parse(field.parent_message(), &json!({field.name(): value}))
        .map_err(|problem| Misfit { pointer: pointer.to_owned(), problem })
        .map(drop)
}

fn unknown(message: &MessageDescriptor) -> String {
    let mut known: Vec<String> = message.fields().map(|field| field.json_name().to_owned()).collect();
    known.sort_unstable();
    let more = known.len().saturating_sub(MAX_LISTED);
    known.truncate(MAX_LISTED);
    let name = message.full_name();
    match (known.is_empty(), more) {
        (true, _) => format!("{name} has no fields"),
        (_, 0) => format!("{name} has no such field; it has: {}", known.join(", ")),
        (_, more) => format!("{name} has no such field; it has: {} and {more} more", known.join(", ")),
    }
}
