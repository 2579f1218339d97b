//! JSON as `google.protobuf.Value`, and back.
//!
//! A number there is a double. Going out, a whole number that no double is equal to is refused: an id that arrives as its
//! neighbour is worse than a failure. Coming back, a whole number is an integer again.

use millrace_core::document::segment;
use prost_types::{ListValue, Struct, Value as Proto, value::Kind};
use serde_json::{Map, Number, Value as Json};

/// How deep values may be nested: a level is up to three messages within each other, and decoders end at a hundred.
const MAX_DEPTH: usize = 30;

/// Two to the power of 63: the first whole number that is no `i64`.
const BEYOND: f64 = 9_223_372_036_854_775_808.0;

/// What cannot be said in a message, and where it is in the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{pointer}`: {problem}")]
pub(crate) struct Misfit {
    /// The JSON pointer, from the value that was given.
    pub(crate) pointer: String,
    pub(crate) problem: String,
}

/// JSON as a message.
pub(crate) fn to_proto(json: &Json) -> Result<Proto, Misfit> {
    out(json, "", 0)
}

fn out(json: &Json, pointer: &str, depth: usize) -> Result<Proto, Misfit> {
    let misfit = |problem: String| Misfit { pointer: pointer.to_owned(), problem };
    if depth > MAX_DEPTH {
        return Err(misfit(format!("nested more than {MAX_DEPTH} deep")));
    }
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(it) => Kind::BoolValue(*it),
        Json::String(it) => Kind::StringValue(it.clone()),
        Json::Number(it) => Kind::NumberValue(double(it).ok_or_else(|| {
            misfit(format!("{it} cannot be carried exactly, as numbers are doubles here: give it as text"))
        })?),
        Json::Array(items) => {
            let items = items.iter().enumerate().map(|(at, item)| out(item, &format!("{pointer}/{at}"), depth + 1));
            Kind::ListValue(ListValue { values: items.collect::<Result<_, _>>()? })
        }
        Json::Object(fields) => {
            let field = |(name, field): (&String, &Json)| {
                let value = out(field, &format!("{pointer}/{}", segment(name)), depth + 1)?;
                Ok((name.clone(), value))
            };
            Kind::StructValue(Struct { fields: fields.iter().map(field).collect::<Result<_, _>>()? })
        }
    };
    Ok(Proto { kind: Some(kind) })
}

/// The double that a number is equal to.
fn double(number: &Number) -> Option<f64> {
    let double = number.as_f64()?;
    match (number.as_i64(), number.as_u64()) {
        (Some(whole), _) => (double < BEYOND && double as i64 == whole).then_some(double),
        (None, Some(whole)) => (double < 2.0 * BEYOND && double as u64 == whole).then_some(double),
        (None, None) => Some(double),
    }
}

/// A message as JSON. `NaN` and the infinities are none.
pub(crate) fn to_json(proto: Proto) -> Result<Json, Misfit> {
    back(proto, "")
}

fn back(proto: Proto, pointer: &str) -> Result<Json, Misfit> {
    Ok(match proto.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(it)) => Json::Bool(it),
        Some(Kind::StringValue(it)) => Json::String(it),
        Some(Kind::NumberValue(it)) => Json::Number(
            number(it)
                .ok_or_else(|| Misfit { pointer: pointer.to_owned(), problem: format!("{it} is not in JSON") })?,
        ),
        Some(Kind::ListValue(list)) => {
            let items = list.values.into_iter().enumerate().map(|(at, item)| back(item, &format!("{pointer}/{at}")));
            Json::Array(items.collect::<Result<_, _>>()?)
        }
        Some(Kind::StructValue(it)) => {
            let field = |(name, field): (String, Proto)| {
                let value = back(field, &format!("{pointer}/{}", segment(&name)))?;
                Ok((name, value))
            };
            Json::Object(it.fields.into_iter().map(field).collect::<Result<Map<_, _>, _>>()?)
        }
    })
}

/// JSON in which every whole number is an integer: `3` and not `3.0`.
pub(crate) fn whole(json: Json) -> Json {
    match json {
        Json::Number(it) if it.is_f64() => Json::Number(it.as_f64().and_then(number).unwrap_or(it)),
        Json::Array(items) => Json::Array(items.into_iter().map(whole).collect()),
        Json::Object(fields) => Json::Object(fields.into_iter().map(|(name, field)| (name, whole(field))).collect()),
        other => other,
    }
}

/// An integer where the double is one.
fn number(double: f64) -> Option<Number> {
    let whole = double.fract() == 0.0 && (-BEYOND..BEYOND).contains(&double);
    if whole { Some(Number::from(double as i64)) } else { Number::from_f64(double) }
}

#[cfg(test)]
mod tests;
