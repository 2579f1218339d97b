//! The Python environment of what stands in for AWS, from PyPI, each file checked by its hash.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::{fnv1a, step_as};
use crate::folder::Folder;
use crate::{Error, Result};

const REQUIREMENTS: &str = include_str!("../../../../deploy/local/requirements.txt");

/// The pinned version for people, a hash of all requirements, and the Python that it is made for: files of one are nothing
/// for another.
pub(super) async fn version() -> Result<String> {
    let tag = Command::new("python3")
        .args(["-c", "import sys; print(sys.implementation.cache_tag)"])
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|_| Error::Missing { what: "Python 3".to_owned(), package: "python3" })?;
    let moto = REQUIREMENTS.lines().find_map(|line| line.strip_prefix("moto==")).unwrap_or_default();
    let moto = moto.split_whitespace().next().unwrap_or_default();
    let hash = fnv1a(REQUIREMENTS.as_bytes());
    Ok(format!("aws-moto-{moto}-{hash:08x}-{}", String::from_utf8_lossy(&tag.stdout).trim()))
}

/// Makes the environment and fills it.
pub(super) async fn fetch(folder: &Folder, run: &Path, filling: &Path) -> Result<()> {
    let home = filling.to_string_lossy();
    step_as(folder, run, "fetch-venv", "python3", &["-m", "venv", &home]).await.map_err(|error| failed(&error))?;
    let requirements = filling.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS).map_err(Error::io("write", &requirements))?;
    let (python, requirements) = (filling.join("bin/python"), requirements.to_string_lossy().into_owned());
    let pip =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", &requirements];
    step_as(folder, run, "fetch-pip", &python.to_string_lossy(), &pip).await.map_err(|error| failed(&error))
}

fn failed(error: &Error) -> Error {
    Error::Fetch { what: "the stand-in for AWS with pip", why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_cache_is_named_by_the_pinned_version_and_every_file_has_a_hash() {
        let version = version().await.unwrap();
        assert!(version.starts_with("aws-moto-5.") && version.contains("-cpython-"), "{version}");
        let mut entries = REQUIREMENTS.split('\n').filter(|line| line.contains("=="));
        assert!(entries.all(|line| line.ends_with('\\')), "followed by its hashes");
    }
}
