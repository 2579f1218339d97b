//! Commands beside the scheduler: each is started once under the name of its attempt, and found again by that name.
//!
//! ```text
//! scheduler --spawns--> shim --spawns--> the command, and whatever that starts
//!     |                  |  holds `lock` for life, keeps `log`, writes `exit` when nothing is left of the command
//!     +-- touches `lock`, writes `cancel`, waits for `lock` to be free, reads `exit`, `output` and `log`
//! ```
//!
//! The shim (`millrace-shim`) has a session of its own: it outlives the scheduler, and the next one adopts it through the
//! attempt's folder. Whatever the command has started has ended before its end is told, also what it put into the
//! background. The folders must be on a local file system.
//!
//! # Why a command is not started twice, and not taken for dead while it runs
//!
//! One process in all makes the folder of an attempt (`mkdir`); only that one may start a shim, and only while it has the
//! lock and sees no `exit`. The lock belongs to the open file, which is the shim's standard input from its first
//! instruction on: from the maker's look at `exit` to the end of the shim the lock is never free. Thus:
//!
//! - `exit` is there: that is how it ended, for ever.
//! - The lock is held: the maker is at it, or the shim lives. Wait.
//! - The lock is to be had and there is no `exit`: there is no shim. Whoever has got it kills what a killed shim may have
//!   left and writes `exit` before letting go, so that a maker that slept through all this finds it and starts nothing.
//!
//! A scheduler that is killed after `mkdir`, after locking or after writing `spec` leaves the third case; one that is
//! killed once the shim was forked leaves the second, even if the shim has not come to its first instruction.
//!
//! Where there is no folder, the attempt may run on another machine, under a scheduler that is cut off. Without one that
//! touches `lock`, a shim ends its command after the fence, and a shim that comes too late does not start it; so after
//! that time the folder can be made, and the attempt is over. This needs a scheduler that has lost its lease to stop
//! looking after its attempts: to drop what [`Processes::run`] returned.

mod folder;
mod log;
mod pids;
mod result;
mod shim;
mod spec;
mod sweep;
mod watch;

pub use shim::shim;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    pin::pin,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use nix::sys::memfd::{MFdFlags, memfd_create};
use tokio::{
    process::{Child, Command},
    time::{Instant, MissedTickBehavior, interval_at, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

use super::{Attempt, Begin, End, Ended, Secrets};
use crate::document;
use folder::{Folder, Found};
use spec::Spec;

/// What a command's environment has of the scheduler's.
const KEPT: [&str; 4] = ["HOME", "LANG", "PATH", "TZ"];
/// How soon an adopted attempt is looked at again, at first and in the end.
const LOOK: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));

/// Runs the commands of `process` tasks.
#[derive(Clone, Debug)]
pub struct Processes {
    root: PathBuf,
    shim: PathBuf,
    secrets: Secrets,
    fence: Duration,
    place: String,
}

/// In the folder of all attempts: what this place is called, whatever machine it is mounted on.
const PLACE: &str = ".place";

impl Processes {
    /// Keeps a folder for each attempt in `folder`, which is of one machine, and is made where it is not there. `shim` is the
    /// program `millrace-shim`. `fence` is how long a command goes on without a scheduler that looks after it: the same on
    /// all machines, and longer than a scheduler takes to start.
    pub fn new(folder: &Path, shim: PathBuf, secrets: Secrets, fence: Duration) -> io::Result<Self> {
        // Commands that run elsewhere are given paths in it.
        let root = std::path::absolute(folder)?;
        std::fs::create_dir_all(&root).map_err(|error| folder::named(&error, &root))?;
        let place = place(&root)?;
        Ok(Self { root, shim, secrets, fence, place })
    }

