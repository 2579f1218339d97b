use proptest::prelude::*;

use super::*;
use crate::json::Encoder;
use serde_json::{Value, json};

fn schema(text: &str) -> Schema {
    Schema::parse(text).unwrap()
}

fn record(fields: &str) -> Schema {
    schema(&format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#))
}

fn paths(paths: &[&str]) -> Vec<FieldPath> {
    paths.iter().map(|path| FieldPath::parse(path).unwrap()).collect()
}

fn datum(writer: &Schema, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::compile(writer).encode(value, &mut out).unwrap();
    out
}

/// What the slots of `wanted` show, and that the walk took the whole datum.
fn read(writer: &Schema, reader: &Schema, wanted: &[&str], value: &Value) -> Vec<String> {
    let projection = Projection::compile(writer, reader, &paths(wanted)).unwrap();
    let datum = datum(writer, value);
    let mut slots = vec![Slot::Missing; 3];
    assert_eq!(projection.read(&datum, &mut slots), Ok(datum.len()));
    slots.iter().map(show).collect()
}

fn show(slot: &Slot<'_>) -> String {
    match slot {
        Slot::Missing => "missing".into(),
        Slot::Null => "null".into(),
        Slot::Bool(value) => value.to_string(),
        Slot::Long(value) => value.to_string(),
        Slot::Double(value) => format!("{value:?}"),
        Slot::Str(text) => format!("{text:?}"),
        Slot::Bytes(bytes) => format!("{bytes:?}"),
        Slot::Complex(complex) => format!("{} {}", complex.len(), complex.to_json().unwrap()),
    }
}

#[test]
fn chosen_fields_are_read_and_others_skipped() {
    let writer = record(
        r#"{"name":"a","type":"int"},{"name":"s","type":"string"},{"name":"o","type":["null","string"]},{"name":"p","type":["string","null"]},
        {"name":"x","type":"float"},{"name":"n","type":"null"},{"name":"y","type":"double"},{"name":"b","type":"boolean"},
        {"name":"e","type":{"type":"enum","name":"E","symbols":["P","Q"]}},{"name":"f","type":{"type":"fixed","name":"F","size":2}},
        {"name":"l","type":{"type":"array","items":{"type":"record","name":"I","fields":[{"name":"v","type":"long"}]}}},
        {"name":"m","type":{"type":"map","values":"string"}},{"name":"z","type":"long"}"#,
    );
    let value = json!({"a": 1, "s": "text", "o": null, "p": "p", "x": 0.5, "n": null, "y": 2.5, "b": true, "e": "Q", "f": "AQI=",
        "l": [{"v": 7}, {"v": 8}], "m": {"k": "v"}, "z": -9});
    let all = ["a", "s", "o", "p", "x", "n", "y", "b", "e", "f", "l", "m", "z"];
    let expected = [
        "1",
        "\"text\"",
        "null",
        "\"p\"",
        "0.5",
        "null",
        "2.5",
        "true",
        "\"Q\"",
        "[1, 2]",
        r#"2 [{"v":7},{"v":8}]"#,
        r#"1 {"k":"v"}"#,
        "-9",
    ];
    assert_eq!(read(&writer, &writer, &all, &value), expected);
    for (i, name) in all.iter().enumerate() {
        assert_eq!(read(&writer, &writer, &[name], &value), [expected[i]]);
        let others: Vec<_> = all.iter().copied().filter(|other| other != name).collect();
        let rest: Vec<_> = expected.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, other)| *other).collect();
        assert_eq!(read(&writer, &writer, &others, &value), rest);
    }
    assert_eq!(read(&writer, &writer, &[], &value), [""; 0]);
    assert_eq!(read(&writer, &writer, &["z", "a", "z"], &value), ["-9", "1", "-9"]);
    let whole = datum(&writer, &value);
    let projection = Projection::compile(&writer, &writer, &paths(&["$", "a"])).unwrap();
    let mut slots = Vec::new();
    projection.read(&whole, &mut slots).unwrap();
    let Slot::Complex(record) = slots[0] else { panic!() };
    assert_eq!((record.bytes(), record.len()), (whole.as_slice(), 13));
    assert_eq!(show(&slots[1]), "1");
}

