use serde_json::json;

use super::*;

fn record(fields: &str) -> Schema {
    Schema::parse(&format!(r#"{{"type":"record","name":"t.R","fields":[{fields}]}}"#)).unwrap()
}

fn field(ty: &str) -> Schema {
    record(&format!(r#"{{"name":"f","type":{ty}}}"#))
}

fn encode(schema: &Schema, value: &Value) -> Result<Vec<u8>, String> {
    let mut out = vec![7];
    let result = Encoder::compile(schema).encode(value, &mut out);
    assert_eq!(out[0], 7);
    match result {
        Ok(()) => Ok(out.split_off(1)),
        Err(mismatch) => {
            assert_eq!(out.len(), 1, "a mismatch leaves nothing behind");
            Err(mismatch.to_string())
        }
    }
}

/// What `value` becomes when it went through Avro.
fn through(ty: &str, value: &Value) -> Value {
    let schema = field(ty);
    let datum = encode(&schema, &json!({"f": value})).unwrap_or_else(|error| panic!("{ty}: {error}"));
    crate::Validator::compile(&schema).validate(&datum).unwrap();
    to_json(&schema, &datum).unwrap()["f"].take()
}

#[test]
fn values_come_back() {
    for (ty, value) in [
        (r#""null""#, json!(null)),
        (r#""boolean""#, json!(true)),
        (r#""int""#, json!(-5)),
        (r#""long""#, json!(i64::MIN)),
        (r#""float""#, json!(0.1)),
        (r#""double""#, json!(1e300)),
        (r#""double""#, json!("NaN")),
        (r#""double""#, json!("-Infinity")),
        (r#""string""#, json!("ä")),
        (r#""bytes""#, json!("AP8=")),
        (r#"{"type":"fixed","name":"F","size":2}"#, json!("AP8=")),
        (r#"{"type":"enum","name":"E","symbols":["A","B"]}"#, json!("B")),
        (r#"{"type":"array","items":"int"}"#, json!([1, 2])),
        (r#"{"type":"map","values":["null","int"]}"#, json!({"a": 1, "b": null})),
        (r#"["null","string"]"#, json!("x")),
        (r#"{"type":"long","logicalType":"timestamp-millis"}"#, json!("2026-01-01T00:00:00.123Z")),
        (r#"{"type":"int","logicalType":"date"}"#, json!("2026-01-01")),
        (r#"{"type":"string","logicalType":"uuid"}"#, json!("095d71cf-1255-6b9d-5e33-0ad575b3df5d")),
        (
            r#"{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}"#,
            json!("095d71cf-1255-6b9d-5e33-0ad575b3df5d"),
        ),
    ] {
        assert_eq!(through(ty, &value), value, "{ty}");
    }
}

#[test]
fn other_forms_are_read_too() {
    for (ty, value, expected) in [
        (r#"["null","string"]"#, json!({"string": "x"}), json!("x")),
        (r#"["null",{"type":"fixed","name":"n.F","size":1}]"#, json!({"n.F": "AA=="}), json!("AA==")),
        (r#"["int","double"]"#, json!({"double": 1}), json!(1.0)),
        (r#"["null",{"type":"map","values":"int"}]"#, json!({"map": 1}), json!({"map": 1})),
        (r#"["null",{"type":"map","values":"int"}]"#, json!({"map": {"map": 1}}), json!({"map": 1})),
        (r#"{"type":"long","logicalType":"timestamp-millis"}"#, json!(0), json!("1970-01-01T00:00:00Z")),
        (r#""double""#, json!(1), json!(1.0)),
        (r#""bytes""#, json!("AP8"), json!("AP8=")),
        (r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}"#, json!(-1.28), json!("gA==")),
        (
            r#"{"type":"fixed","name":"D","size":3,"logicalType":"decimal","precision":4,"scale":2}"#,
            json!(-1.28),
            json!("//+A"),
        ),
    ] {
        assert_eq!(through(ty, &value), expected, "{ty}");
    }
}

#[test]
fn bare_values_find_the_best_branch() {
    for (ty, value, branch) in [
        (r#"["bytes","string"]"#, json!("abcd"), 1),
        (r#"["string",{"type":"enum","name":"E","symbols":["A"]}]"#, json!("A"), 1),
        (r#"["string",{"type":"enum","name":"E","symbols":["A"]}]"#, json!("B"), 0),
        (r#"["double","int"]"#, json!(1), 1),
        (r#"["int","double"]"#, json!(1.0), 1),
        (r#"["int","long"]"#, json!(1_i64 << 40), 1),
        (r#"["string",{"type":"long","logicalType":"timestamp-millis"}]"#, json!("2026-01-01T00:00:00Z"), 1),
        (
            r#"[{"type":"record","name":"A","fields":[{"name":"x","type":"int"}]},{"type":"record","name":"B","fields":[{"name":"y","type":"int"}]}]"#,
            json!({"y": 1}),
            1,
        ),
    ] {
        let datum = encode(&field(ty), &json!({"f": value})).unwrap();
        assert_eq!(datum[0], 2 * branch, "{ty}");
    }
}

#[test]
fn missing_fields_take_their_defaults() {
    let schema = record(
        r#"{"name":"a","type":"int"},{"name":"b","type":["null","int"],"default":5},{"name":"c","type":"bytes","default":"\u00ff"},
        {"name":"d","type":{"type":"array","items":"string"},"default":["x"]},{"name":"e","type":["null","string"],"default":null}"#,
    );
    let datum = encode(&schema, &json!({"a": 1})).unwrap();
    assert_eq!(to_json(&schema, &datum).unwrap(), json!({"a": 1, "b": 5, "c": "/w==", "d": ["x"], "e": null}));
}

#[test]
fn what_does_not_fit_says_where_and_what() {
    let mail = record(
        r#"{"name":"url_count","type":"int","default":0},{"name":"note","type":["null","string"],"default":null},
        {"name":"label","type":{"type":"enum","name":"L","symbols":["ham","spam"]},"default":"ham"},
        {"name":"parts","type":{"type":"array","items":{"type":"record","name":"P","fields":[{"name":"size","type":"long"}]}},"default":[]},
        {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"},"default":0},
        {"name":"props","type":{"type":"map","values":"boolean"},"default":{}},
        {"name":"hash","type":{"type":"fixed","name":"H","size":4},"default":"abcd"}"#,
    );
    for (value, expected) in [
        (json!({"url_count": "x"}), "$.url_count: expected long, got string"),
        (json!({"url_count": 3_000_000_000_u64}), "$.url_count: expected int, got 3000000000, which is over 32 bits"),
        (json!({"url_count": 1.5}), "$.url_count: expected long, got double"),
        (json!({"note": 1}), "$.note: expected null or string, got long"),
        (json!({"label": "phish"}), "$.label: expected one of ham, spam, got \"phish\""),
        (json!({"parts": [{"size": 1}, {"size": null}]}), "$.parts[1].size: expected long, got null"),
        (json!({"parts": [{}]}), "$.parts[0].size: expected long, got nothing"),
        (json!({"at": "yesterday"}), "$.at: expected timestamp-millis (a number or RFC 3339), got \"yesterday\""),
        (json!({"props": {"a b": 0}}), "$.props[\"a b\"]: expected boolean, got long"),
        (json!({"hash": "AAA="}), "$.hash: expected 4 bytes in base64, got 2 bytes"),
        (json!({"hash": "?"}), "$.hash: expected 4 bytes in base64, got \"?\""),
        (json!({"urls": 1}), "$.urls: expected a field of t.R, got an unknown field"),
        (json!([]), "$: expected record t.R, got array"),
    ] {
        assert_eq!(encode(&mail, &value).unwrap_err(), expected);
    }
}

/// A list of either of two records, each of which may hold the next: every level could be tried twice.
#[test]
fn ambiguous_unions_are_given_up_in_time() {
    let node =
        |name: &str| format!(r#"{{"type":"record","name":"{name}","fields":[{{"name":"n","type":["A","B","int"]}}]}}"#);
    let text = format!(r#"{{"type":"record","name":"A","fields":[{{"name":"n","type":["A",{},"int"]}}]}}"#, node("B"));
    let schema = Schema::parse(&text).unwrap();
    let mut value = json!("not an int");
    for _ in 0..60 {
        value = json!({"n": value});
    }
    assert!(encode(&schema, &value).is_err());
}

#[test]
fn empty_items_do_not_fill_the_memory() {
    let schema = field(r#"{"type":"array","items":"null"}"#);
    let mut datum = Vec::new();
    crate::wire::put_long(&mut datum, i64::MAX);
    datum.push(0);
    assert!(to_json(&schema, &datum).is_err());
}
