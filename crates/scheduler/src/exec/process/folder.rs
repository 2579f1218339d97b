use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

use super::{
    pids::{self, Pids},
    spec::Spec,
};

/// How long a command takes whose end is worth a sync.
const SYNCED: Duration = Duration::from_secs(1);

/// The folder of one attempt: what is known of it on this machine, and by what its scheduler and its shim speak.
///
/// | file | what | written by |
/// |---|---|---|
/// | `lock` | held by the shim; who that and its command are; when last touched, by a scheduler that looks after it | all |
/// | `spec` | what is to be run | its maker |
/// | `cancel` | it is to end | a scheduler |
/// | `log`, `log.1` | what the command has said, newest first | the shim |
/// | `output`, `work` | what the command has made of it, and where it runs | the command |
/// | `exit` | how it ended | who has the lock |
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Exit {
    /// By itself, with a code.
    Code(i32),
    /// By a signal that was not the shim's.
    Signal(String),
    /// It cannot be started at all.
    Unfit(String),
    /// It was not started, or lost, by no fault of its own.
    Interrupted(String),
    /// It was told to end.
    Cancelled,
    /// It was ended because no scheduler looked after it.
    Fenced,
}

/// What a folder says.
#[derive(Debug)]
pub(super) enum Found {
    /// It has ended.
    Ended(Exit),
    /// Somebody has the lock, or what a killed shim has left is being killed.
    Busy,
    /// There is no folder.
    Nowhere,
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Where the command may leave its output.
    pub(super) fn output(&self) -> PathBuf {
        self.0.join("output")
    }

