//! One child, from its spawn to its end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::sync::watch;

use crate::{Error, Result};

/// A child that somebody waits for: the task that was spawned with it. Its end is seen by all holders of this.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pid: u32,
    ended: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    /// Spawns a command made by [`leash::command`](crate::leash::command); `run` and `name` are those of the leash.
    pub(crate) fn spawn(mut command: Command, run: &Path, name: &str) -> Result<Self> {
        let file = pid_file(run, name);
        let what = || Error::io("start", Path::new(name));
        let mut child = command.spawn().map_err(what())?;
        let pid = child.id().ok_or_else(|| what()(std::io::ErrorKind::NotFound.into()))?;
        let (tell, ended) = watch::channel(None);
        tokio::spawn(async move {
            if let Ok(status) = child.wait().await {
                // Reaped: the pid may be somebody else's from now on, so nobody may read it here.
                let _ = fs::remove_file(file);
                tell.send_replace(Some(status));
            }
        });
        Ok(Self { pid, ended })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn is_running(&self) -> bool {
        self.ended.borrow().is_none()
    }

    pub(crate) async fn ended(&self) -> ExitStatus {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(status) => status.unwrap_or_default(),
            // The runtime goes down with the waiting task, and with it whoever asks.
            Err(_) => ExitStatus::default(),
        }
    }

    /// To the whole group of the child; nothing when it has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.is_running() {
            // It may have ended in between: then there is nobody to tell.
            let _ = killpg(Pid::from_raw(self.pid as i32), signal);
        }
    }

    /// Asks, waits, insists.
    pub(crate) async fn stop(&self, signal: Signal, grace: Duration) -> ExitStatus {
        self.signal(signal);
        match tokio::time::timeout(grace, self.ended()).await {
            Ok(status) => status,
            Err(_) => self.kill().await,
        }
    }

    /// SIGKILL, and the end is awaited.
    pub(crate) async fn kill(&self) -> ExitStatus {
        self.signal(Signal::SIGKILL);
        self.ended().await
    }
}

fn pid_file(run: &Path, name: &str) -> PathBuf {
    run.join(format!("{name}.pid"))
}
