use millrace_core::pipeline::{Events, Framing};
use millrace_schema::{Schema, client::Registered};
use serde_json::json;

use super::*;

const SCHEMA: &str = r#"{"type": "record", "name": "R", "fields": [
    {"name": "uid", "type": ["null", "string"], "default": null},
    {"name": "org", "type": ["null", "string"], "default": null},
    {"name": "n", "type": "long", "default": 0},
    {"name": "flags", "type": {"type": "array", "items": "boolean"}, "default": []}]}"#;

fn events(id: Option<&str>, key: &[&str], framing: Framing) -> Events {
    Events {
        subject: "s".to_owned(),
        schema: "r.avsc".into(),
        id: id.map(str::to_owned),
        time: None,
        key: key.iter().map(ToString::to_string).collect(),
        framing,
    }
}

fn compile(events: &Events) -> Result<Plan, String> {
    let schema = Schema::parse(SCHEMA).unwrap();
    let writer = Registered { id: 7, guid: schema.guid(), subject: None, version: None, schema: schema.clone() };
    Plan::compile("t".into(), events, &writer, &schema)
}

fn plan(key: &[&str], framing: Framing) -> Plan {
    compile(&events(Some("uid"), key, framing)).unwrap()
}

fn json(value: &serde_json::Value) -> Incoming {
    Incoming::bare(Payload::Json(value.to_string().into()))
}

fn datum(value: &serde_json::Value) -> Vec<u8> {
    let mut datum = Vec::new();
    millrace_schema::json::Encoder::compile(&Schema::parse(SCHEMA).unwrap()).encode(value, &mut datum).unwrap();
    datum
}

fn prepared(plan: &Plan, events: Vec<Incoming>) -> Prepared {
    prepare(events, plan, &Receipt::now(Bytes::from_static(b"trace")), 1000)
}

fn keys(prepared: &Prepared) -> Vec<&str> {
    prepared.records.iter().map(|record| std::str::from_utf8(record.key.as_ref().unwrap()).unwrap()).collect()
}

#[test]
fn a_key_is_its_fields_and_without_any_the_id() {
    let batch = || {
        vec![
            json(&json!({"uid": "1", "org": "acme", "n": -5})),
            json(&json!({"uid": "2", "n": 6})),
            json(&json!({"uid": "3"})),
        ]
    };
    assert_eq!(keys(&prepared(&plan(&["org", "n"], Framing::IdPrefix), batch())), ["acme|-5", "|6", "|0"]);
    assert_eq!(keys(&prepared(&plan(&["org"], Framing::IdPrefix), batch())), ["acme", "2", "3"]);
    assert_eq!(keys(&prepared(&plan(&[], Framing::IdPrefix), batch())), ["1", "2", "3"]);
}

#[test]
fn what_is_rejected_leaves_nothing_behind_among_the_records() {
    let (first, last) = (json!({"uid": "first", "n": 1}), json!({"uid": "last", "n": 2}));
    let bad = json!({"uid": "bad", "org": "long enough to be seen", "n": "x"});
    let plan = plan(&["org"], Framing::IdPrefix);
    let prepared = prepared(&plan, vec![json(&bad), json(&first), json(&bad), json(&last), json(&bad)]);
    assert_eq!(prepared.pending, [1, 3]);
    for (record, value) in prepared.records.iter().zip([&first, &last]) {
        assert_eq!(record.value.as_deref().unwrap(), [&[0, 0, 0, 0, 7][..], &datum(value)].concat());
        assert_eq!(record.headers.text("event-id"), value["uid"].as_str());
        assert_eq!(record.headers.text("traceparent"), Some("trace"));
    }
    let ids: Vec<_> = prepared.answers.iter().map(|answer| &*answer.event_id).collect();
    assert_eq!(ids, ["bad", "first", "bad", "last", "bad"]);
}

#[test]
fn bare_avro_is_not_copied() {
    let sent = Bytes::from(datum(&json!({"uid": "1"})));
    let plan = plan(&[], Framing::GuidHeader);
    let prepared = prepared(&plan, vec![Incoming::bare(Payload::Avro(sent.clone()))]);
    assert_eq!(prepared.records[0].value.as_ref().unwrap().as_ptr(), sent.as_ptr());
    assert_eq!(prepared.records[0].headers.get("__value_schema_id").unwrap().len(), 17);
}

#[test]
fn json_and_avro_of_one_event_become_the_same_record() {
    let value = json!({"uid": "1", "org": "acme", "n": 3, "flags": [true, false]});
    let plan = plan(&["org"], Framing::IdPrefix);
    let avro = Incoming { correlation_id: "c".to_owned(), ..Incoming::bare(Payload::Avro(datum(&value).into())) };
    let json = Incoming { correlation_id: "c".to_owned(), ..json(&value) };
    let prepared = prepared(&plan, vec![avro, json]);
    assert_eq!(prepared.records[0], prepared.records[1]);
}

#[test]
fn a_document_that_does_not_fit_the_schema_is_refused_with_the_path() {
    for (id, key, path) in [
        (Some("flags"), &["org"][..], "$.flags"),
        (Some("uid"), &["flags"], "$.flags"),
        (Some("missing"), &[], "$.missing"),
        (None, &["org", "gone"], "$.gone"),
    ] {
        let reason = compile(&events(id, key, Framing::IdPrefix)).err().unwrap();
        assert!(reason.contains(path), "{reason}");
    }
}
