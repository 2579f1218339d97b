//! On real mail of 2002, split by time. The records are not in this repository: without them, the test says so.

#![expect(clippy::unwrap_used, reason = "a test stops where something is wrong")]

use std::{fs::File, io::Write, path::PathBuf, sync::Arc};

use millrace_core::Pipeline;
use millrace_schema::{FieldPath, Projection, Schema, Slot, container};
use millrace_scoring::{
    Bundle, Plan, Scratch,
    features::{self, Document},
    metrics::{Metrics, roc_auc},
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
        // Not `eprintln!`, which a passing test keeps to itself.
        std::io::stderr().write_all(b"skipped: ../shared/data/email is not there\n").unwrap();
        return None;
    };
    let mut reader = container::Reader::new(input, container::Limits::default()).unwrap();
    let schema = reader.schema().clone();
    let paths = ["received_at", "label", "split"].map(|path| FieldPath::parse(path).unwrap());
    let projection = Projection::compile(&schema, &schema, &paths).unwrap();
    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    while let Some(datum) = reader.next_datum() {
        let datum = datum.unwrap().to_vec();
        let mut slots = Vec::new();
        projection.read(&datum, &mut slots).unwrap();
        let (Slot::Long(time), Slot::Str(label), Slot::Str(split)) = (slots[0], slots[1], slots[2]) else {
            panic!("{slots:?}")
        };
        let (positive, within) = (label != "ham", split == "train");
        let mail = Mail { time, positive, datum };
        if within { inside.push(mail) } else { outside.push(mail) }
    }
    inside.sort_by_key(|mail| mail.time);
    Some((schema, inside, outside))
}

fn trained<'a>(schema: &Schema, mail: impl IntoIterator<Item = &'a Mail>) -> Arc<Bundle> {
    let newest =
        Schema::parse(&std::fs::read_to_string(file("crates/demo/schemas/email-metadata.avsc")).unwrap()).unwrap();
    let (document, source) =
        Document::load(&file("crates/demo/features.yaml")).unwrap_or_else(|faults| panic!("{faults}"));
    let pipeline = Pipeline::load(&file("crates/demo/pipeline.yaml")).unwrap_or_else(|faults| panic!("{faults}"));
    let never: Vec<_> =
        pipeline.spec.scoring.unwrap().never.iter().map(|path| FieldPath::parse(path).unwrap()).collect();
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
    Arc::new(train::train(&Settings::default(), &document, &corpus).unwrap())
}

fn auc(bundle: &Arc<Bundle>, schema: &Schema, later: &[Mail]) -> f64 {
    let plan = Plan::compile(bundle, schema).unwrap();
    let mut scratch = Scratch::default();
    let scores: Vec<f64> =
        later.iter().map(|mail| plan.score(&mail.datum, &mut scratch, 5).unwrap().probability).collect();
    roc_auc(&scores, &later.iter().map(|mail| mail.positive).collect::<Vec<_>>())
}

/// What an honest split promises: the first 70 percent by time are learned from, the rest is only scored.
#[test]
fn later_mail_is_told_apart_by_what_was_learned_from_earlier_mail() {
    let Some((schema, inside, outside)) = mail() else { return };
    let (earlier, later) = inside.split_at(inside.len() * 7 / 10);
    let bundle = trained(&schema, earlier);
    let area = auc(&bundle, &schema, later);
    let older = auc(&trained(&schema, outside.iter().chain(earlier)), &schema, later);
    let Metrics { rows, roc_auc, .. } = bundle.manifest().training.metrics;
    println!("ROC-AUC on the {} later mails: {area:.4}", later.len());
    println!("with spam from before the window as well: {older:.4}; by the manifest, on {rows} mails: {roc_auc:.4}");
    assert!(area >= 0.97 && older >= 0.97, "{area:.4}, {older:.4}");
}

#[test]
#[expect(clippy::float_cmp, reason = "sums on the grid are exact: that is what is tested")]
fn every_real_mail_is_scored_and_its_reasons_sum_to_its_margin() {
    let Some((schema, inside, outside)) = mail() else { return };
    let bundle = trained(&schema, &inside);
    let plan = Plan::compile(&bundle, &schema).unwrap();
    let mut scratch = Scratch::default();
    for mail in inside.iter().chain(&outside) {
        let score = plan.score(&mail.datum, &mut scratch, usize::MAX).unwrap();
        assert_eq!(score.consumed, mail.datum.len());
        assert!((0.0..=1.0).contains(&score.probability));
        let sum: f64 = plan.reasons(&scratch).map(|reason| reason.contribution).sum();
        assert_eq!(score.margin, bundle.model().bias() + sum);
    }
}
