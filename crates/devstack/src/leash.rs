//! How every child is started: through a shell line that writes down its pid before it becomes the program.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::Signal;
use tokio::process::Command;

const SCRIPT: &str = include_str!("leash.sh");

/// When the guard stops a child, and by what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leash {
    /// 1: services and tools; 2: what those stand on.
    pub(crate) phase: u8,
    pub(crate) signal: Signal,
}

impl Leash {
    /// For tools and services.
    pub(crate) const FIRST: Self = Self { phase: 1, signal: Signal::SIGTERM };
}

/// A command that runs `program` in its own process group, known to the guard of `run` under `name`.
pub(crate) fn command(run: &Path, name: &str, leash: Leash, program: &OsStr, args: &[impl AsRef<OsStr>]) -> Command {
    let signal = leash.signal.as_str().trim_start_matches("SIG");
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "leash"]).arg(run).args([name, &leash.phase.to_string(), signal]);
    command.arg(program).args(args);
    // Not in the terminal's group: Ctrl-C is for the starter, which then stops all in order.
    command.process_group(0);
    command.stdin(Stdio::null());
    command
}

/// Sends both outputs to a log.
pub(crate) fn log_to(command: &mut Command, log: &File) -> std::io::Result<()> {
    command.stdout(log.try_clone()?).stderr(log.try_clone()?);
    Ok(())
}
