//! Records per second on one core: the whole way from Avro bytes to a score with five reasons, the model alone, decoding
//! alone. Made-up mail, all features of the demo, 100 trees of 31 leaves.

use std::{hint::black_box, sync::Arc, time::Instant};

use millrace_core::Source;
use millrace_demo::{Generator, Labelled, Settings as Stream};
use millrace_schema::{FieldPath, Projection, Schema};
use millrace_scoring::{
    Bundle, Model, Plan, Scratch,
    drift::Counts,
    features::{Cells, Document},
    gbdt::{self, Matrix},
    model::{LogisticSettings, fit_logistic},
    train::{Corpus, Labels, Settings, Window, train},
};

const RECORDS: usize = 20_000;
const ROUNDS: usize = 5;

fn main() {
    let schema = Schema::parse(millrace_demo::SCHEMA).expect("the demo's schema");
    let bundle = bundle(&schema);
    let data = mail(7, RECORDS);
    let plan = Plan::compile(&bundle, &schema).expect("the demo's features");
    let bytes: usize = data.iter().map(Vec::len).sum();
    let model = bundle.model().gbdt().expect("own trees");
    let leaves: usize = model.trees.iter().map(|tree| tree.nodes.len().div_ceil(2)).sum();
    println!(
        "{} features, {} trees of {:.1} leaves, {} keys, {} bytes a record",
        bundle.program().features(),
        model.trees.len(),
        leaves as f64 / model.trees.len() as f64,
        bundle.baselines().len(),
        bytes / data.len(),
    );

    let mut scratch = Scratch::default();
    report("whole: decode, features, trees, 5 reasons", &data, |datum| {
        black_box(plan.score(datum, &mut scratch, 5).expect("a record of its schema").probability);
        black_box(plan.reasons(&scratch).map(|reason| reason.contribution).sum::<f64>());
    });
    report("without reasons", &data, |datum| {
        black_box(plan.score(datum, &mut scratch, 0).expect("a record of its schema").probability);
    });
    let projection = Projection::compile(&schema, &schema, bundle.program().paths()).expect("the demo's features");
    let mut slots = Vec::new();
    report("decode alone", &data, |datum| {
        black_box(projection.read(datum, &mut slots).expect("a record of its schema"));
    });
    let mut row = Vec::new();
    let mut idle = Cells::default();
    report("decode and features", &data, |datum| {
        let mut cells = Cells::recycled(std::mem::take(&mut idle));
        projection.read(datum, &mut cells.slots).expect("a record of its schema");
        bundle.program().prepare(&mut cells);
        bundle.program().row(&cells, bundle.baselines(), &mut row);
        idle = Cells::recycled(cells);
    });
    let rows: Vec<Vec<f32>> = data
        .iter()
        .map(|datum| {
            plan.score(datum, &mut scratch, 0).expect("a record of its schema");
            scratch.row().to_vec()
        })
        .collect();
    let mut contributions = Vec::new();
    report("model alone, with contributions", &rows, |row| {
        black_box(bundle.model().explain(row, true, &mut contributions));
    });
    let mut drift = Counts::new(bundle.reference());
    report("counting for drift alone", &rows, |row| drift.add(row, 0.5));
    black_box(drift.report(bundle.reference()));
    let names = bundle.program().names();
    let logistic = fit_logistic(names, &matrix(&rows), &labels(rows.len()), &LogisticSettings::default());
    let logistic = Model::from(logistic);
    report("logistic regression, with contributions", &rows, |row| {
        black_box(logistic.explain(row, true, &mut contributions));
    });
}

fn matrix(rows: &[Vec<f32>]) -> Matrix {
    let mut matrix = Matrix::new(rows[0].len());
    for row in rows {
        matrix.push(row);
    }
    matrix
}

/// As good as any: its weights are not looked at.
fn labels(count: usize) -> Vec<bool> {
    (0..count).map(|i| i % 3 == 0).collect()
}

/// The best of several rounds: what else runs on the machine only adds.
fn report<'a, T>(what: &str, data: &'a [T], mut work: impl FnMut(&'a T)) {
    let best = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            data.iter().for_each(&mut work);
            start.elapsed()
        })
        .min()
        .unwrap_or_default();
    let each = best.as_secs_f64() / data.len() as f64;
    println!("{what:<45} {:>9.0} records/s {:>8.0} ns", 1.0 / each, each * 1e9);
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
    let settings = Settings { trees, ..Settings::default() };
    Arc::new(train(&settings, &document, &corpus).expect("enough mail"))
}
