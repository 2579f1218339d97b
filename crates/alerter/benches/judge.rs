//! Scores judged per second on one core, Avro in and Avro out, without Kafka: what a lane does between two polls.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use millrace_alerter::{Judge, Lookup};
use millrace_core::{Pipeline, Source, record::VERDICT_SCHEMA};
use millrace_kafka::lane::{Batch, Outputs, Processor as _, Unavailable};
use millrace_schema::{
    Schema,
    client::{Error, Registered},
    framing::SchemaRef,
    json,
    scored::{Head, Reason, compose, encode_head},
};
use opentelemetry::metrics::{MeterProvider as _, noop::NoopMeterProvider};
use serde_json::{Map, Value, json};

/// What the judge must sustain on a core.
const FLOOR: f64 = 50_000.0;
/// Records of a batch.
const BATCH: i64 = 1_000;
/// As many fields as the demo's mail record has.
const FIELDS: usize = 69;

const DOCUMENT: &str = "\
apiVersion: millrace.dev/v1
kind: Pipeline
metadata: {name: mail}
spec:
  topics: {partitions: 1, replication: 1, min_insync: 1}
  events: {subject: s, schema: a.avsc}
  scoring: {model: m}
  policy:
    - {name: spoof, when: SPOOF, action: quarantine}
    - {name: suspicious, when: score >= 0.70, action: label, labels: [suspicious]}
    - {name: default, when: 'true', action: pass}
  alerts:
    - {name: told, on: quarantine, notify: [ops], group_by: [event.f1]}
";

fn main() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("one of {cores} cores, a scored record of {FIELDS} fields, batches of {BATCH}");
    println!("{:<52} {:>10} {:>9} {:>8}", "policy", "scores/s", "ns/score", "x floor");
    let (schema, event) = mail();
    for (name, spoof, scores) in [
        ("thresholds of the demo, 1 in 50 raises an alert", "score >= 0.95", [0.2, 0.96]),
        ("thresholds and a field", "score >= 0.95 && event.f3 > 5", [0.2, 0.96]),
        ("every score raises an alert", "score >= 0.1", [0.96, 0.96]),
    ] {
        let source = Source::parse("p.yaml", &DOCUMENT.replace("SPOOF", spoof)).expect("YAML");
        let pipeline = Pipeline::parse(&source).expect("a pipeline");
        let meter = NoopMeterProvider::new().meter("bench");
        let mut judge = Judge::new(&pipeline, None, Box::new(Registry(schema.clone())), &meter);
        let mut batch = Batch::new();
        for offset in 0..BATCH {
            let value = scored(&event, scores[usize::from(offset % 50 == 0)]);
            let headers: [(&str, &[u8]); 4] = [
                ("traceparent", &[b'0'; 55]),
                ("correlation-id", &[b'c'; 36]),
                ("event-id", &[b'e'; 36]),
                ("received-at", &[b'r'; 24]),
            ];
            batch.push(("mail.scores", 0, offset), Some(1), Some(b"acme/a@example.org"), Some(&value), &headers);
        }
        let mut out = Outputs::new("g", "mail.dead");
        let (begin, mut done) = (Instant::now(), 0.0);
        while begin.elapsed() < Duration::from_secs(1) {
            out.clear();
            judge.process(black_box(&batch.inputs()), &mut out).expect("the registry is here");
            assert_eq!((out.len() as i64, out.letters().len()), (BATCH, 0));
            done += BATCH as f64;
        }
        let rate = done / begin.elapsed().as_secs_f64();
        println!("{name:<52} {rate:>10.0} {:>9.0} {:>8.1}", 1e9 / rate, rate / FLOOR);
    }
}

struct Registry(Schema);

fn registered(schema: Schema) -> Arc<Registered> {
    Arc::new(Registered { id: 1, guid: schema.guid(), subject: None, version: None, schema })
}

impl Lookup for Registry {
    fn scored(&self, _: SchemaRef) -> Result<Arc<Registered>, Error> {
        Ok(registered(compose(&self.0).expect("no name of ours")))
    }

    fn newest(&self) -> Result<Arc<Registered>, Error> {
        Ok(registered(self.0.clone()))
    }

    fn verdicts(&self) -> Result<Arc<Registered>, Unavailable> {
        Ok(registered(Schema::parse(VERDICT_SCHEMA).expect("ours")))
    }
}

fn scored(event: &[u8], score: f64) -> Vec<u8> {
    let mut value = vec![0, 0, 0, 0, 1];
    let reason = Reason { feature: "sender_seen_from_net", value: Some("0"), contribution: 1.25 };
    let head = Head {
        event_id: "0192f0c1-7b1e-7c3a-9a52-0c8e5d0f9b11",
        correlation_id: "0192f0c1-7b1e-7c3a-9a52-0c8e5d0f9b12",
        pipeline: "mail",
        received_at: 1,
        scored_at: 2,
        source: "stream",
        model: "mail-trust",
        model_version: "8c2f6d90ab12",
        score,
        margin: 2.0,
        reasons: vec![reason; 5],
    };
    encode_head(&head, &mut value);
    value.extend_from_slice(event);
    value
}

fn mail() -> (Schema, Vec<u8>) {
    let mut fields = Vec::new();
    let mut event = Map::new();
    for i in 0..FIELDS {
        let (ty, value) = match i % 3 {
            0 => (json!(["null", "long"]), json!(i * 7)),
            1 => (json!("string"), json!(format!("text {i}"))),
            _ => (json!(["null", "long"]), Value::Null),
        };
        fields.push(json!({"name": format!("f{i}"), "type": ty}));
        event.insert(format!("f{i}"), value);
    }
    let schema =
        Schema::parse(&json!({"type": "record", "name": "Mail", "fields": fields}).to_string()).expect("a schema");
    let mut bytes = Vec::new();
    json::Encoder::compile(&schema).encode(&Value::Object(event), &mut bytes).expect("an event of the schema");
    (schema, bytes)
}