    /// What the folder of all attempts is called: schedulers of one place find each other's attempts.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Runs the command of an attempt to its end, or adopts it. A new one that was launched longer ago than the fence is
    /// not started but interrupted. Dropping the future lets the command run on.
    pub async fn run(
        &self,
        attempt: &Attempt,
        spec: &document::Process,
        begin: Begin,
        cancel: &CancellationToken,
    ) -> Ended {
        let folder = Folder::new(self.root.join(&attempt.name));
        let shim = match begin {
            Begin::New if cancel.is_cancelled() => return Ended::new(End::Cancelled),
            Begin::New => match self.start(&folder, attempt, spec).await {
                Ok(shim) => shim,
                Err(why) => return Ended::failed(why),
            },
            Begin::Again => None,
        };
        let mut ended = self.follow(&folder, attempt, spec.grace.into(), shim, cancel).await;
        // Whatever has ended it: this is what was wanted.
        if matches!(ended.end, End::Interrupted(_)) && cancel.is_cancelled() {
            ended.end = End::Cancelled;
        }
        ended
    }

    /// The end of the log of an attempt that runs or has ended here, as long as its folder is kept.
    pub async fn tail(&self, name: &str) -> Option<String> {
        let folder = Folder::new(sweep::one(&self.root, name)?);
        blocking(move || log::tail(folder.path()).ok()).await
    }

    /// Removes the folders of attempts that ended longer ago than `keep`, and ends what a killed shim has left that nobody
    /// asks for any more. The number of folders removed.
    ///
    /// What is removed is forgotten: `keep` must be longer than schedulers may all be down.
    pub async fn sweep(&self, keep: Duration) -> io::Result<usize> {
        let (root, fence) = (self.root.clone(), self.fence);
        blocking(move || sweep::sweep(&root, keep, fence)).await
    }

    /// Starts the shim, unless somebody else was to do that. An error is for a person to read, and nothing was started.
    async fn start(
        &self,
        folder: &Folder,
        attempt: &Attempt,
        spec: &document::Process,
    ) -> Result<Option<Child>, String> {
        let mut secrets = BTreeMap::new();
        for (variable, name) in &spec.secrets {
            secrets.insert(variable.clone(), self.secrets.get(name).map_err(|error| error.to_string())?.expose());
        }
        let spec = Spec::new(attempt, spec, folder, self.fence);
        let (folder, shim) = (folder.clone(), self.shim.clone());
        let started = blocking(move || start(&folder, &shim, &spec, &secrets)).await;
        started.map_err(|error| format!("cannot start the command's shim: {error}"))
    }

    /// Waits for the end, keeps the command going until then, and passes on that it is to end.
    async fn follow(
        &self,
        folder: &Folder,
        attempt: &Attempt,
        grace: Duration,
        shim: Option<Child>,
        cancel: &CancellationToken,
    ) -> Ended {
        let period = (self.fence / 4).max(Duration::from_millis(1));
        // Who has just started it has touched it.
        let first = Instant::now() + if shim.is_some() { period } else { Duration::ZERO };
        let mut touches = interval_at(first, period);
        touches.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut end = pin!(self.end(folder, attempt, grace, shim));
        let mut told = false;
        loop {
            tokio::select! {
                ended = &mut end => return ended,
                _ = touches.tick() => {
                    let folder = folder.clone();
                    blocking(move || { folder.touch(); if told { folder.tell(); } }).await;
                }
                () = cancel.cancelled(), if !told => {
                    told = true;
                    let folder = folder.clone();
                    blocking(move || folder.tell()).await;
                }
            }
        }
    }

    /// How the attempt ended, once it has. Nothing that goes wrong here is a reason to say so before.
    async fn end(&self, folder: &Folder, attempt: &Attempt, grace: Duration, shim: Option<Child>) -> Ended {
        if let Some(mut shim) = shim
            && let Err(error) = shim.wait().await
        {
            warn!(attempt = attempt.name, %error, "cannot wait for a shim, looking for its end instead");
        }
        let mut pause = LOOK.0;
        loop {
            let looked = folder.clone();
            match blocking(move || look(&looked)).await {
                Ok(Looked::Ended(ended)) => return ended,
                Ok(Looked::Busy) => {}
                Ok(Looked::Nowhere) => {
                    // Launched here, it would have a folder here: from now on it has, and whoever comes late finds it.
                    if attempt.place != self.place {
                        sleep(self.until_gone(attempt, grace)).await;
                    }
                    let made = folder.clone();
                    if let Err(error) = blocking(move || made.make()).await {
                        warn!(attempt = attempt.name, %error, "cannot make the folder of an attempt");
                    }
                }
                Err(error) => warn!(attempt = attempt.name, %error, "cannot look after an attempt, trying again"),
            }
            sleep(pause).await;
            pause = (pause * 2).min(LOOK.1);
        }
    }

