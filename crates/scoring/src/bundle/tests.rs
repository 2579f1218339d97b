#![expect(clippy::float_cmp, reason = "sums on the grid are exact: that is what is tested")]

use std::fs;

use millrace_schema::{FieldPath, Schema};

use super::*;
use crate::{
    Plan, Scratch, gbdt,
    train::{Corpus, Labels, Settings, Window, train},
};

/// A bundle of made-up mail.
fn bundle(seed: u64, mails: usize) -> Bundle {
    let schema = Schema::parse(millrace_demo::SCHEMA).unwrap();
    let source = millrace_core::Source::parse("features.yaml", millrace_demo::FEATURES).unwrap();
    let document = Document::parse(&source).unwrap_or_else(|faults| panic!("{faults}"));
    let labels = Labels {
        time: FieldPath::parse("received_at").unwrap(),
        field: FieldPath::parse("label").unwrap(),
        positive: vec!["spam".to_owned(), "phish".to_owned()],
        negative: vec!["ham".to_owned()],
    };
    let mut corpus = Corpus::new(schema.clone(), labels, Window::default()).unwrap();
    let writer = corpus.writer(&schema).unwrap();
    let stream = millrace_demo::Generator::new(millrace_demo::Settings::new(seed, 1_700_000_000_000));
    for labelled in stream.take(mails) {
        let mut mail = labelled.mail;
        mail.label = labelled.truth;
        let mut datum = Vec::new();
        mail.encode(&mut datum);
        corpus.add(writer, &datum).unwrap();
    }
    let trees = gbdt::Settings { rounds: 10, ..gbdt::Settings::default() };
    train(&Settings { name: "mail-trust".to_owned(), trees, ..Settings::default() }, &document, &corpus).unwrap()
}

#[test]
fn a_bundle_comes_back_as_it_was_saved_and_scores_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let made = Arc::new(bundle(1, 600));
    made.save(dir.path()).unwrap();
    let loaded = Bundle::load(dir.path()).unwrap();
    assert_eq!(loaded.manifest(), made.manifest());
    assert_eq!((loaded.model(), loaded.baselines()), (made.model(), made.baselines()));
    assert_eq!((loaded.document(), loaded.reference()), (made.document(), made.reference()));
    let schema = Schema::parse(millrace_demo::SCHEMA).unwrap();
    let plans = [&made, &loaded].map(|bundle| Plan::compile(bundle, &schema).unwrap());
    let stream = millrace_demo::Generator::new(millrace_demo::Settings::new(2, 1_800_000_000_000));
    for labelled in stream.take(50) {
        let mut datum = Vec::new();
        labelled.mail.encode(&mut datum);
        let scores = plans.each_ref().map(|plan| {
            let mut scratch = Scratch::default();
            let score = plan.score(&datum, &mut scratch, 5).unwrap();
            let reasons: Vec<String> = plan.reasons(&scratch).map(|reason| format!("{reason:?}")).collect();
            let sum: f64 = scratch.contributions().sum();
            assert_eq!(score.margin, plan.bundle().forest().bias() + sum, "the law of reasons");
            assert_eq!(score.consumed, datum.len());
            (score, reasons)
        });
        assert_eq!(scores[0], scores[1]);
    }
}

#[test]
fn the_same_training_gives_the_same_version() {
    let (a, b, c) = (bundle(1, 400), bundle(1, 400), bundle(1, 401));
    assert_eq!(a.version(), b.version());
    assert_ne!(a.version(), c.version());
    assert_eq!(a.version().len(), 16);
}

#[test]
fn a_bundle_takes_the_place_of_another_and_leaves_no_files_behind() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("notes.txt"), "not ours").unwrap();
    bundle(1, 400).save(dir.path()).unwrap();
    let second = bundle(3, 400);
    second.save(dir.path()).unwrap();
    assert_eq!(Bundle::load(dir.path()).unwrap().version(), second.version());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1 + 1 + 6, "notes, manifest, files");
}

#[test]
fn what_is_wrong_with_a_bundle_is_said_with_its_file() {
    let problem = |spoil: &dyn Fn(&Path, &Manifest)| {
        let dir = tempfile::tempdir().unwrap();
        let made = bundle(1, 400);
        made.save(dir.path()).unwrap();
        spoil(dir.path(), made.manifest());
        Bundle::load(dir.path()).unwrap_err()
    };
    let error = problem(&|dir, manifest| fs::remove_file(dir.join(&manifest.files["model"].file)).unwrap());
    assert!(error.to_string().contains("model."), "{error}");
    assert_eq!(error.code(), millrace_core::Code::NotFound);

    let error = problem(&|dir, manifest| {
        let path = dir.join(&manifest.files["baselines"].file);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(path, bytes).unwrap();
    });
    assert!(error.to_string().contains("baselines.") && error.to_string().contains("SHA-256"), "{error}");

    let error = problem(&|dir, manifest| {
        fs::write(dir.join(&manifest.files["calibration"].file), "{}").unwrap();
    });
    assert!(error.to_string().contains("2 bytes, and the manifest says"), "{error}");

    let error = problem(&|dir, _| {
        let path = dir.join("manifest.json");
        let text = fs::read_to_string(&path).unwrap().replace("\"format\": 1", "\"format\": 9");
        fs::write(path, text).unwrap();
    });
    assert!(error.to_string().contains("format 9"), "{error}");
}
