//! A program that runs with the stack's addresses and ends with the stack.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Command;

use super::parts::Parts;
use crate::leash::{self, Leash};
use crate::process::Process;
use crate::{Error, Result};

/// A guest of the stack: in its own process group, stopped with all that it has started itself.
#[derive(Debug)]
pub struct Child(Process);

impl Child {
    pub(super) fn spawn(
        parts: &Parts,
        name: &str,
        command: &[OsString],
        prepare: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        let empty = || Error::io("start", Path::new(name))(std::io::ErrorKind::InvalidInput.into());
        let (program, args) = command.split_first().ok_or_else(empty)?;
        let mut command = leash::command(&parts.run, name, Leash::FIRST, program, args);
        command.envs(parts.env(|env| env.to_vec()));
        prepare(&mut command);
        Process::spawn(command, &parts.run, name).map(Self)
    }

    /// Its pid, which is also its process group.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Waits for its end, then ends what it has left in its group.
    pub async fn wait(&self) -> ExitStatus {
        let status = self.0.ended().await;
        self.end_group();
        status
    }

    /// SIGTERM to the group, and SIGKILL when that is not enough.
    pub async fn stop(&self, grace: Duration) -> ExitStatus {
        let status = self.0.stop(Signal::SIGTERM, grace).await;
        self.end_group();
        status
    }

    fn end_group(&self) {
        // Mostly nobody is left in it.
        let _ = killpg(Pid::from_raw(self.0.pid() as i32), Signal::SIGKILL);
    }
}
