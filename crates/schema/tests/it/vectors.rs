//! The published vectors, run wherever their folder is found beside the repository. One of each kind stands in the unit
//! tests, so that nothing depends on that folder alone.

use std::{fs, path::Path};

use millrace_schema::{Schema, compatibility};
use serde_json::Value;

/// A file of the folder, or nothing and a sentence that says so.
fn list(name: &str) -> Option<Vec<Value>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/registry").join(name);
    let Ok(text) = fs::read_to_string(&path) else {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

#[test]
fn schemas_have_their_canonical_form_and_fingerprint() {
    let Some(vectors) = list("avro-schema-vectors.json") else { return };
    let mut fingerprints = 0;
    for vector in &vectors {
        let text = |key: &str| vector.get(key).and_then(Value::as_str);
        let schema = Schema::parse(text("INPUT").unwrap()).unwrap();
        let name = text("name").unwrap();
        assert_eq!(schema.canonical(), text("canonical").unwrap(), "{name}");
        if let Some(fingerprint) = text("fingerprint") {
            assert_eq!(schema.rabin() as i64, fingerprint.parse::<i64>().unwrap(), "{name}");
            fingerprints += 1;
        }
        assert_eq!(Schema::parse(&schema.canonical()).unwrap().canonical(), schema.canonical(), "{name}");
        assert_eq!(Schema::parse(&schema.java_string()).unwrap().java_string(), schema.java_string(), "{name}");
    }
    assert_eq!((vectors.len(), fingerprints), (34, 26));
}

#[test]
fn pairs_of_reader_and_writer_have_javas_verdict() {
    let Some(pairs) = list("avro-compatibility-pairs.json") else { return };
    assert!(!pairs.is_empty());
    for pair in &pairs {
        let schema = |key: &str| Schema::parse(&pair[key].to_string()).unwrap();
        let found = compatibility::can_read(&schema("reader"), &schema("writer"));
        assert_eq!(found.is_empty(), pair["compatible"].as_bool().unwrap(), "{}: {found:?}", pair["name"]);
    }
}