    /// How long until an attempt that may be on another machine is certainly gone: it is started within the fence after
    /// its launch or not at all, and nobody has looked after it since this was asked for. The half is for shims that look
    /// now and then, and for clocks.
    fn until_gone(&self, attempt: &Attempt, grace: Duration) -> Duration {
        let late = spec::begin_before(attempt, self.fence).duration_since(Timestamp::now());
        let late = Duration::try_from(late).unwrap_or_default();
        late.saturating_add(self.fence).saturating_add(grace).saturating_add(self.fence / 2)
    }
}

enum Looked {
    Ended(Ended),
    Busy,
    Nowhere,
}

fn look(folder: &Folder) -> io::Result<Looked> {
    Ok(match folder.look()? {
        Found::Ended(exit) => Looked::Ended(result::ended(folder, exit)),
        Found::Busy => Looked::Busy,
        Found::Nowhere => Looked::Nowhere,
    })
}

/// Reads what a place is called, or gives it a name: of several who do, one is first.
fn place(root: &Path) -> io::Result<String> {
    let path = root.join(PLACE);
    let named = |error: io::Error| folder::named(&error, &path);
    if !path.exists() {
        let name = Uuid::new_v4().simple().to_string();
        let mine = root.join(format!("{PLACE}-{name}"));
        std::fs::write(&mine, &name).map_err(named)?;
        match std::fs::hard_link(&mine, &path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(named(error)),
            _ => std::fs::remove_file(&mine).map_err(named)?,
        }
    }
    std::fs::read_to_string(&path).map_err(named)
}

/// Makes the folder and starts the shim in it; nothing where somebody has been there before.
fn start(folder: &Folder, shim: &Path, spec: &Spec, secrets: &BTreeMap<String, Arc<str>>) -> io::Result<Option<Child>> {
    if !folder.make()? {
        return Ok(None);
    }
    // Somebody may have found the folder before it was locked. Then there is, or will be, an `exit`.
    let Some(lock) = folder.lock()? else { return Ok(None) };
    if folder.exit()?.is_some() {
        return Ok(None);
    }
    folder.prepare(spec)?;
    let kept = KEPT.iter().filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)));
    Command::new(shim)
        .arg(folder.path())
        // Not the scheduler's environment: a command can read that of its parent.
        .env_clear()
        .envs(kept)
        .env(pids::MARK, &spec.name)
        .stdin(Stdio::from(lock))
        .stdout(if secrets.is_empty() { Stdio::null() } else { hand_over(secrets)? })
        .stderr(Stdio::from(log::open(folder.path())?))
        .spawn()
        .map(Some)
        .map_err(|error| folder::named(&error, shim))
}

/// Secrets, for the shim to read from its standard output. Unlike a pipe, a file in memory holds them all at once, and they
/// are there whole or not at all; unlike the environment, it is gone when the shim has closed it, and a variable that is
/// meant for the command (`LD_LIBRARY_PATH`) does not reach the shim.
fn hand_over(secrets: &BTreeMap<String, Arc<str>>) -> io::Result<Stdio> {
    let mut memory = std::fs::File::from(memfd_create("secrets", MFdFlags::MFD_CLOEXEC)?);
    serde_json::to_writer(&mut memory, secrets)?;
    io::Seek::rewind(&mut memory)?;
    Ok(Stdio::from(memory))
}

/// Work on files, off the runtime's threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going down, and with it whoever waits.
            Err(_) => std::future::pending().await,
        },
    }
}
