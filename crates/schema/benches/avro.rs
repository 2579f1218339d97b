//! Nanoseconds per record for what services do with every event: `cargo bench -p millrace-schema`.
//!
//! The record is of the shape of the demo's mail event: 69 fields, about 900 bytes.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use millrace_schema::{FieldPath, Projection, Schema, Validator, json, scored};
use serde_json::{Map, Value, json};

/// Kinds of fields in their order: s string, S nullable string, i int, I nullable int, t timestamp, b boolean, B nullable
/// boolean, f float, l list of strings, r list of records, e enum.
const FIELDS: &str = "sstSSiSSSSiSISSSSiSSiiBlIISbSSbiSSbsiSSSlSibSSSibbiriliiSibfffbibbesS";

fn field(i: usize, kind: char) -> (Value, Value) {
    let text = ["mail.example.org", "203.0.113.7", "text/plain", "9f86d081884c7d65"][i % 4];
    let (ty, value) = match kind {
        's' => (json!("string"), json!(text)),
        'S' => (json!(["null", "string"]), if i.is_multiple_of(3) { json!(null) } else { json!(text) }),
        'i' => (json!("int"), json!(i * 37)),
        'I' => (json!(["null", "int"]), json!(i * 1000)),
        't' => (json!({"type": "long", "logicalType": "timestamp-millis"}), json!(1_767_225_600_123_i64)),
        'b' => (json!("boolean"), json!(i.is_multiple_of(2))),
        'B' => (json!(["null", "boolean"]), json!(true)),
        'f' => (json!("float"), json!(0.25)),
        'l' => (json!({"type": "array", "items": "string"}), json!([text, "example.com"])),
        'r' => {
            let fields = json!([{"name": "ext", "type": "string"}, {"name": "size", "type": "int"}]);
            let items = json!({"type": "record", "name": "Part", "fields": fields});
            (json!({"type": "array", "items": items}), json!([{"ext": "pdf", "size": 52_000}]))
        }
        _ => (json!({"type": "enum", "name": "Label", "symbols": ["ham", "spam"]}), json!("spam")),
    };
    (json!({"name": format!("f{i}"), "type": ty}), value)
}

fn main() {
    let (mut fields, mut values) = (Vec::new(), Map::new());
    for (i, kind) in FIELDS.chars().enumerate() {
        let (field, value) = field(i, kind);
        fields.push(field);
        values.insert(format!("f{i}"), value);
    }
    let text = json!({"type": "record", "name": "Mail", "namespace": "bench", "fields": fields}).to_string();
    let (schema, value) = (Schema::parse(&text).expect("a schema"), Value::Object(values));
    let mut datum = Vec::new();
    json::Encoder::compile(&schema).encode(&value, &mut datum).expect("a value of the schema");
    println!("record of {} fields, {} bytes", fields.len(), datum.len());
    report(&schema, &text, &value, &datum);
}

fn report(schema: &Schema, text: &str, value: &Value, datum: &[u8]) {
    let floor = time(|| _ = black_box(black_box(datum).to_vec()));
    let line = |what: &str, each: f64| println!("{what:<40}{each:>9.0} ns{:>8.1} x copy", each / floor);
    line("copy of the record", floor);

    let validator = Validator::compile(schema);
    line("validate, all of it", time(|| validator.validate(black_box(datum)).expect("valid")));
    line("skip", time(|| _ = black_box(validator.skip(black_box(datum)).expect("valid"))));

    for count in [1, 10, 60] {
        let paths: Vec<_> = (0..count).map(|i| FieldPath::from_segments([format!("f{i}")])).collect();
        let projection = Projection::compile(schema, schema, &paths).expect("paths of the schema");
        let mut slots = Vec::new();
        let each = time(|| {
            projection.read(black_box(datum), &mut slots).expect("valid");
            black_box(&slots);
        });
        line(&format!("project {count} fields"), each);
    }

    let encoder = json::Encoder::compile(schema);
    let mut out = Vec::new();
    line(
        "encode from JSON",
        time(|| {
            out.clear();
            encoder.encode(black_box(value), &mut out).expect("valid");
        }),
    );
    line("decode to JSON", time(|| _ = black_box(json::to_json(schema, black_box(datum)).expect("valid"))));
    let head =
        scored::Head { event_id: "0198c0de-0000-7000-8000-000000000000", model: "mail-trust", ..Default::default() };
    line(
        "head of a scored event, there and back",
        time(|| {
            out.clear();
            scored::encode_head(black_box(&head), &mut out);
            black_box(scored::decode_head(&out).expect("valid"));
        }),
    );
    line("parse the schema", time(|| _ = black_box(Schema::parse(black_box(text)).expect("a schema"))));
    oracle(line, text, datum);
}

/// The peer: apache-avro on the same record.
fn oracle(line: impl Fn(&str, f64), text: &str, datum: &[u8]) {
    let schema = apache_avro::Schema::parse_str(text).expect("a schema");
    let reader = apache_avro::reader::datum::GenericDatumReader::builder(&schema).build().expect("a reader");
    line(
        "apache-avro: decode all of it",
        time(|| {
            _ = black_box(reader.read_value(&mut black_box(datum)).expect("valid"));
        }),
    );
}

/// Nanoseconds of one call: the best of several rounds, which is the least disturbed.
fn time(mut call: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..7 {
        let (start, mut calls) = (Instant::now(), 0_u32);
        while start.elapsed() < Duration::from_millis(100) {
            for _ in 0..100 {
                call();
            }
            calls += 100;
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(calls));
    }
    best
}
