//! A stack as others see it: by its folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::folder::Folder;
use crate::ports::{MAX_BASE, Ports};
use crate::{Error, Part, Result, env, guard};

/// A starter that was asked to end may take so long, all services' shutdown budgets included.
const ORDERLY: Duration = Duration::from_secs(75);

/// The guard of a killed starter takes no longer than its own phases.
const GUARD: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(50);

/// What is known of a stack that runs.
#[derive(Clone, Debug)]
pub struct Running {
    /// The stack's folder.
    pub folder: PathBuf,
    /// The starter.
    pub pid: u32,
    /// Its ports.
    pub ports: Ports,
    /// What `.millrace/env` holds; empty until all is ready.
    pub env: Vec<(String, String)>,
}

impl Running {
    /// The pid of a part that runs.
    pub fn pid_of(&self, part: Part) -> Option<u32> {
        let runs = std::fs::read_dir(self.folder.join("run")).ok()?;
        let file = format!("{part}.pid");
        let text = runs.flatten().find_map(|run| std::fs::read_to_string(run.path().join(&file)).ok())?;
        text.split_whitespace().next()?.parse().ok()
    }

    /// The log of a part or a step.
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{name}.log"))
    }
}

/// The stack that runs in this folder.
pub fn find(dir: &Path) -> Result<Running> {
    let absent = || Error::NotRunning(dir.to_owned());
    let folder = Folder::existing(dir).map_err(|_| absent())?;
    let Held::ByOther(Some((pid, ports))) = try_lock(&folder)? else { return Err(absent()) };
    let env = env::read(&folder.env_file()).unwrap_or_default();
    Ok(Running { folder: folder.path().to_owned(), pid, ports, env })
}

/// Ends the stack of this folder, and whatever a crashed one has left. True when there was something to end.
pub async fn down(dir: &Path) -> Result<bool> {
    let Ok(folder) = Folder::existing(dir) else { return Ok(false) };
    let begin = Instant::now();
    let mut asked = false;
    let lock = loop {
        match try_lock(&folder)? {
            Held::ByUs(lock) => break lock,
            Held::ByOther(starter) => {
                let pid = starter.map(|(pid, _)| Pid::from_raw(pid as i32));
                let insists = begin.elapsed() > ORDERLY;
                if let Some(pid) = pid.filter(|_| !asked || insists) {
                    // It may be gone already, and only its guard still at work.
                    let _ = kill(pid, if insists { Signal::SIGKILL } else { Signal::SIGTERM });
                    asked = true;
                }
                tokio::time::sleep(POLL).await;
            }
        }
    };
    let swept = guard::sweep(&folder)?;
    forget(&folder);
    drop(lock);
    Ok(asked || swept)
}

/// The stack's lock: for this process, for as long as it or its guard lives.
///
/// While only the guard of a crashed starter holds it, this waits.
pub(crate) async fn lock(folder: &Folder, ports: Ports) -> Result<File> {
    let begin = Instant::now();
    loop {
        match try_lock(folder)? {
            Held::ByUs(mut lock) => {
                let path = folder.lock_file();
                let write = |lock: &mut File| {
                    lock.set_len(0)?;
                    writeln!(lock, "{} {}", std::process::id(), ports.base())
                };
                write(&mut lock).map_err(Error::io("write", &path))?;
                return Ok(lock);
            }
            Held::ByOther(starter) => {
                let pid = starter.map(|(pid, _)| pid);
                let is_alive = pid.is_none_or(|pid| kill(Pid::from_raw(pid as i32), None).is_ok());
                if is_alive || begin.elapsed() > GUARD {
                    return Err(Error::AlreadyRunning { dir: folder.path().to_owned(), pid });
                }
                tokio::time::sleep(POLL).await;
            }
        }
    }
}

/// An ended stack has no addresses.
pub(crate) fn forget(folder: &Folder) {
    // When it was never written there is nothing to forget.
    let _ = std::fs::remove_file(folder.env_file());
}

enum Held {
    ByUs(File),
    /// By a starter, with its ports, unless it has not written them yet.
    ByOther(Option<(u32, Ports)>),
}

fn try_lock(folder: &Folder) -> Result<Held> {
    let path = folder.lock_file();
    // Appending, so that the file can be shortened and written anew through the one handle.
    let file = OpenOptions::new().create(true).append(true).open(&path).map_err(Error::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(Held::ByUs(file)),
        Err(TryLockError::WouldBlock) => Ok(Held::ByOther(starter(&path))),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", &path)(error)),
    }
}

/// `<pid> <port base>`
fn starter(path: &Path) -> Option<(u32, Ports)> {
    let text = std::fs::read_to_string(path).ok()?;
    let (pid, base) = text.trim().split_once(' ')?;
    let base = base.parse::<u16>().ok().filter(|base| *base <= MAX_BASE)?;
    Some((pid.parse().ok()?, Ports::from_base(base)))
}
