//! JSON as `google.protobuf.Value` and `Struct` carry it. Numbers travel as doubles: whole ones are exact up to 2^53.

use prost_types::{ListValue, Struct, Value, value::Kind};
use serde_json::{Map, Number, Value as Json};

/// The greatest whole number up to which a double has all of them.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A value, as it is sent.
pub fn to_value(json: &Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(flag) => Kind::BoolValue(*flag),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(items) => Kind::ListValue(ListValue { values: items.iter().map(to_value).collect() }),
        Json::Object(map) => Kind::StructValue(to_struct(map)),
    };
    Value { kind: Some(kind) }
}

/// An object, as it is sent.
pub fn to_struct(map: &Map<String, Json>) -> Struct {
    Struct { fields: map.iter().map(|(name, value)| (name.clone(), to_value(value))).collect() }
}

/// A value that was received. Whole numbers are whole again; what JSON has no number for is null.
pub fn from_value(value: Value) -> Json {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(flag)) => Json::Bool(flag),
        Some(Kind::NumberValue(number)) if number.fract() == 0.0 && number.abs() <= EXACT => {
            Json::Number(Number::from(number as i64))
        }
        Some(Kind::NumberValue(number)) => Number::from_f64(number).map_or(Json::Null, Json::Number),
        Some(Kind::StringValue(text)) => Json::String(text),
        Some(Kind::ListValue(list)) => Json::Array(list.values.into_iter().map(from_value).collect()),
        Some(Kind::StructValue(fields)) => Json::Object(from_struct(fields)),
    }
}

/// An object that was received.
pub fn from_struct(fields: Struct) -> Map<String, Json> {
    fields.fields.into_iter().map(|(name, value)| (name, from_value(value))).collect()
}

/// Whether a value arrives as it was sent. It does not where it has a whole number that no double is.
pub fn is_exact(json: &Json) -> bool {
    match json {
        Json::Number(number) if number.is_f64() => true,
        Json::Number(number) => number.as_i64().is_some_and(|whole| whole.unsigned_abs() <= EXACT as u64),
        Json::Array(items) => items.iter().all(is_exact),
        Json::Object(map) => map.values().all(is_exact),
        Json::Null | Json::Bool(_) | Json::String(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_sent_is_what_arrives() {
        let sent = json!({
            "a": null, "b": true, "c": -3, "d": 0.25, "e": "text", "f": [1, [], {}], "g": {"h": 9_007_199_254_740_992_i64},
        });
        assert!(is_exact(&sent));
        assert_eq!(from_value(to_value(&sent)), sent);
    }

    #[test]
    fn a_number_that_no_double_is_is_told() {
        for number in [json!(9_007_199_254_740_993_i64), json!(u64::MAX), json!(i64::MIN)] {
            assert!(!is_exact(&json!({ "deep": [number] })));
        }
        assert!(is_exact(&json!([1e300, -0.5])));
    }

    #[test]
    fn what_json_has_no_number_for_is_null() {
        for number in [f64::NAN, f64::INFINITY] {
            assert_eq!(from_value(Value { kind: Some(Kind::NumberValue(number)) }), Json::Null);
        }
        assert_eq!(from_value(Value { kind: Some(Kind::NumberValue(1e300)) }), json!(1e300));
    }
}