    /// Where the command runs when nobody says where.
    pub(super) fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    /// False when it is there already. True only once, for one of all that ask.
    pub(super) fn make(&self) -> io::Result<bool> {
        let make = || DirBuilder::new().mode(0o700).create(&self.0);
        let made = match make() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let root = self.0.parent().unwrap_or(&self.0);
                DirBuilder::new().mode(0o700).recursive(true).create(root).and_then(|()| make())
            }
            made => made,
        };
        match made {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(named(&error, &self.0)),
        }
    }

    /// The right to decide, unless somebody has it. It is given back when the last copy of the file is closed.
    pub(super) fn lock(&self) -> io::Result<Option<File>> {
        let path = self.lock_path();
        let file = write().read(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|error| named(&error, &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(named(&error, &path)),
        }
    }

    /// Whether this file, however it was come by, is the lock, and held.
    pub(super) fn is_locked_by(&self, file: &File) -> io::Result<bool> {
        let (given, own) = (file.metadata()?, fs::metadata(self.lock_path())?);
        Ok((given.dev(), given.ino()) == (own.dev(), own.ino()) && file.try_lock().is_ok())
    }

    /// Everything that the shim needs beside the lock.
    pub(super) fn prepare(&self, spec: &Spec) -> io::Result<()> {
        let path = self.0.join("spec");
        let written = serde_json::to_vec(spec)
            .map_err(io::Error::from)
            .and_then(|text| write().create_new(true).open(&path)?.write_all(&text));
        written.map_err(|error| named(&error, &path))?;
        let work = self.work();
        if spec.dir == work {
            DirBuilder::new().mode(0o700).create(&work).map_err(|error| named(&error, &work))?;
        }
        Ok(())
    }

    pub(super) fn spec(&self) -> io::Result<Spec> {
        let path = self.0.join("spec");
        let read = fs::read(&path).and_then(|text| Ok(serde_json::from_slice(&text)?));
        read.map_err(|error| named(&error, &path))
    }

    /// How it ended, if it has. What is not readable as such was being written when the machine went down.
    pub(super) fn exit(&self) -> io::Result<Option<Exit>> {
        let path = self.exit_path();
        match fs::read(&path) {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            // Not `None`: what cannot be read just now may well be a success.
            Err(error) => Err(named(&error, &path)),
        }
    }

    /// For who has the lock.
    ///
    /// What took no time is not synced to the disk, which takes longer: it is lost with the machine when that goes down
    /// within the next half minute and no scheduler has read it, and is then an interruption.
    pub(super) fn save_exit(&self, exit: &Exit, took: Duration) -> io::Result<()> {
        let (path, draft) = (self.exit_path(), self.0.join("exit.tmp"));
        let saved = serde_json::to_vec(exit).map_err(io::Error::from).and_then(|text| {
            let mut file = write().create(true).truncate(true).open(&draft)?;
            file.write_all(&text)?;
            if took >= SYNCED {
                file.sync_all()?;
            }
            fs::rename(&draft, &path)
        });
        saved.map_err(|error| named(&error, &path))
    }

    /// When it ended.
    pub(super) fn ended_at(&self) -> Option<SystemTime> {
        fs::metadata(self.exit_path()).and_then(|exit| exit.modified()).ok()
    }

    fn exit_path(&self) -> PathBuf {
        self.0.join("exit")
    }

    fn lock_path(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// Says that a scheduler looks after it. A folder that is not there, or not any more, is not missed here.
    pub(super) fn touch(&self) {
        let lock = File::options().write(true).open(self.lock_path());
        let _ = lock.and_then(|file| file.set_modified(SystemTime::now()));
    }

    /// When a scheduler has last said so.
    pub(super) fn touched_at(&self) -> Option<SystemTime> {
        fs::metadata(self.lock_path()).and_then(|lock| lock.modified()).ok()
    }

    /// Tells the shim to end its command.
    ///
    /// The mark comes before the look at the pids, and the shim writes its pid before it looks for the mark: it is told, or
    /// sees by itself. It also looks at each of its checks, so a signal that cannot be sent is only late.
    pub(super) fn tell(&self) {
        let _ = write().create(true).truncate(true).open(self.0.join("cancel"));
        if let Ok(Some(pids)) = self.pids()
            && pids.is_here()
            && pids::is_marked(pids.shim, &self.name())
        {
            let _ = kill(Pid::from_raw(pids.shim), Signal::SIGTERM);
        }
    }

    /// Whether the shim was told.
    pub(super) fn is_told(&self) -> bool {
        self.0.join("cancel").exists()
    }

    fn pids(&self) -> io::Result<Option<Pids>> {
        let path = self.lock_path();
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.parse().ok()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(named(&error, &path)),
        }
    }

    /// What there is. When there is no shim and it did not say how it ended, this decides that.
    pub(super) fn look(&self) -> io::Result<Found> {
        match self.exit() {
            Ok(Some(exit)) => return Ok(Found::Ended(exit)),
            Ok(None) if !self.0.try_exists()? => return Ok(Found::Nowhere),
            found => found.map(drop)?,
        }
        let Some(_lock) = self.lock()? else { return Ok(Found::Busy) };
        // Who had the lock until now may have written it.
        if let Some(exit) = self.exit()? {
            return Ok(Found::Ended(exit));
        }
        let pids = self.pids()?;
        if pids::kill_left(&self.name(), pids.as_ref())? > 0 {
            return Ok(Found::Busy);
        }
        let exit = match pids {
            _ if self.is_told() => Exit::Cancelled,
            Some(_) => Exit::Interrupted("its shim was killed, or the machine was restarted".to_owned()),
            None => Exit::Interrupted("it was not started: its scheduler ended, or was cut off, before".to_owned()),
        };
        self.save_exit(&exit, Duration::ZERO)?;
        Ok(Found::Ended(exit))
    }

    fn name(&self) -> String {
        self.0.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// For files that are nobody else's business.
fn write() -> OpenOptions {
    let mut options = File::options();
    options.write(true).mode(0o600);
    options
}

/// With the path in it.
pub(super) fn named(error: &io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(root: &tempfile::TempDir) -> Folder {
        Folder::new(root.path().join("attempts").join("folder-test-1"))
    }

    fn exit_of(found: Found) -> Exit {
        match found {
            Found::Ended(exit) => exit,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_folder_is_made_once() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(&root);
        assert!(matches!(folder.look().unwrap(), Found::Nowhere));
        let made: Vec<bool> = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..8).map(|_| scope.spawn(|| folder.make().unwrap())).collect();
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });
        assert_eq!(made.into_iter().filter(|made| *made).count(), 1);
    }

    #[test]
    fn a_maker_that_is_gone_has_started_nothing_and_one_that_wakes_up_sees_that() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(&root);
        folder.make().unwrap();
        let lock = folder.lock().unwrap();
        assert!(lock.is_some() && matches!(folder.look().unwrap(), Found::Busy), "it is at it");
        drop(lock);
        assert!(matches!(exit_of(folder.look().unwrap()), Exit::Interrupted(why) if why.contains("not started")));
        assert!(folder.lock().unwrap().is_some() && folder.exit().unwrap().is_some());
    }

    #[test]
    fn what_was_told_to_end_and_is_gone_was_cancelled() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(&root);
        folder.make().unwrap();
        folder.tell();
        assert_eq!(exit_of(folder.look().unwrap()), Exit::Cancelled);
    }

    #[test]
    fn an_exit_that_was_cut_short_is_none_and_one_that_cannot_be_read_is_not_none() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(&root);
        folder.make().unwrap();
        folder.save_exit(&Exit::Code(12), Duration::MAX).unwrap();
        assert_eq!(folder.exit().unwrap(), Some(Exit::Code(12)));
        let text = fs::read(folder.exit_path()).unwrap();
        for length in 0..text.len() {
            fs::write(folder.exit_path(), &text[..length]).unwrap();
            assert_eq!(folder.exit().unwrap(), None, "{length} bytes");
        }
        fs::remove_file(folder.exit_path()).unwrap();
        fs::create_dir(folder.exit_path()).unwrap();
        assert!(folder.exit().is_err());
    }

    /// The rule of the module, raced: who starts it and who finds it always agree.
    #[test]
    fn what_is_found_to_have_ended_is_not_started_any_more() {
        let mut started = 0;
        for round in 0..200 {
            let root = tempfile::tempdir().unwrap();
            let folder = folder(&root);
            let maker = || {
                folder.make().unwrap();
                let Some(_lock) = folder.lock().unwrap() else { return false };
                if folder.exit().unwrap().is_some() {
                    return false;
                }
                folder.save_exit(&Exit::Code(0), Duration::ZERO).unwrap();
                true
            };
            let finder = || loop {
                if let Found::Ended(exit) = folder.look().unwrap() {
                    return exit;
                }
            };
            let (began, found) = std::thread::scope(|scope| {
                let finders = [scope.spawn(finder), scope.spawn(finder)];
                std::thread::sleep(Duration::from_micros(round % 10));
                let began = scope.spawn(maker).join().unwrap();
                (began, finders.map(|finder| finder.join().unwrap()))
            });
            assert_eq!(found[0], found[1]);
            assert_eq!(found[0] == Exit::Code(0), began, "{found:?}");
            started += usize::from(began);
        }
        assert!(started > 0 && started < 200, "{started} of 200 were started: nothing was raced");
    }
}
