#![expect(clippy::float_cmp, reason = "these numbers are exact")]

use millrace_core::document::{Faults, Source};
use millrace_schema::{FieldPath, Projection, Schema, wire};

use super::*;
use crate::baselines::Baselines;

const SCHEMA: &str = r#"{"type": "record", "name": "Event", "namespace": "test", "fields": [
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "size", "type": "int"},
    {"name": "from", "type": ["null", "string"]},
    {"name": "reply", "type": ["null", "string"]},
    {"name": "hosts", "type": {"type": "array", "items": "string"}},
    {"name": "bulk", "type": ["null", "boolean"]},
    {"name": "secret", "type": "string", "default": "x"}
]}"#;

/// The same events before `reply`, `bulk` and `secret` came.
const OLD: &str = r#"{"type": "record", "name": "Event", "namespace": "test", "fields": [
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "size", "type": "int"},
    {"name": "from", "type": ["null", "string"]},
    {"name": "hosts", "type": {"type": "array", "items": "string"}}
]}"#;

const ALL: &str = "\
apiVersion: millrace.dev/v1
kind: Features
metadata: {name: test}
spec:
  features:
    - {name: size, op: numeric, of: size}
    - {name: size_log, op: numeric, of: size, scale: log}
    - {name: bulk, op: flag, of: bulk, default: 0}
    - {name: unanswerable, op: missing, of: reply}
    - {name: from_length, op: length, of: from}
    - {name: hosts, op: length, of: hosts}
    - {name: local_length, op: length, of: local(from)}
    - {name: per_host, op: ratio, of: [size, size]}
    - {name: hour, op: hour, of: at}
    - {name: weekday, op: weekday, of: at}
    - {name: same, op: equal, of: [domain(from), domain(reply)]}
    - {name: near, op: distance, of: [domain(from), domain(reply)], default: -1}
    - {name: hosted, op: contains, of: [hosts, registrable(from)]}
    - {name: free, op: among, of: domain(from), values: [Mail.Example.org]}
    - {name: domain, op: category, of: domain(from), smoothing: 1}
    - {name: seen, op: seen, of: from}
    - {name: pair, op: seen, of: [from, size]}
    - {name: share, op: share, of: [from, size]}
";

fn source(text: &str) -> Source {
    Source::parse("features.yaml", text).unwrap()
}

fn schema(text: &str) -> Schema {
    Schema::parse(text).unwrap()
}

fn checked(text: &str, never: &[&str]) -> Result<Document, Faults> {
    let source = source(text);
    let document = Document::parse(&source)?;
    let never: Vec<_> = never.iter().map(|path| FieldPath::parse(path).unwrap()).collect();
    check(&document, &source, &schema(SCHEMA), &never).map(|()| document)
}

fn event(size: i64, from: Option<&str>, reply: Option<&str>, hosts: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    put_head(size, from, &mut out);
    put_text(reply, &mut out);
    put_hosts(hosts, &mut out);
    wire::put_long(&mut out, 1);
    wire::put_bool(&mut out, true);
    wire::put_str(&mut out, "y");
    out
}

fn old_event(size: i64, from: Option<&str>, hosts: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    put_head(size, from, &mut out);
    put_hosts(hosts, &mut out);
    out
}

fn put_head(size: i64, from: Option<&str>, out: &mut Vec<u8>) {
    wire::put_long(out, 1_032_714_000_000); // a Sunday, 17 o'clock
    wire::put_long(out, size);
    put_text(from, out);
}

fn put_text(text: Option<&str>, out: &mut Vec<u8>) {
    wire::put_long(out, i64::from(text.is_some()));
    if let Some(text) = text {
        wire::put_str(out, text);
    }
}

fn put_hosts(hosts: &[&str], out: &mut Vec<u8>) {
    if !hosts.is_empty() {
        wire::put_long(out, hosts.len() as i64);
        for host in hosts {
            wire::put_str(out, host);
        }
    }
    wire::put_long(out, 0);
}

