use std::sync::Mutex;

use millrace_core::{Source, record::VERDICT_SCHEMA};
use millrace_kafka::lane::Batch;
use millrace_schema::{
    Schema,
    client::Error as ClientError,
    framing::SchemaRef,
    json,
    scored::{Head, compose, encode_head},
};
use opentelemetry::metrics::MeterProvider as _;
use serde_json::{Value, json};

use super::*;

const V1: &str = r#"{"type":"record","name":"Mail","fields":[
    {"name":"org","type":"string"},{"name":"hops","type":"int"}]}"#;
const V2: &str = r#"{"type":"record","name":"Mail","fields":[
    {"name":"org","type":"string"},{"name":"hops","type":"long"},{"name":"bulk","type":"boolean","default":true}]}"#;

const DOCUMENT: &str = "\
apiVersion: millrace.dev/v1
kind: Pipeline
metadata: {name: mail}
spec:
  topics: {partitions: 1, replication: 1, min_insync: 1}
  events: {subject: mail.events-value, schema: a.avsc, framing: FRAMING}
  scoring: {model: m}
  policy:
    - {name: spoof, when: 'score >= 0.9 && event.bulk', action: quarantine, labels: [bad]}
    - {name: default, when: 'true', action: pass}
  alerts:
    - {name: told, on: quarantine, notify: [ops], group_by: [event.org]}
";

/// A registry of two versions of events (1, 2), their scores (11, 12) and the schema of verdicts (20).
#[derive(Default)]
struct Fake {
    newest_is_v1: bool,
    away: Mutex<bool>,
}

fn registered(id: u32, schema: Schema) -> Arc<Registered> {
    Arc::new(Registered { id, guid: schema.guid(), subject: None, version: None, schema })
}

impl Lookup for Fake {
    fn scored(&self, schema: SchemaRef) -> Result<Arc<Registered>, ClientError> {
        if *self.away.lock().unwrap() {
            return Err(ClientError::Unavailable("away".into()));
        }
        let of = |text| compose(&Schema::parse(text).unwrap()).unwrap();
        match schema {
            SchemaRef::Id(11) => Ok(registered(11, of(V1))),
            SchemaRef::Id(12) => Ok(registered(12, of(V2))),
            SchemaRef::Id(1) => Ok(registered(1, Schema::parse(V1).unwrap())),
            _ => Err(ClientError::NotFound("Schema 99 not found".into())),
        }
    }

    fn newest(&self) -> Result<Arc<Registered>, ClientError> {
        Ok(registered(0, Schema::parse(if self.newest_is_v1 { V1 } else { V2 }).unwrap()))
    }

    fn verdicts(&self) -> std::result::Result<Arc<Registered>, Unavailable> {
        Ok(registered(20, Schema::parse(VERDICT_SCHEMA).unwrap()))
    }
}

fn judge(framing: &str, lookup: Fake) -> Judge {
    let source = Source::parse("p.yaml", &DOCUMENT.replace("FRAMING", framing)).unwrap();
    let pipeline = Pipeline::parse(&source).unwrap();
    let meter = opentelemetry::metrics::noop::NoopMeterProvider::new().meter("test");
    Judge::new(&pipeline, None, Box::new(lookup), &meter)
}

fn scored(id: u32, event: &Value, event_id: &str, score: f64) -> Vec<u8> {
    let mut value = vec![0];
    value.extend_from_slice(&id.to_be_bytes());
    let head = Head {
        event_id,
        correlation_id: "c1",
        pipeline: "mail",
        received_at: 1_700_000_000_000,
        scored_at: 1_700_000_000_005,
        source: "stream",
        model: "m",
        model_version: "v7",
        score,
        margin: 3.0,
        reasons: Vec::new(),
    };
    encode_head(&head, &mut value);
    let schema = Schema::parse(if id == 11 { V1 } else { V2 }).unwrap();
    json::Encoder::compile(&schema).encode(event, &mut value).unwrap();
    value
}

fn outputs(judge: &mut Judge, values: &[Option<&[u8]>]) -> Outputs {
    let mut batch = Batch::new();
    for (offset, value) in (0_i64..).zip(values) {
        let headers: [(&str, &[u8]); 2] = [("event-id", b"e"), ("correlation-id", b"c1")];
        batch.push(("mail.scores", 3, offset), Some(5), Some(b"key"), *value, &headers);
    }
    let mut out = Outputs::new("millrace.mail.judge", "mail.dead");
    judge.process(&batch.inputs(), &mut out).unwrap();
    out
}

fn verdict(value: &[u8]) -> Value {
    json::to_json(&Schema::parse(VERDICT_SCHEMA).unwrap(), value).unwrap()
}

