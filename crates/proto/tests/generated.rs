//! The checked-in code is what the proto files generate.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use prost::Message;

fn proto_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(proto_files(&path));
        } else if path.extension().is_some_and(|ext| ext == "proto") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// File name to content, of everything that the proto files generate.
fn generate() -> BTreeMap<String, Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let descriptors = protox::compile(proto_files(&root), [&root]).unwrap();
    let out = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .bytes(".millrace.gateway.v1.Event")
        .out_dir(out.path())
        .compile_fds(descriptors.clone())
        .unwrap();
    let mut files: BTreeMap<String, Vec<u8>> = fs::read_dir(out.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()))
        .filter(|(name, _)| name.starts_with("millrace."))
        .collect();
    files.insert("descriptors.bin".to_owned(), descriptors.encode_to_vec());
    files
}

#[test]
fn the_checked_in_code_is_what_the_proto_files_generate() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gen");
    let files = generate();
    if std::env::var_os("MILLRACE_GENERATE").is_some() {
        for (name, content) in &files {
            fs::write(folder.join(name), content).unwrap();
        }
    }
    for (name, content) in &files {
        let stored = fs::read(folder.join(name)).unwrap_or_default();
        assert!(
            stored == *content,
            "src/gen/{name} is stale: run MILLRACE_GENERATE=1 cargo test --release -p millrace-proto"
        );
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), files.len(), "a file in src/gen that nothing generates");
}
