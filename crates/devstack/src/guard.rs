//! The guard: a small shell process that outlives its starter and stops what that one has started.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::folder::Folder;
use crate::{Error, Result};

const SCRIPT: &str = include_str!("guard.sh");

/// Held by the starter. When it is dropped, or the starter dies, the guard begins.
#[derive(Debug)]
pub(crate) struct Guard {
    run: PathBuf,
    child: Child,
    /// `None` once it was let go.
    pipe: Option<ChildStdin>,
}

impl Guard {
    /// Starts a guard for a new run of the stack. It holds the lock as long as it lives.
    pub(crate) fn start(folder: &Folder, lock: &File) -> Result<Self> {
        let run = new_run(folder)?;
        let lock = lock.try_clone().map_err(Error::io("duplicate", &folder.lock_file()))?;
        let mut command = command(&run);
        let mut child =
            command.stdin(Stdio::piped()).stdout(lock).spawn().map_err(Error::io("start guard of", &run))?;
        let pipe = child.stdin.take();
        Ok(Self { run, child, pipe })
    }

    /// The folder where children write down who they are.
    pub(crate) fn run(&self) -> &Path {
        &self.run
    }

    /// Lets the guard stop whatever is left, and waits for it.
    pub(crate) fn finish(&mut self) {
        self.pipe = None;
        // It ends by itself; what it could not do is seen by the next start.
        let _ = self.child.wait();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Stops what starts before this one left behind, when their guards died as well.
///
/// Only for who holds the lock, and before a guard of his own. True when there was anything.
pub(crate) fn sweep(folder: &Folder) -> Result<bool> {
    let Ok(runs) = fs::read_dir(folder.runs()) else { return Ok(false) };
    let mut swept = false;
    for run in runs.flatten() {
        let status = command(&run.path()).stdin(Stdio::null()).stdout(Stdio::null()).status();
        status.map_err(Error::io("sweep", &run.path()))?;
        swept = true;
    }
    Ok(swept)
}

fn command(run: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "guard"]).arg(run).stderr(Stdio::null()).process_group(0);
    command
}

fn new_run(folder: &Folder) -> Result<PathBuf> {
    let nanos = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos());
    let run = folder.runs().join(format!("{nanos}-{}", std::process::id()));
    fs::create_dir_all(&run).map_err(Error::io("create folder", &run))?;
    Ok(run)
}
