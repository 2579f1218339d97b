//! Records per second of one lane without Kafka: made-up mail, Avro in and out, all features of the demo, 100 trees of
//! 31 leaves, five reasons; beside it, in the same run, the model alone and decoding alone.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use millrace_core::{Pipeline, Source};
use millrace_demo::{Generator, Labelled, Settings as Stream};
use millrace_kafka::lane::{Batch, Outputs, Processor as _};
use millrace_schema::{
    FieldPath, Projection, Schema,
    client::{self, Registered},
    framing::SchemaRef,
};
use millrace_scorer::{Model, Scorer, lookup::Lookup, metrics::Metrics};
use millrace_scoring::{
    Bundle, Plan, Scratch,
    features::Document,
    gbdt,
    train::{Corpus, Labels, Settings, Window, train},
};
use uuid::Uuid;

const RECORDS: usize = 20_000;
const BATCH: usize = 500;
const ROUNDS: usize = 7;
/// Floor, in records per second.
const FLOOR: f64 = 60_000.0;

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

fn main() {
    let schema = Schema::parse(millrace_demo::SCHEMA).expect("the demo's schema");
    let bundle = bundle(&schema);
    let data = mail(7, RECORDS);
    let leaves: usize = bundle.model().trees.iter().map(|tree| tree.nodes.len().div_ceil(2)).sum();
    let trees = bundle.model().trees.len();
    println!(
        "{} features, {trees} trees of {:.1} leaves, {} bytes a record, {} cores (one is used)",
        bundle.program().features(),
        leaves as f64 / trees as f64,
        data.iter().map(Vec::len).sum::<usize>() / data.len(),
        std::thread::available_parallelism().map_or(1, usize::from),
    );

    let plan = Plan::compile(&bundle, &schema).expect("the demo's features");
    let projection = Projection::compile(&schema, &schema, bundle.program().paths()).expect("the demo's features");
    let (mut scratch, mut slots, mut contributions) = (Scratch::default(), Vec::new(), Vec::new());
    let rows: Vec<Vec<f32>> = data
        .iter()
        .map(|datum| {
            plan.score(datum, &mut scratch, 0).expect("a record of its schema");
            scratch.row().to_vec()
        })
        .collect();

    let lane = lane(&schema, bundle.clone(), &data);
    let model = best(|| {
        for row in &rows {
            black_box(bundle.forest().explain(row, &mut contributions));
        }
    });
    let decode = best(|| {
        for datum in &data {
            black_box(projection.read(datum, &mut slots).expect("a record of its schema"));
        }
    });
    row("lane: read, score, 5 reasons, write", lane, Some(FLOOR));
    row("model alone, with contributions", model, None);
    row("decode alone, needed fields", decode, None);
    println!("lane / model alone: {:.2}, lane / decode alone: {:.2}", lane / model, lane / decode);
}

/// One lane's work on batches as Kafka would give them.
fn lane(schema: &Schema, bundle: Arc<Bundle>, data: &[Vec<u8>]) -> f64 {
    let source = Source::parse("pipeline.yaml", millrace_demo::PIPELINE).expect("the demo's document");
    let pipeline = Pipeline::parse(&source).expect("the demo's document");
    let meter = opentelemetry::global::meter("bench");
    let metrics = Metrics::new(&meter, pipeline.name(), bundle.name());
    let lookup = Box::new(Fixed(schema.clone()));
    let mut scorer =
        Scorer::new(&pipeline, Arc::new(Model::fixed(bundle)), lookup, metrics).expect("the demo's document");
    let batches: Vec<Batch> = data.chunks(BATCH).map(batch).collect();
    let mut out = Outputs::new("bench", &pipeline.dead_topic());
    best(|| {
        for batch in &batches {
            out.clear();
            scorer.process(&batch.inputs(), &mut out).expect("nothing is away");
            assert_eq!((out.len(), out.letters().len()), (batch.len(), 0));
        }
    })
}

fn batch(data: &[Vec<u8>]) -> Batch {
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

/// Records per second in the best of several rounds: what else runs on the machine only adds.
fn best(mut round: impl FnMut()) -> f64 {
    let times = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        round();
        start.elapsed()
    });
    RECORDS as f64 / times.min().unwrap_or(Duration::MAX).as_secs_f64()
}

fn row(what: &str, rate: f64, floor: Option<f64>) {
    let beside = floor.map_or(String::new(), |floor| format!("  floor {floor:.0}, {:.2} times", rate / floor));
    println!("{what:<40} {rate:>9.0} records/s {:>7.2} us{beside}", 1e6 / rate);
}

/// A fifth of it has the wrong label.
fn mail(seed: u64, count: usize) -> Vec<Vec<u8>> {
    let encode = |(number, labelled): (usize, Labelled)| {
        let mut datum = Vec::new();
        labelled.reported(number.is_multiple_of(5)).encode(&mut datum);
        datum
    };
    Generator::new(Stream::new(seed, 1_700_000_000_000)).enumerate().take(count).map(encode).collect()
}

/// Trees of full size: among wrong labels there is always something to split.
fn bundle(schema: &Schema) -> Arc<Bundle> {
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
    for datum in mail(1, RECORDS) {
        corpus.add(writer, &datum).expect("a record of its schema");
    }
    let trees = gbdt::Settings { patience: 1000, min_child_weight: 0.0, shrinkage: 0.02, ..gbdt::Settings::default() };
    Arc::new(train(&Settings { trees, ..Settings::default() }, &document, &corpus).expect("enough mail"))
}
