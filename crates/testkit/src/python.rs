//! Python environments of tests. The file stands alone, so that a crate whose tests need nothing else of the kit may
//! take it by its path.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};

/// A Python that has what these requirements say, in an environment of its own below `folder` (a test's
/// `CARGO_TARGET_TMPDIR`), which later runs find again. Blocks while pip fetches it.
pub fn python(folder: impl AsRef<Path>, name: &str, requirements: &str) -> anyhow::Result<PathBuf> {
    let folder = folder.as_ref().join(format!("{name}-python"));
    let python = folder.join("bin/python");
    let done = folder.join("installed");
    if std::fs::read_to_string(&done).is_ok_and(|installed| installed == requirements) {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))
        .context("a Python environment is needed: install python3 and python3-venv")?;
    let wanted = folder.join("requirements.txt");
    std::fs::write(&wanted, requirements)?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    run(Command::new(&python).args(pip).arg(&wanted)).context("PyPI is needed once")?;
    std::fs::write(done, requirements)?;
    Ok(python)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let done = command.stdin(Stdio::null()).output().with_context(|| format!("start {command:?}"))?;
    ensure!(done.status.success(), "{command:?}: {}\n{}", done.status, String::from_utf8_lossy(&done.stderr));
    Ok(())
}
