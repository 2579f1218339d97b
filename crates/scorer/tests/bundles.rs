//! Bundles of all makes, by the commands that make them and the one that scores with them.

#![expect(clippy::unwrap_used, reason = "a test stops where something is wrong")]

use std::{fs, path::Path, process::Output};

use files::{Desk, avro, mail};
use millrace_schema::container::Codec;
use millrace_scoring::{Bundle, model::Kind};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

mod files;

/// Runs `train` or `wrap` on the desk's labelled mail.
fn make(desk: &Desk, command: &str, out: &str, more: &[&str]) -> Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_millrace-scorer"))
        .args([command, "--positive", "spam,phish", "--negative", "ham"])
        .args(["--pipeline", &desk.text("mail-trust.yaml"), "--features", &desk.text("features.yaml")])
        .args(["--out", &desk.text(out)])
        .args(more)
        .arg(desk.path("labelled.avro"))
        .output()
        .unwrap()
}

fn good(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// One tree of XGBoost's that asks the second feature.
fn stump(features: usize) -> Value {
    json!({"learner": {
        "feature_names": [],
        "gradient_booster": {"name": "gbtree", "model": {"trees": [{
            "left_children": [1, -1, -1], "right_children": [2, -1, -1], "split_indices": [1, 0, 0],
            "split_conditions": [0.5, -1.0, 1.0], "default_left": [0, 0, 0], "sum_hessian": [4.0, 3.0, 1.0],
        }]}},
        "learner_model_param": {"base_score": "5E-1", "num_class": "0", "num_feature": features.to_string()},
        "objective": {"name": "binary:logistic"},
    }})
}

#[test]
fn weights_and_thresholds_by_train_score_files() {
    let desk = Desk::new();
    let more = ["--kind", "logistic", "--calibration", "isotonic", "--tenant", "org", "--flag-rates", "0.05,0.2"];
    good(&make(&desk, "train", "models/mail-trust", &[&more[..], &["--tenant-events", "20"]].concat()));
    let bundle = Bundle::load(&desk.path("models/mail-trust")).unwrap();
    assert_eq!((bundle.model().kind(), bundle.warm_up().unwrap()), (Kind::Logistic, 64));
    assert!(bundle.threshold("unheard of", 0.05) >= bundle.threshold("unheard of", 0.2));
    desk.write("a.avro", &avro(&mail(5, 50), 10, Codec::Null));
    let ran = desk.in_to_out(&[]);
    assert_eq!((ran.code, ran.number("records")), (Some(0), 50), "{}", ran.said);
}

#[test]
fn a_model_from_elsewhere_scores_files_and_one_that_does_not_fit_is_no_bundle() {
    let desk = Desk::new();
    let features = Bundle::load(&desk.path("models/mail-trust")).unwrap().program().features();
    let wrap = |features| {
        fs::write(desk.path("model.json"), stump(features).to_string()).unwrap();
        make(&desk, "wrap", "models/mail-trust", &["--kind", "xgboost", "--model", &desk.text("model.json")])
    };
    let refused = wrap(features + 1);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains(&format!("made for {} features", features + 1)), "{said}");
    good(&wrap(features));
    assert_eq!(Bundle::load(&desk.path("models/mail-trust")).unwrap().model().kind(), Kind::Xgboost);
    desk.write("a.avro", &avro(&mail(5, 50), 10, Codec::Null));
    let ran = desk.in_to_out(&[]);
    assert_eq!((ran.code, ran.number("records")), (Some(0), 50), "{}", ran.said);
}

#[test]
fn a_bundle_that_fails_its_own_rows_scores_nothing() {
    let desk = Desk::new();
    falsify(&desk.path("models/mail-trust"));
    desk.write("a.avro", &avro(&mail(5, 50), 10, Codec::Null));
    let ran = desk.in_to_out(&[]);
    assert_eq!(ran.code, Some(64), "{}", ran.said);
    assert!(ran.said.contains("fails its own reference rows") && ran.said.contains("rows[0]"), "{}", ran.said);
}

/// Changes what the first event must score, and all hashes with it.
fn falsify(dir: &Path) {
    let mut manifest: Value = serde_json::from_slice(&fs::read(dir.join("manifest.json")).unwrap()).unwrap();
    let path = dir.join(manifest["files"]["rows"]["file"].as_str().unwrap());
    let mut rows: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    rows["rows"][0]["margin"] = json!(31.5);
    let rows = rows.to_string();
    fs::write(path, &rows).unwrap();
    manifest["files"]["rows"]["bytes"] = json!(rows.len());
    manifest["files"]["rows"]["sha256"] = json!(hex(rows.as_bytes()));
    let files = manifest["files"].as_object().unwrap();
    let mut lines: Vec<String> =
        files.iter().map(|(key, file)| format!("{key} {}\n", file["sha256"].as_str().unwrap())).collect();
    lines.sort();
    manifest["version"] = json!(hex(lines.concat().as_bytes())[..16]);
    fs::write(dir.join("manifest.json"), manifest.to_string()).unwrap();
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap();
    Sha256::digest(bytes).iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
