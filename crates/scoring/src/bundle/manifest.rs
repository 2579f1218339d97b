use std::collections::BTreeMap;

use millrace_schema::Guid;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::files::Part;
use crate::{metrics::Metrics, model::Kind};

/// The form of manifests that this build writes and reads.
pub(super) const FORMAT: u32 = 1;

/// What is known about a bundle: `manifest.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The form of this file and of those that it lists.
    pub format: u32,
    /// The model's name, as pipelines have it.
    pub name: String,
    /// What the model is. Not written where it is `gbdt`, as in bundles from before there were others.
    #[serde(default, skip_serializing_if = "is_default")]
    pub kind: Kind,
    /// 16 hexadecimal digits of the SHA-256 over the files' hashes in the order of their keys.
    pub version: String,
    /// The GUID of the events' schema at the time of training.
    pub schema: String,
    /// The SHA-256 of the document of features.
    pub features: String,
    /// How it was trained.
    pub training: Training,
    /// The files: `model`, `features`, `schema`, `calibration`, `baselines`, `reference`; where there
    /// are such, `rows`, `thresholds` and `onnx`.
    pub files: BTreeMap<String, FileEntry>,
}

/// One file of a bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name in the folder; it changes with the contents.
    pub file: String,
    /// Of its contents, in hexadecimal digits.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
}

/// How a bundle was trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// The time of the first record, RFC 3339.
    pub from: String,
    /// The time of the last record.
    pub to: String,
    /// Labelled records from here on were not learned from when `metrics` were measured.
    pub split: String,
    /// Records that were read, labelled or not: all of them are in the baselines.
    pub records: usize,
    /// Those with a label.
    pub labelled: usize,
    /// Those with the positive one.
    pub positives: usize,
    /// Trees of the model.
    pub trees: usize,
    /// Keys in the baselines.
    pub baseline_keys: usize,
    /// On the labelled records behind the split. They also ended the training and set the calibration, so a later part
    /// of the stream will show a little less.
    pub metrics: Metrics,
    /// All settings, so that the training can be repeated.
    pub settings: serde_json::Value,
}

impl Manifest {
    /// Of these contents.
    pub(super) fn of(name: String, kind: Kind, contents: &[(Part, Vec<u8>)], schema: Guid, training: Training) -> Self {
        let files: BTreeMap<String, FileEntry> = contents
            .iter()
            .map(|(part, bytes)| {
                let sha256 = hex(&Sha256::digest(bytes));
                let file = format!("{}.{}.{}", part.key(), &sha256[..8], part.extension(kind));
                (part.key().to_owned(), FileEntry { file, sha256, bytes: bytes.len() as u64 })
            })
            .collect();
        let features = files.get(Part::Features.key()).map(|entry| entry.sha256.clone()).unwrap_or_default();
        let (version, schema) = (version(kind, &files), schema.to_string());
        Self { format: FORMAT, name, kind, version, schema, features, training, files }
    }
}

/// The version of a bundle of these files.
pub(super) fn version(kind: Kind, files: &BTreeMap<String, FileEntry>) -> String {
    let mut hash = Sha256::new();
    if !is_default(&kind) {
        hash.update(format!("{}\n", kind.as_str()));
    }
    for (key, entry) in files {
        hash.update(format!("{key} {}\n", entry.sha256));
    }
    hex(&hash.finalize())[..16].to_owned()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives it so")]
fn is_default(kind: &Kind) -> bool {
    *kind == Kind::default()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The bytes that such digits stand for.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
    let pair = |pair: &[u8]| Some(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?);
    text.as_bytes().chunks(2).map(pair).collect()
}