#[test]
fn fields_of_records_are_read_through_null() {
    let text = r#"{"name":"r","type":["null",{"type":"record","name":"S","fields":[{"name":"x","type":"int"},{"name":"t","type":"string"}]}]},{"name":"k","type":"boolean"},{"name":"j","type":"double"}"#;
    let writer = record(text);
    let wanted = ["r.t", "r", "j", "r.x"];
    let there = json!({"r": {"x": 1, "t": "y"}, "k": true, "j": 1.5});
    assert_eq!(read(&writer, &writer, &wanted, &there), ["\"y\"", r#"2 {"x":1,"t":"y"}"#, "1.5", "1"]);
    let absent = json!({"r": null, "k": true, "j": 1.5});
    assert_eq!(read(&writer, &writer, &wanted, &absent), ["null", "null", "1.5", "null"]);
    assert_eq!(read(&writer, &writer, &["j"], &absent), ["1.5"]);
    let kind = kind_of(&writer, &FieldPath::parse("r.x").unwrap()).unwrap();
    assert_eq!((kind.ty, kind.nullable, kind.present), (Type::Int, true, true));
}

#[test]
fn the_reader_names_promotes_and_gives_defaults() {
    let writer = record(
        r#"{"name":"a","type":"int"},{"name":"b","type":"long"},{"name":"c","type":"float"},{"name":"d","type":"bytes"},
        {"name":"old","type":"string"},{"name":"here","aliases":["there"],"type":"int"},{"name":"gone","type":"string"},
        {"name":"e","type":{"type":"enum","name":"E","symbols":["P","Q"]}},{"name":"u","type":["null","int"]}"#,
    );
    let reader = record(
        r#"{"name":"u","type":["null","double"]},{"name":"a","type":"double"},{"name":"b","type":"float"},{"name":"c","type":"double"},
        {"name":"d","type":"string"},{"name":"new","aliases":["x","old"],"type":"string"},{"name":"there","type":"long"},
        {"name":"e","type":{"type":"enum","name":"E","symbols":["P"],"default":"P"}},{"name":"need","type":"int"},
        {"name":"opt","type":["null","string"],"default":null},{"name":"n","type":["int","null"],"default":5},
        {"name":"l","type":{"type":"array","items":"int"},"default":[1,2]},{"name":"by","type":"bytes","default":"\u00ff"},
        {"name":"s","type":{"type":"record","name":"S","fields":[{"name":"x","type":"int","default":3},{"name":"y","type":"float"}]},"default":{"y":0.5}}"#,
    );
    let value = json!({"a": 1, "b": 2, "c": 0.5, "d": "YWI=", "old": "o", "here": 4, "gone": "g", "e": "Q", "u": 6});
    let wanted = ["u", "a", "b", "c", "d", "new", "there", "e", "need", "opt", "n", "l", "by", "s.x", "s.y", "s"];
    let expected = [
        "6.0",
        "1.0",
        "2.0",
        "0.5",
        "\"ab\"",
        "\"o\"",
        "4",
        "\"P\"",
        "missing",
        "null",
        "5",
        "2 [1,2]",
        "[255]",
        "3",
        "0.5",
        r#"2 {"x":3,"y":0.5}"#,
    ];
    assert_eq!(read(&writer, &reader, &wanted, &value), expected);
    let projection = Projection::compile(&writer, &reader, &paths(&["a", "need"])).unwrap();
    assert!(projection.kind(0).present && !projection.kind(1).present);
}

#[test]
fn unions_are_read_by_their_branches() {
    let writer = record(
        r#"{"name":"u","type":["int","null","string",{"type":"map","values":"int"}]},{"name":"z","type":"int"}"#,
    );
    let reader = record(r#"{"name":"u","type":["string","null","double"]},{"name":"z","type":"long"}"#);
    let get = |u: Value| read(&writer, &reader, &["u", "z"], &json!({"u": u, "z": 1}));
    assert_eq!(get(json!(3)), ["3.0", "1"]);
    assert_eq!(get(json!(null)), ["null", "1"]);
    assert_eq!(get(json!("x")), ["\"x\"", "1"]);
    let projection = Projection::compile(&writer, &reader, &paths(&["u"])).unwrap();
    let map = datum(&writer, &json!({"u": {"a": 1}, "z": 1}));
    assert!(projection.read(&map, &mut Vec::new()).is_err(), "no branch of the reader takes a map");
    let projection = Projection::compile(&writer, &reader, &paths(&["z"])).unwrap();
    assert!(projection.read(&map, &mut Vec::new()).is_ok(), "nobody asked for it");
}

#[test]
fn nulls_and_symbols_that_the_reader_does_not_know_are_given_as_they_are() {
    let writer = record(
        r#"{"name":"a","type":["null","int"]},{"name":"e","type":{"type":"enum","name":"E","symbols":["P","Q"]}}"#,
    );
    let reader = record(r#"{"name":"a","type":"int"},{"name":"e","type":{"type":"enum","name":"E","symbols":["P"]}}"#);
    assert_eq!(read(&writer, &reader, &["a", "e"], &json!({"a": null, "e": "Q"})), ["null", "\"Q\""]);
}

#[test]
fn numbers_that_a_newer_writer_made_wider_are_given_as_they_are() {
    let writer = record(
        r#"{"name":"a","type":"long"},{"name":"b","type":"double"},{"name":"c","type":"double"},{"name":"d","type":["null","long"]},
        {"name":"u","type":"long"},{"name":"l","type":{"type":"array","items":{"type":"record","name":"I","fields":[{"name":"v","type":"long"}]}}}"#,
    );
    let reader = record(
        r#"{"name":"a","type":"int"},{"name":"b","type":"float"},{"name":"c","type":"int"},{"name":"d","type":["null","int"]},
        {"name":"u","type":["int","double"]},{"name":"l","type":{"type":"array","items":{"type":"record","name":"I","fields":[{"name":"v","type":"int"}]}}}"#,
    );
    let wide = 5_000_000_000_i64;
    let value = json!({"a": wide, "b": 0.1, "c": 2.5, "d": wide, "u": 3, "l": [{"v": wide}]});
    let wanted = ["a", "b", "c", "d", "u", "l"];
    let expected = ["5000000000", "0.1", "2.5", "5000000000", "3.0", r#"1 [{"v":5000000000}]"#];
    assert_eq!(read(&writer, &reader, &wanted, &value), expected, "u is promoted where the reader has a branch for it");
}

#[test]
fn paths_that_cannot_be_read_are_refused() {
    let writer = record(
        r#"{"name":"a","type":"string"},{"name":"o","type":["null","string"]},{"name":"l","type":{"type":"array","items":"string"}}"#,
    );
    let reader = record(
        r#"{"name":"a","type":"int"},{"name":"o","type":["null","int"]},{"name":"l","type":{"type":"array","items":"int"}},{"name":"ok","type":"int"}"#,
    );
    let error = |path: &str| Projection::compile(&writer, &reader, &paths(&[path])).err().unwrap().to_string();
    assert_eq!(error("a"), "$.a: string cannot be read as int");
    assert_eq!(error("o"), "$.o: string cannot be read as int");
    assert_eq!(error("l"), "$.l: array cannot be read as array");
    assert_eq!(error("b"), "$.b: no such field");
    assert_eq!(error("ok.x"), "$.ok.x: no such field");
}

const RECURSIVE: &str = r#"{"type":"record","name":"Tree","fields":[{"name":"v","type":"int"},{"name":"l","type":["null","Tree"]},
    {"name":"r","type":{"type":"array","items":"Tree"}},{"name":"m","type":{"type":"map","values":["string","Tree"]}},{"name":"z","type":"string"}]}"#;

#[test]
fn types_that_hold_themselves_are_skipped_and_read() {
    let tree = schema(RECURSIVE);
    let leaf = json!({"v": 1, "l": null, "r": [], "m": {}, "z": "leaf"});
    let value = json!({"v": 2, "l": leaf, "r": [leaf, leaf], "m": {"a": "x", "b": {"Tree": leaf}}, "z": "root"});
    assert_eq!(read(&tree, &tree, &["z", "l.z", "l.l", "r"], &value)[..3], ["\"root\"", "\"leaf\"", "null"]);
}

#[test]
fn deep_nesting_is_refused() {
    let list = schema(r#"{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}"#);
    let deep = vec![2_u8; 100_000];
    assert!(Projection::compile(&list, &list, &paths(&["next.next"])).unwrap().read(&deep, &mut Vec::new()).is_err());
    assert!(crate::Validator::compile(&list).validate(&deep).is_err());
    assert!(crate::json::to_json(&list, &deep).is_err());
}

proptest! {
    #[test]
    fn bytes_of_strangers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let tree = schema(RECURSIVE);
        let projection = Projection::compile(&tree, &tree, &paths(&["z", "l.m", "r", "$"])).unwrap();
        let mut slots = Vec::new();
        let read = projection.read(&bytes, &mut slots);
        let validator = crate::Validator::compile(&tree);
        if validator.validate(&bytes).is_ok() {
            prop_assert_eq!(read, Ok(bytes.len()));
            prop_assert_eq!(validator.skip(&bytes), Ok(bytes.len()));
            prop_assert!(crate::json::to_json(&tree, &bytes).is_ok());
            for slot in &slots {
                if let Slot::Complex(complex) = slot {
                    prop_assert!(complex.to_json().is_ok());
                }
            }
        }
    }
}
