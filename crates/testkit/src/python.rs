//! Python with the stock Confluent client.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};

const REQUIREMENTS: &str = include_str!("../python/requirements.txt");

/// A Python that has Confluent's client, in an environment of its own below `folder` (a test's `CARGO_TARGET_TMPDIR`),
/// which later runs find again. Blocks while pip fetches it.
pub fn confluent_python(folder: impl AsRef<Path>) -> anyhow::Result<PathBuf> {
    let folder = folder.as_ref().join("confluent-python");
    let python = folder.join("bin/python");
    let done = folder.join("installed");
    if std::fs::read_to_string(&done).is_ok_and(|installed| installed == REQUIREMENTS) {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))
        .context("a Python environment is needed: install python3 and python3-venv")?;
    let requirements = folder.join("requirements.txt");
    std::fs::write(&requirements, REQUIREMENTS)?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    run(Command::new(&python).args(pip).arg(&requirements)).context("PyPI is needed once")?;
    std::fs::write(done, REQUIREMENTS)?;
    Ok(python)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let done = command.stdin(Stdio::null()).output().with_context(|| format!("start {command:?}"))?;
    ensure!(done.status.success(), "{command:?}: {}\n{}", done.status, String::from_utf8_lossy(&done.stderr));
    Ok(())
}