/// The features of a datum by name, for people.
fn row(writer: &str, datum: &[u8], baselines: Option<&Baselines>) -> Vec<(String, f32, Option<String>)> {
    let document = checked(ALL, &[]).unwrap();
    let program = Program::compile(&document, &schema(SCHEMA)).unwrap();
    let projection = Projection::compile(&schema(writer), &schema(SCHEMA), program.paths()).unwrap();
    let mut cells = Cells::default();
    projection.read(datum, &mut cells.slots).unwrap();
    program.prepare(&mut cells);
    let (empty, mut row) = (program.baselines(), Vec::new());
    let baselines = baselines.unwrap_or(&empty);
    program.row(&cells, baselines, &mut row);
    let describe = |i| {
        let mut out = String::new();
        program.describe(i, &cells, baselines, &mut out).then_some(out)
    };
    program.names().iter().enumerate().map(|(i, name)| (name.clone(), row[i], describe(i))).collect()
}

#[track_caller]
fn assert_row(got: &[(String, f32, Option<String>)], wanted: &[(&str, f32, Option<&str>)]) {
    for ((name, value, text), (wanted_name, wanted, wanted_text)) in got.iter().zip(wanted) {
        assert_eq!(name, wanted_name);
        assert!(value == wanted || value.is_nan() && wanted.is_nan(), "{name}: {value}, not {wanted}");
        assert_eq!(text.as_deref(), *wanted_text, "{name}");
    }
    assert_eq!(got.len(), wanted.len());
}

const NONE: f32 = f32::NAN;

#[test]
fn each_operation_does_what_it_says() {
    let datum = event(7, Some("Ann@mail.example.org"), Some("x@mail.examp1e.org"), &["b.test", "EXAMPLE.org"]);
    assert_row(
        &row(SCHEMA, &datum, None),
        &[
            ("size", 7.0, Some("7")),
            ("size_log", 3.0, Some("7")),
            ("bulk", 1.0, Some("true")),
            ("unanswerable", 0.0, Some("false")),
            ("from_length", 20.0, Some("20")),
            ("hosts", 2.0, Some("2")),
            ("local_length", 3.0, Some("3")),
            ("per_host", 1.0, Some("1")),
            ("hour", 17.0, Some("17")),
            ("weekday", 6.0, Some("6")),
            ("same", 0.0, Some("false")),
            ("near", 1.0, Some("1")),
            ("hosted", 1.0, Some("true")),
            ("free", 1.0, Some("mail.example.org")),
            ("domain", 0.5, Some("mail.example.org")),
            ("seen", 0.0, Some("0")),
            ("pair", 0.0, Some("0")),
            ("share", NONE, None),
        ],
    );
}

#[test]
fn null_is_missing_and_not_zero() {
    let got = row(SCHEMA, &event(0, None, None, &[]), None);
    let value = |name: &str| got.iter().find(|feature| feature.0 == name).unwrap().1;
    for name in ["from_length", "local_length", "per_host", "same", "near", "hosted", "seen", "pair", "share"] {
        assert!(value(name).is_nan(), "{name}: {}", value(name));
    }
    assert_eq!((value("unanswerable"), value("free"), value("domain"), value("hosts")), (1.0, 0.0, 0.5, 0.0));
}

#[test]
fn a_field_that_the_writer_lacks_takes_the_features_default() {
    let old = old_event(7, Some("ann@example.org"), &["a.test"]);
    let got = row(OLD, &old, None);
    let of = |name: &str| got.iter().find(|feature| feature.0 == name).unwrap().clone();
    assert_eq!((of("bulk").1, of("bulk").2.as_deref()), (0.0, Some("0")));
    assert_eq!((of("near").1, of("near").2.as_deref()), (-1.0, Some("-1")));
    assert!(of("same").1.is_nan());
    assert_eq!((of("size").1, of("hosts").1), (7.0, 1.0));
}

