//! Models of other packages score as they do there. The packages are fetched once, by pip; without PyPI the test fails
//! and says so.

#![expect(clippy::unwrap_used, reason = "a test stops where something is wrong")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use millrace_scoring::{
    Model,
    gbdt::{Matrix, sigmoid},
    model::{Kind, LogisticSettings, OnnxSettings, fit_logistic},
};
use serde::Deserialize;

// By its path: what else the test kit needs is a hundred times what this crate does.
#[path = "../../testkit/src/python.rs"]
pub mod python;

const REQUIREMENTS: &str = include_str!("python/requirements.txt");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/originals.py");

#[derive(Deserialize)]
struct Case {
    kind: Kind,
    features: Vec<String>,
    rows: Vec<Vec<Option<f32>>>,
    probabilities: Vec<f64>,
    onnx: Option<OnnxSettings>,
    #[serde(default)]
    labels: Vec<bool>,
}

impl Case {
    fn rows(&self) -> impl Iterator<Item = Vec<f32>> {
        self.rows.iter().map(|row| row.iter().map(|x| x.unwrap_or(f32::NAN)).collect())
    }

    /// The model's file; of our own kind there is none, and it is trained.
    fn model(&self, folder: &Path, name: &str) -> Model {
        if self.kind == Kind::Logistic {
            let mut rows = Matrix::new(self.features.len());
            self.rows().for_each(|row| rows.push(&row));
            return fit_logistic(&self.features, &rows, &self.labels, &LogisticSettings::default()).into();
        }
        let file = fs::read(folder.join(format!("{name}.model"))).unwrap();
        Model::parse(self.kind, &file, &self.features, self.onnx.clone())
            .unwrap_or_else(|problem| panic!("{name}: {problem}"))
    }
}

/// Has Python write its models and what they predict.
fn originals(folder: &Path, which: &[&str]) {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    let python = PYTHON.get_or_init(|| python::python(env!("CARGO_TARGET_TMPDIR"), "models", REQUIREMENTS).unwrap());
    let done = Command::new(python).arg(SCRIPT).arg(folder).args(which).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn scores_are_those_of_the_packages() {
    let folder = tempfile::tempdir().unwrap();
    originals(folder.path(), &[]);
    let mut kinds = Vec::new();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let Some(name) = path.file_name().unwrap().to_str().unwrap().strip_suffix(".case.json") else { continue };
        let case: Case = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        if case.kind == Kind::Onnx && !cfg!(feature = "onnx") {
            continue;
        }
        let within = if case.kind == Kind::Onnx { 1e-5 } else { 1e-6 };
        let worst = compare(&case, &case.model(folder.path(), name), name);
        println!("{name}: {} rows, {worst:.1e} apart at most", case.rows.len());
        assert!(worst <= within, "{name}: {worst}");
        kinds.push(case.kind);
    }
    let expected = if cfg!(feature = "onnx") { 19 } else { 15 };
    assert_eq!(kinds.len(), expected, "{kinds:?}");
}

/// Not a timed test: the time is only shown. 28x28 pixels, 32 and 32 neurons, 10 classes.
#[test]
#[cfg(feature = "onnx")]
fn a_network_of_pictures_runs() {
    let folder = tempfile::tempdir().unwrap();
    originals(folder.path(), &["pictures"]);
    let case: Case = serde_json::from_slice(&fs::read(folder.path().join("pictures.case.json")).unwrap()).unwrap();
    let model = case.model(folder.path(), "pictures");
    let (rows, mut contributions): (Vec<_>, _) = (case.rows().collect(), Vec::new());
    let start = std::time::Instant::now();
    for (row, expected) in rows.iter().zip(&case.probabilities) {
        assert!((sigmoid(model.explain(row, false, &mut contributions)) - expected).abs() <= 1e-5);
    }
    println!("28x28 -> 10: {:?} a picture, without reasons", start.elapsed() / rows.len() as u32);
    let start = std::time::Instant::now();
    model.explain(&rows[0], true, &mut contributions);
    println!("28x28 -> 10: {:?} with the contributions of 784 features", start.elapsed());
}

/// How far probabilities are apart at most. On the way, the law of reasons.
#[expect(clippy::float_cmp, reason = "sums on a grid are exact")]
fn compare(case: &Case, model: &Model, name: &str) -> f64 {
    let mut contributions = Vec::new();
    let distance = |(row, expected): (Vec<f32>, &f64)| {
        let margin = model.explain(&row, true, &mut contributions);
        let sum: f64 = contributions.iter().map(|units| *units as f64 * model.grid()).sum();
        assert_eq!(margin, model.bias() + sum, "{name}: {row:?}");
        (sigmoid(margin) - expected).abs()
    };
    case.rows().zip(&case.probabilities).map(distance).fold(0.0, f64::max)
}