#[test]
fn a_verdict_says_what_was_decided_and_why() {
    let mut judge = judge("id-prefix", Fake::default());
    let bad = scored(12, &json!({"org": "acme", "hops": 2, "bulk": true}), "e1", 0.97);
    let good = scored(12, &json!({"org": "acme", "hops": 2, "bulk": false}), "e2", 0.97);
    let out = outputs(&mut judge, &[Some(&bad), Some(&good)]);
    let all: Vec<_> = out.iter().collect();
    assert_eq!((all[0].topic, all[0].partition, all[0].key), ("mail.verdicts", Some(3), Some(&b"key"[..])));
    assert_eq!((all[0].header("event-id"), all[0].header("correlation-id")), (Some(&b"e"[..]), Some(&b"c1"[..])));
    let value = all[0].value.unwrap();
    assert_eq!(value[..5], [0, 0, 0, 0, 20]);
    let first = verdict(&value[5..]);
    let revision = first["policy_revision"].as_str().unwrap();
    assert_eq!(first["verdict_id"], id::verdict("mail", "e1", revision, "v7").to_string());
    for (field, expected) in [
        ("event_id", json!("e1")),
        ("correlation_id", json!("c1")),
        ("pipeline", json!("mail")),
        ("received_at", json!("2023-11-14T22:13:20Z")),
        ("scored_at", json!("2023-11-14T22:13:20.005Z")),
        ("action", json!("quarantine")),
        ("labels", json!(["bad"])),
        ("rule", json!("spoof")),
        ("score", json!(0.97)),
        ("model", json!("m")),
        ("model_version", json!("v7")),
        ("alerts", json!([{"name": "told", "group": {"event.org": "acme"}}])),
    ] {
        assert_eq!(first[field], expected, "{field}");
    }
    let second = verdict(&all[1].value.unwrap()[5..]);
    assert_eq!(
        (&second["action"], &second["rule"], &second["alerts"]),
        (&json!("pass"), &json!("default"), &json!([]))
    );
}

#[test]
fn the_same_score_gives_the_same_id_again() {
    let value = scored(12, &json!({"org": "acme", "hops": 2, "bulk": true}), "e1", 0.97);
    let id = || {
        verdict(
            &outputs(&mut judge("id-prefix", Fake::default()), &[Some(&value)]).iter().next().unwrap().value.unwrap()
                [5..],
        )["verdict_id"]
            .clone()
    };
    assert_eq!(id(), id());
}

#[test]
fn versions_of_the_event_are_judged_by_the_same_policy() {
    let mut judge = judge("id-prefix", Fake::default());
    let old = scored(11, &json!({"org": "a", "hops": 2}), "e1", 0.97);
    let new = scored(12, &json!({"org": "b", "hops": 2, "bulk": true}), "e2", 0.97);
    let out = outputs(&mut judge, &[Some(&old), Some(&new)]);
    let rules: Vec<Value> = out.iter().map(|it| verdict(&it.value.unwrap()[5..])["rule"].clone()).collect();
    assert_eq!(rules, ["spoof", "spoof"], "the default of `bulk` is true");
}

#[test]
fn what_cannot_be_judged_is_dead_and_its_neighbours_are_judged() {
    let mut judge = judge("id-prefix", Fake::default());
    let good = scored(12, &json!({"org": "acme", "hops": 2, "bulk": true}), "e1", 0.97);
    let cut = &good[..good.len() - 3];
    let long = [&good[..], &[7]].concat();
    let unknown = [&[0, 0, 0, 0, 99], &good[5..]].concat();
    let unscored = [&[0, 0, 0, 0, 1], &good[5..]].concat();
    let values: [Option<&[u8]>; 9] = [
        Some(&good),
        Some(cut),
        Some(&long),
        Some(&unknown),
        Some(&unscored),
        Some(b"{}"),
        None,
        Some(&good[..5]),
        Some(&good),
    ];
    let out = outputs(&mut judge, &values);
    let codes: Vec<&str> = out.letters().iter().map(|(_, code)| code.as_str()).collect();
    assert_eq!(codes, ["CORRUPT", "CORRUPT", "NOT_FOUND", "INVALID_EVENT", "CORRUPT", "INVALID_EVENT", "CORRUPT"]);
    let verdicts = out.iter().filter(|it| it.topic == "mail.verdicts").count();
    assert_eq!(verdicts, 2);
    let letter = out.iter().find(|it| it.topic == "mail.dead").unwrap();
    assert_eq!((letter.header("dead-stage"), letter.header("dead-offset")), (Some(&b"judge"[..]), Some(&b"1"[..])));
}

#[test]
fn a_registry_that_is_away_holds_the_batch_back() {
    let mut judge = judge("id-prefix", Fake { away: true.into(), ..Fake::default() });
    let value = scored(12, &json!({"org": "acme", "hops": 2, "bulk": true}), "e1", 0.97);
    let mut batch = Batch::new();
    batch.push(("mail.scores", 0, 0), None, None, Some(&value), &[]);
    let mut out = Outputs::new("g", "mail.dead");
    assert_eq!(judge.process(&batch.inputs(), &mut out).unwrap_err().what, "schema registry");
    assert!(out.is_empty());
}

#[test]
fn a_policy_that_does_not_fit_the_schema_is_no_dead_letter() {
    let mut judge = judge("id-prefix", Fake { newest_is_v1: true, ..Fake::default() });
    let value = scored(11, &json!({"org": "acme", "hops": 2}), "e1", 0.97);
    let mut batch = Batch::new();
    batch.push(("mail.scores", 0, 0), None, None, Some(&value), &[]);
    let error = judge.process(&batch.inputs(), &mut Outputs::new("g", "mail.dead")).unwrap_err();
    assert!(error.source.to_string().contains("`Mail` has no field `bulk`"), "{error:?}");
}

#[test]
fn the_framing_is_the_documents() {
    let value = scored(12, &json!({"org": "acme", "hops": 2, "bulk": true}), "e1", 0.97);
    let guid = Schema::parse(VERDICT_SCHEMA).unwrap().guid();
    let expected = [&[1], &guid.as_bytes()[..]].concat();
    let out = outputs(&mut judge("guid-header", Fake::default()), &[Some(&value)]);
    let output = out.iter().next().unwrap();
    assert_eq!(output.header("__value_schema_id"), Some(&expected[..]));
    assert_eq!(verdict(output.value.unwrap())["rule"], "spoof");
    let out = outputs(&mut judge("guid-prefix", Fake::default()), &[Some(&value)]);
    assert_eq!(out.iter().next().unwrap().value.unwrap()[..17], expected);
}
