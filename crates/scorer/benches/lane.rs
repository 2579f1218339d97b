//! Records per second of one lane without Kafka: made-up mail, Avro in and out, all features of the demo, 100 trees of
//! 31 leaves, five reasons; beside it, in the same run, the model alone and decoding alone.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use fixed::{batch, bundle, mail, pipeline, scorer};
use millrace_kafka::lane::{Batch, Outputs, Processor as _};
use millrace_schema::{Projection, Schema};
use millrace_scoring::{Bundle, Plan, Scratch};

#[path = "../tests/fixed/mod.rs"]
mod fixed;

const RECORDS: usize = 20_000;
const BATCH: usize = 500;
const ROUNDS: usize = 7;
/// Floor, in records per second.
const FLOOR: f64 = 60_000.0;

fn main() {
    let schema = Schema::parse(millrace_demo::SCHEMA).expect("the demo's schema");
    let bundle = bundle(&schema, RECORDS);
    let data = mail(7, RECORDS);
    let model = bundle.model().gbdt().expect("own trees");
    let leaves: usize = model.trees.iter().map(|tree| tree.nodes.len().div_ceil(2)).sum();
    let trees = model.trees.len();
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
            black_box(bundle.model().explain(row, true, &mut contributions));
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
    let mut scorer = scorer(schema, bundle);
    let batches: Vec<Batch> = data.chunks(BATCH).map(batch).collect();
    let mut out = Outputs::new("bench", &pipeline().dead_topic());
    best(|| {
        for batch in &batches {
            out.clear();
            scorer.process(&batch.inputs(), &mut out).expect("nothing is away");
            assert_eq!((out.len(), out.letters().len()), (batch.len(), 0));
        }
    })
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
