//! On real mail of 2002, split by time. The records are not in this repository: without them, the test says so.

use std::{fs::File, path::PathBuf, sync::Arc};

use millrace_core::Pipeline;
use millrace_schema::{FieldPath, Schema, container};
use millrace_scoring::{
    Bundle, Plan, Scratch,
    features::{self, Document},
    metrics::roc_auc,
    train::{self, Corpus, Labels, Settings, Window},
};

struct Mail {
    time: i64,
    positive: bool,
    datum: Vec<u8>,
}

fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The labelled records in the order of time; those from before the corpus's window apart.
fn mail() -> Option<(Schema, Vec<Mail>, Vec<Mail>)> {
    let Ok(input) = File::open(file("../shared/data/email/spamassassin-2002-train.avro")) else {
        eprintln!("skipped: ../shared/data/email is not there");
        return None;
    };
    let mut reader = container::Reader::new(input, container::Limits::default()).unwrap();
    let schema = reader.schema().clone();
    let paths = ["received_at", "label", "split"].map(|path| FieldPath::parse(path).unwrap());
    let projection = millrace_schema::Projection::compile(&schema, &schema, &paths).unwrap();
    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    while let Some(datum) = reader.next_datum() {
        let datum = datum.unwrap().to_vec();
        let mut slots = Vec::new();
        projection.read(&datum, &mut slots).unwrap();
        use millrace_schema::Slot::{Long, Str};
        let (Long(time), Str(label), Str(split)) = (slots[0], slots[1], slots[2]) else { panic!("{slots:?}") };
        let (positive, within) = (label != "ham", split == "train");
        let mail = Mail { time, positive, datum };
        if within { inside.push(mail) } else { outside.push(mail) }
    }
    inside.sort_by_key(|mail| mail.time);
    Some((schema, inside, outside))
}

fn trained<'a>(schema: &Schema, mail: impl IntoIterator<Item = &'a Mail>, settings: &Settings) -> Arc<Bundle> {
    let newest = Schema::parse(&std::fs::read_to_string(file("crates/demo/schemas/email-metadata.avsc")).unwrap()).unwrap();
    let (document, source) = Document::load(&file("crates/demo/features.yaml")).unwrap_or_else(|faults| panic!("{faults}"));
    let pipeline = Pipeline::load(&file("crates/demo/pipeline.yaml")).unwrap_or_else(|faults| panic!("{faults}"));
    let never = pipeline.spec.scoring.unwrap().never;
    features::check(&document, &source, &newest, &never).unwrap_or_else(|faults| panic!("{faults}"));
    let path = |path| FieldPath::parse(path).unwrap();
    let labels = Labels {
        time: path("received_at"),
        field: path("label"),
        positive: vec!["spam".to_owned(), "phish".to_owned()],
        negative: vec!["ham".to_owned()],
    };
    let mut corpus = Corpus::new(newest, labels, Window::default()).unwrap();
    let writer = corpus.writer(schema).unwrap();
    for mail in mail {
        corpus.add(writer, &mail.datum).unwrap();
    }
    Arc::new(train::train(settings, &document, &corpus).unwrap())
}

fn auc(bundle: &Arc<Bundle>, schema: &Schema, later: &[Mail]) -> f64 {
    let plan = Plan::compile(bundle, schema).unwrap();
    let mut scratch = Scratch::default();
    let scores: Vec<f64> =
        later.iter().map(|mail| plan.score(&mail.datum, &mut scratch, 5).unwrap().probability).collect();
    roc_auc(&scores, &later.iter().map(|mail| mail.positive).collect::<Vec<_>>())
}

#[test]
fn explore() {
    let Some((schema, inside, outside)) = mail() else { return };
    for share in [50, 60, 70, 80] {
        let split = inside.len() * share / 100;
        let (earlier, later) = inside.split_at(split);
        for (what, settings) in [
            ("default", Settings::default()),
            ("no refit", Settings { refit: false, ..Settings::default() }),
            ("warm 0", Settings { warm_up: 0.0, ..Settings::default() }),
            ("warm 15", Settings { warm_up: 0.15, ..Settings::default() }),
            ("slow", Settings { trees: millrace_scoring::gbdt::Settings { shrinkage: 0.05, rounds: 200, ..Default::default() }, ..Settings::default() }),
            ("l2", Settings { trees: millrace_scoring::gbdt::Settings { l2: 10.0, min_child_rows: 20, ..Default::default() }, ..Settings::default() }),
            ("few", Settings { trees: millrace_scoring::gbdt::Settings { leaves: 12, min_child_rows: 20, feature_share: 0.3, ..Default::default() }, ..Settings::default() }),
        ] {
            let bundle = trained(&schema, earlier, &settings);
            let with_outside = trained(&schema, outside.iter().chain(earlier), &settings);
            let m = &bundle.manifest().training;
            eprintln!(
                "{share} {what:10} later {:.4} with outside {:.4} valid {:.4} trees {}",
                auc(&bundle, &schema, later), auc(&with_outside, &schema, later), m.metrics.roc_auc, m.trees
            );
        }
    }
}
