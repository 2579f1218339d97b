#![expect(clippy::float_cmp, reason = "sums on the grid are exact: that is what is tested")]

use std::fs;

use millrace_schema::{FieldPath, Schema};

use super::*;
use crate::{
    Plan, Scratch,
    calibration::Method,
    gbdt,
    model::Kind,
    thresholds,
    train::{Corpus, Foreign, Labels, Learner, Settings, Window, train, wrap},
};

/// A bundle of made-up mail.
fn bundle(seed: u64, mails: usize) -> Bundle {
    bundle_of(seed, mails, Settings::default())
}

fn bundle_of(seed: u64, mails: usize, settings: Settings) -> Bundle {
    let (document, corpus) = corpus(seed, mails);
    let trees = gbdt::Settings { rounds: 10, ..gbdt::Settings::default() };
    train(&Settings { name: "mail-trust".to_owned(), trees, ..settings }, &document, &corpus).unwrap()
}

fn corpus(seed: u64, mails: usize) -> (Document, Corpus) {
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
    (document, corpus)
}

#[test]
fn a_bundle_comes_back_as_it_was_saved_and_scores_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let made = Arc::new(bundle(1, 600));
    made.save(dir.path()).unwrap();
    let loaded = Bundle::load(dir.path()).unwrap();
    assert_eq!(loaded.manifest(), made.manifest());
    assert_eq!((loaded.model().file(), loaded.baselines()), (made.model().file(), made.baselines()));
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
            assert_eq!(score.margin, plan.bundle().model().bias() + sum, "the law of reasons");
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
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1 + 1 + 7, "notes, manifest, files");
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

/// Loads a bundle after a text in one of its files was replaced, and all hashes with it.
fn doctored(made: &Bundle, part: &str, from: &str, to: &str) -> Result<Arc<Bundle>> {
    let dir = tempfile::tempdir().unwrap();
    let contents = made.encode().into_iter().map(|(other, bytes)| {
        if other.key() != part {
            return (other, bytes);
        }
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains(from), "{part} has no {from}");
        (other, text.replacen(from, to, 1).into_bytes())
    });
    let contents: Vec<_> = contents.collect();
    let (name, kind) = (made.name().to_owned(), made.model().kind());
    let manifest = Manifest::of(name, kind, &contents, made.schema().guid(), Training::default());
    files::write(dir.path(), &manifest, &contents).unwrap();
    Bundle::load(dir.path())
}

#[test]
fn a_bundle_that_does_not_score_its_own_events_as_it_did_is_refused() {
    let made = Arc::new(bundle(1, 400));
    assert_eq!(made.warm_up().unwrap(), 64);
    let rows = String::from_utf8(made.encode().into_iter().find(|(part, _)| *part == Part::Rows).unwrap().1).unwrap();
    let margin = rows.split("\"margin\":").nth(3).unwrap().split(',').next().unwrap();
    let wrong = doctored(&made, "rows", &format!("\"margin\":{margin}"), "\"margin\":0.125").unwrap();
    let error = wrong.warm_up().unwrap_err().to_string();
    assert!(error.contains("rows[") && error.contains("must be 0.125 and is"), "{error}");
    // A model that is another one is as wrong as a row that is.
    let base = format!("\"base\":{:?}", made.model().gbdt().unwrap().base);
    let wrong = doctored(&made, "model", &base, "\"base\":0.5").unwrap();
    assert!(wrong.warm_up().unwrap_err().to_string().contains("rows[0]: its margin must be"));
    let wrong = doctored(&made, "rows", "\"datum\":\"", "\"datum\":\"xy").unwrap();
    assert!(wrong.warm_up().unwrap_err().to_string().contains("hexadecimal"));
}

