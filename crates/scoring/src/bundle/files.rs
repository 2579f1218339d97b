//! The folder of a bundle.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use sha2::{Digest, Sha256};

use super::{
    Manifest,
    manifest::{FORMAT, hex, version},
};
use crate::{Error, Result, model::Kind};

const MANIFEST: &str = "manifest.json";

/// A bundle's files, the manifest apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Model,
    /// What the file of a network does not say. Only bundles of networks have it.
    Onnx,
    Features,
    Schema,
    Calibration,
    Baselines,
    Reference,
    /// Events with their scores. Bundles of before have none.
    Rows,
    Thresholds,
}

const PARTS: [(Part, &str, &[&str]); 9] = [
    (Part::Model, "model", &["json", "txt", "onnx"]),
    (Part::Onnx, "onnx", &["json"]),
    (Part::Features, "features", &["json"]),
    (Part::Schema, "schema", &["avsc"]),
    (Part::Calibration, "calibration", &["json"]),
    (Part::Baselines, "baselines", &["bin"]),
    (Part::Reference, "reference", &["json"]),
    (Part::Rows, "rows", &["json"]),
    (Part::Thresholds, "thresholds", &["json"]),
];

impl Part {
    /// The name in the manifest.
    pub(super) fn key(self) -> &'static str {
        PARTS[self as usize].1
    }

    /// How its file is called at its end, in a bundle of a model of this kind.
    pub(super) fn extension(self, kind: Kind) -> &'static str {
        if self == Self::Model { kind.extension() } else { PARTS[self as usize].2[0] }
    }

    fn is_optional(self) -> bool {
        matches!(self, Self::Onnx | Self::Rows | Self::Thresholds)
    }
}

/// Reads the manifest.
pub(super) fn manifest(dir: &Path) -> Result<Manifest> {
    let path = dir.join(MANIFEST);
    let text = fs::read(&path).map_err(io_error("read", &path))?;
    let wrong = |problem: String| Error::Bundle { path: path.clone(), problem };
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    if manifest.format != FORMAT {
        return Err(wrong(format!("format {} is not one that this build reads ({FORMAT})", manifest.format)));
    }
    let expected = version(manifest.kind, &manifest.files);
    if manifest.version != expected {
        return Err(wrong(format!("version {} is not that of the files listed, {expected}", manifest.version)));
    }
    Ok(manifest)
}

/// Reads the files that the manifest lists, and compares their hashes.
pub(super) fn read(dir: &Path, manifest: &Manifest) -> Result<Vec<(Part, Vec<u8>)>> {
    let mut contents = Vec::new();
    for (part, key, _) in PARTS {
        let wrong = |path: &Path, problem: String| Error::Bundle { path: path.to_owned(), problem };
        let Some(entry) = manifest.files.get(key) else {
            if part.is_optional() {
                continue;
            }
            return Err(wrong(&dir.join(MANIFEST), format!("lists no file for `{key}`")));
        };
        if entry.file.contains(['/', '\\']) || entry.file.starts_with('.') {
            return Err(wrong(&dir.join(MANIFEST), format!("{:?} is not a file of this folder", entry.file)));
        }
        let path = dir.join(&entry.file);
        let bytes = fs::read(&path).map_err(io_error("read", &path))?;
        if bytes.len() as u64 != entry.bytes {
            let problem = format!("{} bytes, and the manifest says {}", bytes.len(), entry.bytes);
            return Err(wrong(&path, problem));
        }
        let sha256 = hex(&Sha256::digest(&bytes));
        if sha256 != entry.sha256 {
            return Err(wrong(&path, format!("SHA-256 {sha256}, and the manifest says {}", entry.sha256)));
        }
        contents.push((part, bytes));
    }
    Ok(contents)
}

/// Writes all files, then the manifest, then takes away what no manifest lists any more.
pub(super) fn write(dir: &Path, manifest: &Manifest, contents: &[(Part, Vec<u8>)]) -> Result<()> {
    fs::create_dir_all(dir).map_err(io_error("create", dir))?;
    for (part, bytes) in contents {
        place(dir, &manifest.files[part.key()].file, bytes)?;
    }
    let text = serde_json::to_vec_pretty(manifest).expect("plain structs with string keys are JSON");
    place(dir, MANIFEST, &text)?;
    for entry in fs::read_dir(dir).map_err(io_error("list", dir))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let ours = PARTS
            .iter()
            .any(|(_, key, extensions)| extensions.iter().any(|extension| is_version_of(&name, key, extension)));
        if ours && manifest.files.values().all(|file| file.file != name) {
            fs::remove_file(entry.path()).map_err(io_error("remove", &entry.path()))?;
        }
    }
    Ok(())
}

/// Whether a file is named as [`Manifest::of`] names them: nothing else in the folder is touched.
fn is_version_of(name: &str, key: &str, extension: &str) -> bool {
    let inner = name.strip_prefix(key).and_then(|rest| rest.strip_suffix(extension));
    let hash = inner.and_then(|rest| rest.strip_prefix('.')).and_then(|rest| rest.strip_suffix('.'));
    hash.is_some_and(|hash| hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Writes beside, makes it durable, renames.
fn place(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let beside = dir.join(format!(".{name}.{}", std::process::id()));
    let write = || -> io::Result<()> {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(io_error("write", &beside))?;
    let path = dir.join(name);
    fs::rename(&beside, &path).map_err(io_error("write", &path))
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}
