//! The stream's scorer without a stream: one schema, nothing to ask anybody for. Benchmarks use it as well.
#![allow(dead_code, reason = "each benchmark and each test uses its own part")]

use std::sync::Arc;

use millrace_core::{Pipeline, Source};
use millrace_demo::{Generator, Labelled, Settings as Stream};
use millrace_kafka::lane::Batch;
use millrace_schema::{
    FieldPath, Schema,
    client::{self, Registered},
    framing::SchemaRef,
};
use millrace_scorer::{Model, Scorer, lookup::Lookup, metrics::Metrics};
use millrace_scoring::{
    Bundle,
    features::Document,
    gbdt,
    train::{Corpus, Labels, Settings, Window, train},
};
use uuid::Uuid;

/// A registry of one schema.
struct Fixed(Schema);

impl Fixed {
    fn registered(id: u32, schema: &Schema) -> Arc<Registered> {
        Arc::new(Registered { id, guid: schema.guid(), subject: None, version: None, schema: schema.clone() })
    }
}

impl Lookup for Fixed {
    fn event(&self, _: SchemaRef) -> Result<Arc<Registered>, client::Error> {
        Ok(Self::registered(1, &self.0))
    }

    fn scored(&self, schema: &Schema) -> Result<Arc<Registered>, client::Error> {
        Ok(Self::registered(2, schema))
    }

    fn topic_id(&self, _: &str) -> Result<Uuid, millrace_kafka::Error> {
        Ok(Uuid::nil())
    }
}

/// The demo's pipeline.
pub(crate) fn pipeline() -> Pipeline {
    let source = Source::parse("pipeline.yaml", millrace_demo::PIPELINE).expect("the demo's document");
    Pipeline::parse(&source).expect("the demo's document")
}

/// What scores the events of a lane.
pub(crate) fn scorer(schema: &Schema, bundle: Arc<Bundle>) -> Scorer {
    let pipeline = pipeline();
    let metrics = Metrics::new(&opentelemetry::global::meter("fixed"), pipeline.name(), bundle.name());
    let lookup = Box::new(Fixed(schema.clone()));
    Scorer::new(&pipeline, Arc::new(Model::fixed(bundle)), lookup, metrics).expect("the demo's document")
}

/// Events as Kafka would give them.
pub(crate) fn batch(data: &[Vec<u8>]) -> Batch {
    let mut batch = Batch::new();
    for (offset, datum) in data.iter().enumerate() {
        let value: Vec<u8> = [&[0, 0, 0, 0, 1], &datum[..]].concat();
        let id = format!("demo-7-{offset:08}");
        let headers: [(&str, &[u8]); 4] = [
            ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"),
            ("correlation-id", b"0198c0de-0000-7000-8000-000000000000"),
            ("event-id", id.as_bytes()),
            ("received-at", b"2026-01-02T03:04:05.678Z"),
        ];
        batch.push(("mail-trust.events", 0, offset as i64), Some(1), Some(b"org|from"), Some(&value), &headers);
    }
    batch
}

/// Made-up mail. A fifth of it has the wrong label.
pub(crate) fn mail(seed: u64, count: usize) -> Vec<Vec<u8>> {
    mails(seed).take(count).collect()
}

/// The same without an end.
pub(crate) fn mails(seed: u64) -> impl Iterator<Item = Vec<u8>> {
    let encode = |(number, labelled): (usize, Labelled)| {
        let mut datum = Vec::new();
        labelled.reported(number.is_multiple_of(5)).encode(&mut datum);
        datum
    };
    Generator::new(Stream::new(seed, 1_700_000_000_000)).enumerate().map(encode)
}

/// A hundred trees of full size: among wrong labels there is always something to split.
pub(crate) fn bundle(schema: &Schema, records: usize) -> Arc<Bundle> {
    let source = Source::parse("features.yaml", millrace_demo::FEATURES).expect("the demo's features");
    let document = Document::parse(&source).expect("the demo's features");
    let path = |path| FieldPath::parse(path).expect("a path");
    let labels = Labels {
        time: path("received_at"),
        field: path("label"),
        positive: vec!["spam".to_owned(), "phish".to_owned()],
        negative: vec!["ham".to_owned()],
    };
    let mut corpus = Corpus::new(schema.clone(), labels, Window::default()).expect("the demo's schema");
    let writer = corpus.writer(schema).expect("the demo's schema");
    for datum in mail(1, records) {
        corpus.add(writer, &datum).expect("a record of its schema");
    }
    let trees = gbdt::Settings { patience: 1000, min_child_weight: 0.0, shrinkage: 0.02, ..gbdt::Settings::default() };
    let settings = Settings { trees, name: millrace_demo::NAME.to_owned(), ..Settings::default() };
    Arc::new(train(&settings, &document, &corpus).expect("enough mail"))
}
