//! Python with the stock Confluent client.

use std::path::{Path, PathBuf};

use crate::python::python;

const REQUIREMENTS: &str = include_str!("../python/requirements.txt");

/// A [Python](python) that has Confluent's client.
pub fn confluent_python(folder: impl AsRef<Path>) -> anyhow::Result<PathBuf> {
    python(folder, "confluent", REQUIREMENTS)
}
