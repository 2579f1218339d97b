use std::{
    fs, io,
    path::{Component, Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

use tracing::warn;

use super::folder::{Folder, named};

/// Before the name of a folder that is being removed.
const DOOMED: &str = ".removed-";
/// Folders that are listed at a time, and how many hands remove them: a file system takes its time for each, and not less
/// for one after the other.
const BATCH: usize = 1024;
const HANDS: usize = 4;

/// The folder of one attempt, unless the name leads elsewhere.
pub(super) fn one(root: &Path, name: &str) -> Option<PathBuf> {
    let mut parts = Path::new(name).components();
    let one = matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name);
    (one && !name.starts_with('.')).then(|| root.join(name))
}

/// Removes what ended longer ago than `keep`: how many. Ends what a killed shim has left and nobody has asked for within
/// the fence, which is then removed in its turn.
pub(super) fn sweep(root: &Path, keep: Duration, fence: Duration) -> io::Result<usize> {
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0), // nothing was ever run here
        entries => entries.map_err(|error| named(&error, root))?,
    };
    let mut entries = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut removed = 0;
    loop {
        let batch: Vec<PathBuf> = entries.by_ref().take(BATCH).collect::<Result<_, _>>()?;
        if batch.is_empty() {
            return Ok(removed);
        }
        removed += thread::scope(|scope| {
            let parts = batch.chunks(BATCH / HANDS);
            let hands: Vec<_> = parts.map(|part| scope.spawn(move || sweep_all(part, keep, fence))).collect();
            hands.into_iter().map(|hand| hand.join().unwrap_or(0)).sum::<usize>()
        });
    }
}

fn sweep_all(paths: &[PathBuf], keep: Duration, fence: Duration) -> usize {
    let swept = paths.iter().filter(|path| match sweep_one(path, keep, fence) {
        Ok(removed) => removed,
        // Removed since it was listed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => {
            warn!(path = %path.display(), %error, "cannot sweep the folder of an attempt");
            false
        }
    });
    swept.count()
}

fn sweep_one(path: &Path, keep: Duration, fence: Duration) -> io::Result<bool> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Ok(false) };
    if name.starts_with(DOOMED) {
        return fs::remove_dir_all(path).map(|()| true); // the last sweep was cut short
    }
    // The place's own name lies beside the folders.
    if name.starts_with('.') {
        return Ok(false);
    }
    let folder = Folder::new(path.to_owned());
    let Some(ended) = folder.ended_at() else {
        // One that is just being made is young.
        let since = folder.touched_at().map_or_else(|| fs::metadata(path)?.modified(), Ok)?;
        if is_older(since, fence) {
            folder.look()?;
        }
        return Ok(false);
    };
    if !is_older(ended, keep) || folder.lock()?.is_none() {
        return Ok(false);
    }
    // In one step: a folder without its `exit` would be one of an attempt that was interrupted.
    let doomed = path.with_file_name(format!("{DOOMED}{name}"));
    fs::rename(path, &doomed)?;
    fs::remove_dir_all(&doomed)?;
    Ok(true)
}

fn is_older(moment: SystemTime, age: Duration) -> bool {
    moment.elapsed().is_ok_and(|passed| passed >= age)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::process::folder::Exit;

    #[test]
    fn a_name_is_no_path() {
        let root = Path::new("/attempts");
        assert_eq!(one(root, "daily-1-extract-1"), Some(root.join("daily-1-extract-1")));
        for name in ["", ".", "..", "../x", "a/b", "/etc", "a/", ".removed-a"] {
            assert_eq!(one(root, name), None, "{name:?}");
        }
    }

    #[test]
    fn only_what_has_ended_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let attempt = |name: &str| Folder::new(root.path().join(name));
        let (ended, running, held) = (attempt("ended"), attempt("running"), attempt("held"));
        for folder in [&ended, &running, &held] {
            assert!(folder.make().unwrap());
        }
        ended.save_exit(&Exit::Code(0), Duration::ZERO).unwrap();
        held.save_exit(&Exit::Code(0), Duration::ZERO).unwrap();
        fs::create_dir(root.path().join(".removed-before")).unwrap();
        let _locks = [running.lock().unwrap().unwrap(), held.lock().unwrap().unwrap()];

        assert_eq!(sweep(root.path(), Duration::from_mins(1), Duration::ZERO).unwrap(), 1, "what a sweep had left");
        assert_eq!(sweep(root.path(), Duration::ZERO, Duration::ZERO).unwrap(), 1);
        assert!(!ended.path().exists() && held.path().exists() && running.exit().unwrap().is_none());
    }

    #[test]
    fn what_nobody_looks_after_is_ended_and_then_removed() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path().join("lost"));
        folder.make().unwrap();
        assert_eq!(sweep(root.path(), Duration::ZERO, Duration::from_mins(1)).unwrap(), 0);
        assert_eq!(folder.exit().unwrap(), None, "its maker may be at it");
        assert_eq!(sweep(root.path(), Duration::ZERO, Duration::ZERO).unwrap(), 0);
        assert!(matches!(folder.exit().unwrap(), Some(Exit::Interrupted(_))));
        assert_eq!(sweep(root.path(), Duration::ZERO, Duration::ZERO).unwrap(), 1);
        assert_eq!(sweep(&root.path().join("nowhere"), Duration::ZERO, Duration::ZERO).unwrap(), 0);
    }
}
