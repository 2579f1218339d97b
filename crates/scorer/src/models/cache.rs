//! Bundles of the registry on this machine's disk.
//!
//! ```text
//! <dir>/<name>/<version>/           a bundle, whole: written beside and renamed. Its version is the hash of its contents,
//!                                   which are compared whenever it is opened, so that nothing here need be believed
//! <dir>/.pipelines/<pipeline>.json  who was the champion last, and since when a refusal is told
//! ```
//!
//! Processes may share it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use millrace_runtime::ConfigError;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::decide::{Champion, Ref};

/// Versions of a model that are kept: the one in use, and those that a rollback or two wants.
const KEPT: usize = 4;
/// What a process that was killed has left half written is removed after this long.
const ABANDONED: Duration = Duration::from_hours(1);
const PIPELINES: &str = ".pipelines";
const BESIDE: &str = ".pull-";

/// A folder of bundles.
#[derive(Clone, Debug)]
pub(crate) struct Cache(PathBuf);

/// What is known of a pipeline over a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Who was in use.
    pub(crate) champion: Option<Champion>,
    /// A signal tells since then that a champion was refused. Milliseconds since 1970.
    pub(crate) refused_since: Option<i64>,
}

/// A bundle that is being written. Dropped, it is gone.
pub(crate) struct Beside {
    folder: TempDir,
    place: PathBuf,
}

impl Cache {
    /// Makes the folder, where it is not there.
    pub(crate) fn create(dir: &Path) -> Result<Self, ConfigError> {
        let made = fs::create_dir_all(dir.join(PIPELINES));
        made.map_err(|error| ConfigError::new(format!("--model-cache {}: {error}", dir.display())))?;
        Ok(Self(dir.to_owned()))
    }

    /// Where a bundle is, or would be.
    pub(crate) fn place(&self, model: &Ref) -> PathBuf {
        self.0.join(&model.name).join(&model.version)
    }

    /// Begins to write one.
    pub(crate) fn begin(&self, model: &Ref) -> io::Result<Beside> {
        let parent = self.0.join(&model.name);
        fs::create_dir_all(&parent)?;
        let folder = tempfile::Builder::new().prefix(BESIDE).tempdir_in(parent)?;
        Ok(Beside { folder, place: self.place(model) })
    }

    /// Removes one that is not what it should be.
    pub(crate) fn remove(&self, model: &Ref) -> io::Result<()> {
        fs::remove_dir_all(self.place(model))
    }

    /// Notes that a bundle is in use, and removes those that were not for the longest time.
    pub(crate) fn used(&self, model: &Ref) -> io::Result<()> {
        File::open(self.place(model))?.set_modified(SystemTime::now())?;
        let mut versions = Vec::new();
        for entry in fs::read_dir(self.0.join(&model.name))?.flatten() {
            // One that somebody else removes meanwhile.
            let Ok(modified) = entry.metadata().and_then(|metadata| metadata.modified()) else { continue };
            if !entry.file_name().as_encoded_bytes().starts_with(BESIDE.as_bytes()) {
                versions.push((modified, entry.path()));
            } else if modified.elapsed().is_ok_and(|age| age > ABANDONED) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        versions.sort();
        let surplus = versions.len().saturating_sub(KEPT);
        versions[..surplus].iter().try_for_each(|(_, path)| fs::remove_dir_all(path))
    }

    /// What was kept of a pipeline. What cannot be read was never there.
    pub(crate) fn recall(&self, pipeline: &str) -> Memory {
        let text = fs::read(self.memory(pipeline)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Keeps it.
    pub(crate) fn remember(&self, pipeline: &str, memory: &Memory) -> io::Result<()> {
        let beside = tempfile::NamedTempFile::new_in(self.0.join(PIPELINES))?;
        serde_json::to_writer(&beside, memory)?;
        beside.persist(self.memory(pipeline))?;
        Ok(())
    }

    fn memory(&self, pipeline: &str) -> PathBuf {
        self.0.join(PIPELINES).join(format!("{pipeline}.json"))
    }
}

impl Beside {
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// All of it is there.
    pub(crate) fn finish(self) -> io::Result<PathBuf> {
        let Self { folder, place } = self;
        match fs::rename(folder.path(), &place) {
            // Somebody else was faster, with the same contents.
            Err(_) if place.is_dir() => Ok(place),
            renamed => renamed.map(|()| place),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(version: &str) -> Ref {
        Ref { name: "mail".to_owned(), version: version.to_owned() }
    }

    fn put(cache: &Cache, version: &str) -> PathBuf {
        let beside = cache.begin(&model(version)).unwrap();
        fs::write(beside.path().join("manifest.json"), version).unwrap();
        beside.finish().unwrap()
    }

    #[test]
    fn a_bundle_is_there_whole_or_not_and_twice_is_once() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::create(dir.path()).unwrap();
        drop(cache.begin(&model("a")).unwrap());
        assert!(!cache.place(&model("a")).exists());
        assert_eq!(put(&cache, "a"), put(&cache, "a"));
        assert_eq!(fs::read_dir(dir.path().join("mail")).unwrap().count(), 1, "nothing is left beside it");
        cache.remove(&model("a")).unwrap();
        assert!(!cache.place(&model("a")).exists());
    }

    #[test]
    fn those_not_used_for_the_longest_time_go_first() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::create(dir.path()).unwrap();
        let long_ago = SystemTime::now() - Duration::from_hours(9);
        for (age, version) in ["a", "b", "c", "d", "e", "f"].into_iter().enumerate() {
            let place = put(&cache, version);
            let at = long_ago + Duration::from_mins(age as u64);
            File::open(place).unwrap().set_modified(at).unwrap();
        }
        cache.used(&model("b")).unwrap();
        let left = ["a", "b", "c", "d", "e", "f"].map(|version| cache.place(&model(version)).exists());
        assert_eq!(left, [false, true, false, true, true, true]);
    }

    #[test]
    fn what_is_remembered_comes_back_and_rubbish_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::create(dir.path()).unwrap();
        assert_eq!(cache.recall("p"), Memory::default());
        let memory =
            Memory { champion: Some(Champion { model: Some(model("a")), revision: 7 }), refused_since: Some(3) };
        cache.remember("p", &memory).unwrap();
        assert_eq!(cache.recall("p"), memory);
        fs::write(dir.path().join(".pipelines/p.json"), "{").unwrap();
        assert_eq!(cache.recall("p"), Memory::default());
    }
}