#[test]
fn counters_tell_what_was_seen() {
    let program = Program::compile(&checked(ALL, &[]).unwrap(), &schema(SCHEMA)).unwrap();
    let projection = Projection::compile(&schema(SCHEMA), &schema(SCHEMA), program.paths()).unwrap();
    let mut baselines = program.baselines();
    assert_eq!(
        baselines.tables().iter().map(crate::baselines::Table::name).collect::<Vec<_>>(),
        ["category(domain(from))", "seen(from)", "seen(from, size)"]
    );
    for (size, label) in [(7, Some(true)), (7, Some(true)), (8, Some(false)), (7, None)] {
        let datum = event(size, Some("ann@example.org"), None, &[]);
        let mut cells = Cells::default();
        projection.read(&datum, &mut cells.slots).unwrap();
        program.prepare(&mut cells);
        program.learn(&cells, label, &mut baselines);
    }
    let got = row(SCHEMA, &event(7, Some("ANN@example.org"), None, &[]), Some(&baselines));
    let of = |name: &str| got.iter().find(|feature| feature.0 == name).unwrap().clone();
    // Two of three labelled ones, mixed with one row of the mean (2 + 1/2 of 3 + 1).
    assert!((of("domain").1 - (2.0 + 0.625) / 4.0).abs() < 1e-6, "{}", of("domain").1);
    assert_eq!(of("seen").2.as_deref(), Some("4"));
    assert_eq!(of("pair").2.as_deref(), Some("3"));
    assert_eq!((of("seen").1, of("share").1), (2.25, 0.75));
}

#[test]
fn all_faults_come_at_once_with_their_lines() {
    let text = "\
apiVersion: millrace.dev/v1
kind: Features
metadata: {name: test}
spec:
  features:
    - {name: a, op: numeric, of: nowhere}
    - {name: b, op: numeric, of: from}
    - {name: c, op: hour, of: size}
    - {name: d, op: seen, of: [from, secret]}
    - {name: d, op: equal, of: [from, 'domian(reply)']}
    - {name: e, op: ratio, of: size}
    - {name: f, op: flag, of: bulk, bound: 3}
    - {name: g, op: among, of: from}
    - {name: h, op: length, of: domain(size)}
    - {name: i, op: contains, of: [from, from]}
";
    let source = source(text);
    let document = millrace_core::document::load::<Document>(&source).unwrap();
    let faults = check(&document, &source, &schema(SCHEMA), &[FieldPath::parse("secret").unwrap()]).unwrap_err();
    let got: Vec<String> = faults.0.iter().map(|f| format!("{} {}: {}", f.line, f.path, f.message)).collect();
    let wanted = [
        "6 $.spec.features[0].of: ",
        "7 $.spec.features[1].of: expected a number, and `from` is string",
        "8 $.spec.features[2].of: expected a timestamp, and `size` is int",
        "9 $.spec.features[3].of[1]: `secret` must not be a feature: it is under `never` in the pipeline",
        "10 $.spec.features[4].name: feature `d` is there already",
        "10 $.spec.features[4].of[1]: unknown part `domian`",
        "11 $.spec.features[5].of: `ratio` takes 2 operands, got 1",
        "12 $.spec.features[6].bound: `flag` has no option `bound`",
        "13 $.spec.features[7]: `among` needs `values`",
        "14 $.spec.features[8].of: `domain` is a part of a text, and `size` is int",
        "15 $.spec.features[9].of[0]: expected an array of strings, and `from` is string",
    ];
    assert_eq!(got.len(), wanted.len(), "{got:#?}");
    for (got, wanted) in got.iter().zip(wanted) {
        assert!(got.starts_with(wanted), "{got}");
    }
}

#[test]
fn what_is_not_of_the_form_is_refused_with_its_line() {
    let faults = checked(&ALL.replace("op: hour", "op: houre").replace("values:", "valuse:"), &[]).unwrap_err();
    let lines: Vec<usize> = faults.0.iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [14, 19], "{faults}");
}
