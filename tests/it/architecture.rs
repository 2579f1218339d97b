//! The rules of `docs/architecture.md` about who may use what, over `cargo metadata`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use serde_json::Value;

/// What each crate of ours may use of ours, in code that ships. Services are not in anybody's list.
const ALLOWED: [(&str, &[&str]); 23] = [
    ("core", &[]),
    ("proto", &["core"]),
    ("schema", &["core", "proto"]),
    ("scoring", &["core", "schema"]),
    ("policy", &["core", "schema"]),
    ("runtime", &["core"]),
    ("lake", &["core", "schema"]),
    ("kafka", &["core", "runtime"]),
    ("aws", &["core", "runtime"]),
    ("postgres", &["core", "runtime"]),
    ("kubernetes", &["core", "runtime"]),
    ("gateway", LIBRARIES),
    ("registry", LIBRARIES),
    ("scorer", LIBRARIES),
    ("importer", LIBRARIES),
    ("archiver", LIBRARIES),
    ("alerter", LIBRARIES),
    ("scheduler", LIBRARIES),
    ("demo", &["core", "schema"]),
    ("devstack", &["core", "runtime"]),
    (
        "cli",
        &[
            "core", "proto", "schema", "scoring", "policy", "lake", "runtime", "kafka", "aws", "postgres", "demo",
            "devstack",
        ],
    ),
    ("testkit", &["aws", "core", "demo", "devstack", "postgres", "proto", "schema"]),
    ("tests", &[]),
];

/// What a service may use.
const LIBRARIES: &[&str] =
    &["core", "proto", "schema", "scoring", "policy", "lake", "runtime", "kafka", "aws", "postgres", "kubernetes"];

/// Crates of others that only one crate of ours may touch, so that it can be replaced in one place.
const WRAPPED: [(&str, &str); 12] = [
    ("aws-config", "aws"),
    ("aws-sdk-s3", "aws"),
    ("aws-sdk-sns", "aws"),
    ("aws-sdk-sqs", "aws"),
    ("rdkafka", "kafka"),
    ("tokio-postgres", "postgres"),
    ("deadpool-postgres", "postgres"),
    ("refinery", "postgres"),
    ("cel", "policy"),
    ("tract-onnx", "scoring"),
    ("kube", "kubernetes"),
    ("k8s-openapi", "kubernetes"),
];

/// Crate of ours (without prefix) to its direct dependencies that ship.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let package = |package: &Value| {
        let ships = package["dependencies"].as_array().unwrap().iter().filter(|dependency| dependency["kind"] != "dev");
        let names = ships.map(|dependency| dependency["name"].as_str().unwrap().to_owned()).collect();
        (package["name"].as_str().unwrap().strip_prefix("millrace-").unwrap().to_owned(), names)
    };
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}

#[test]
fn no_crate_uses_what_it_may_not() {
    let crates = dependencies();
    for (name, dependencies) in &crates {
        let (_, allowed) = ALLOWED
            .iter()
            .find(|(known, _)| known == name)
            .unwrap_or_else(|| panic!("crate {name} is new: give it a line in ALLOWED"));
        for ours in dependencies.iter().filter_map(|dependency| dependency.strip_prefix("millrace-")) {
            assert!(allowed.contains(&ours), "{name} may not use {ours}");
        }
    }
    assert_eq!(crates.len(), ALLOWED.len(), "ALLOWED has a crate that is gone");
}

#[test]
fn wrapped_crates_have_one_user() {
    for (name, dependencies) in dependencies() {
        for (wrapped, owner) in WRAPPED {
            assert!(!dependencies.contains(wrapped) || name == owner, "only {owner} may use {wrapped}, not {name}");
        }
    }
}