#[test]
fn a_bundle_of_before_has_no_events_and_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let made = bundle_of(1, 400, Settings { reference_rows: 0, ..Settings::default() });
    made.save(dir.path()).unwrap();
    let manifest = fs::read_to_string(dir.path().join("manifest.json")).unwrap();
    assert!(!manifest.contains("\"kind\""), "{manifest}");
    assert_eq!(made.manifest().files.len(), 6, "as many as there were");
    assert_eq!(Bundle::load(dir.path()).unwrap().warm_up().unwrap(), 0);
}

#[test]
fn weights_isotonic_steps_and_thresholds_come_back_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let thresholds = thresholds::Settings {
        tenant: Some("org".to_owned()),
        rates: vec![0.05, 0.2],
        least: 20,
        days: 10_000,
        ..thresholds::Settings::default()
    };
    let settings =
        Settings { learner: Learner::Logistic, calibration: Method::Isotonic, thresholds, ..Settings::default() };
    let made = bundle_of(1, 800, settings);
    made.save(dir.path()).unwrap();
    let loaded = Bundle::load(dir.path()).unwrap();
    assert_eq!((loaded.model().kind(), loaded.manifest()), (Kind::Logistic, made.manifest()));
    assert_eq!((loaded.calibration(), loaded.thresholds()), (made.calibration(), made.thresholds()));
    assert_eq!(loaded.warm_up().unwrap(), 64);
    let found = loaded.thresholds().unwrap();
    assert_eq!(found.all.events, 160, "what was not learned from");
    assert!(!found.tenants.is_empty(), "{found:?}");
    let tenant = found.tenants.keys().next().unwrap();
    assert!(loaded.threshold(tenant, 0.05) > loaded.threshold(tenant, 0.2), "{found:?}");
    assert_eq!(loaded.threshold("unheard of", 0.2), found.all.thresholds[1]);
    // A word that is not that of the model's file: neither hash nor parser lets it pass.
    let path = dir.path().join("manifest.json");
    fs::write(&path, fs::read_to_string(&path).unwrap().replace("\"logistic\"", "\"xgboost\"")).unwrap();
    assert!(Bundle::load(dir.path()).unwrap_err().to_string().contains("version"));
}

#[test]
fn a_model_from_elsewhere_is_wrapped_if_it_fits() {
    let (document, corpus) = corpus(1, 400);
    let names: Vec<&str> = document.features().iter().map(|feature| feature.name.as_str()).collect();
    let file = |names: &[&str]| {
        format!(
            "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx={}\nobjective=binary sigmoid:1\n\
             feature_names={}\n\nTree=0\nnum_leaves=2\nnum_cat=0\nsplit_feature=1\nthreshold=0.5\ndecision_type=8\n\
             left_child=-1\nright_child=-2\nleaf_value=-1 1\nleaf_count=30 10\nis_linear=0\n\nend of trees\n",
            names.len() - 1,
            names.join(" "),
        )
    };
    let wrapped = |names: &[&str]| {
        let foreign = Foreign { kind: Kind::Lightgbm, file: file(names).into_bytes(), ..Foreign::default() };
        wrap(&Settings::default(), &document, &corpus, &foreign)
    };
    let made = wrapped(&names).unwrap();
    assert_eq!((made.manifest().kind, made.manifest().training.trees), (Kind::Lightgbm, 1));
    let dir = tempfile::tempdir().unwrap();
    made.save(dir.path()).unwrap();
    let file = Path::new(&made.manifest().files["model"].file);
    assert_eq!(file.extension().unwrap(), "txt");
    assert_eq!(Bundle::load(dir.path()).unwrap().warm_up().unwrap(), 64);
    bundle(1, 400).save(dir.path()).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1 + 7, "the text is gone");

    let mut swapped = names.clone();
    swapped.swap(2, 3);
    let error = wrapped(&swapped).unwrap_err().to_string();
    assert!(error.contains("line 7: feature 2 is") && error.contains(names[2]) && error.contains(names[3]), "{error}");
    let error = wrapped(&names[1..]).unwrap_err().to_string();
    assert!(
        error.contains(&format!("made for {} features, and there are {}", names.len() - 1, names.len())),
        "{error}"
    );
}
