//! What the registry reads of a bundle's manifest: its name, its version, and its files. The rest is its maker's.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{Error, Result};

/// The largest manifest.
pub(crate) const MAX: usize = 256 << 10;
/// The most files of a bundle.
const MAX_FILES: usize = 64;
/// The largest bundle.
const MAX_BYTES: u64 = 4 << 30;
/// The longest name of a model.
const MAX_NAME: usize = 100;

/// A manifest that was checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Manifest {
    /// As it came.
    pub(crate) text: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) files: BTreeMap<String, File>,
    /// As JSON, for conditions.
    pub(crate) value: Value,
}

/// One file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct File {
    /// Of its contents, 64 hexadecimal digits.
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
}

#[derive(Deserialize)]
struct Read {
    name: String,
    /// What the model is; gradient-boosted trees where it is not said.
    #[serde(default)]
    kind: Option<String>,
    version: String,
    files: BTreeMap<String, File>,
}

impl Manifest {
    /// Reads one, and checks that its version is that of its files.
    pub(crate) fn parse(text: String) -> Result<Self> {
        let wrong = |problem: String| Error::BadRequest(format!("manifest: {problem}"));
        if text.len() > MAX {
            return Err(wrong(format!("{} bytes are over the limit of {MAX}", text.len())));
        }
        let value: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let Read { name, kind, version, files } =
            serde_json::from_value(value.clone()).map_err(|error| wrong(error.to_string()))?;
        let is_name = |name: &str| {
            let first = name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
            first && name.len() <= MAX_NAME && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        if !is_name(&name) {
            let expected = format!("expected letters, digits, `-`, `_`, `.`, at most {MAX_NAME}");
            return Err(wrong(format!("name {name:?}: {expected}")));
        }
        if files.is_empty() || files.len() > MAX_FILES {
            return Err(wrong(format!("{} files, expected 1 to {MAX_FILES}", files.len())));
        }
        let is_hash =
            |hash: &str| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if let Some((key, file)) = files.iter().find(|(_, file)| !is_hash(&file.sha256)) {
            return Err(wrong(format!("file {key}: sha256 {:?} is none", file.sha256)));
        }
        let bytes: u64 = files.values().map(|file| file.bytes).fold(0, u64::saturating_add);
        if bytes > MAX_BYTES {
            return Err(wrong(format!("files of {bytes} bytes are over the limit of {MAX_BYTES}")));
        }
        let expected = version_of(kind.as_deref(), &files);
        if version != expected {
            return Err(wrong(format!("version {version:?} is not that of its files, {expected}")));
        }
        Ok(Self { text, name, version, files, value })
    }

    /// Of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.bytes).sum()
    }
}

/// The kind of bundles that do not say it.
const USUAL: &str = "gbdt";

/// 16 hexadecimal digits of the SHA-256 over kind (where it is not the usual one), keys and hashes, in the order of the keys: as
/// bundles have it.
fn version_of(kind: Option<&str>, files: &BTreeMap<String, File>) -> String {
    let mut hash = Sha256::new();
    if let Some(kind) = kind.filter(|kind| *kind != USUAL) {
        hash.update(format!("{kind}\n"));
    }
    for (key, file) in files {
        hash.update(format!("{key} {}\n", file.sha256));
    }
    hex(&hash.finalize())[..16].to_owned()
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest(change: impl FnOnce(&mut Value)) -> Result<Manifest> {
        let hash = hex(&Sha256::digest(b"x"));
        let files = BTreeMap::from([("model".to_owned(), File { sha256: hash.clone(), bytes: 1 })]);
        let mut value = json!({"format": 1, "name": "mail-trust", "version": version_of(None, &files),
            "files": {"model": {"file": "model.json", "sha256": hash, "bytes": 1}}, "training": {"metrics": {}}});
        change(&mut value);
        Manifest::parse(value.to_string())
    }

    #[test]
    fn a_version_is_that_of_the_files() {
        assert_eq!(manifest(|_| {}).unwrap().bytes(), 1);
        let logistic = version_of(Some("logistic"), &manifest(|_| {}).unwrap().files);
        let of_kind = |it: &mut Value| (it["kind"], it["version"]) = (json!("logistic"), json!(logistic));
        assert_eq!(manifest(of_kind).unwrap().version, logistic);
        let wrong = |change: fn(&mut Value)| manifest(change).unwrap_err().to_string();
        assert!(wrong(|it| it["version"] = json!("0123456789abcdef")).contains("not that of its files"));
        assert!(wrong(|it| it["files"]["model"]["sha256"] = json!("ab")).contains("sha256"));
        assert!(wrong(|it| it["name"] = json!("../x")).contains("expected letters"));
        assert!(wrong(|it| it["files"] = json!({})).contains("files"));
        assert!(wrong(|it| it["files"]["model"]["bytes"] = json!(1_u64 << 40)).contains("limit"));
        assert!(Manifest::parse("{".to_owned()).unwrap_err().to_string().contains("manifest"));
    }
}
