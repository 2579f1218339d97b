//! From what was asked for to what there is to do.

use std::{
    borrow::Cow,
    path::Path,
    sync::{Arc, Mutex},
};

use anyhow::Context as _;
use jiff::Timestamp;
use millrace_aws::{Object as Listed, Objects};
use rustc_hash::FxHashSet;
use tokio::time::sleep;

use super::{
    error::Error,
    item::{Item, Object, Part, Place, Shard},
    job::Failure,
    location::{Location, is_prefix},
    retry,
};

/// Which of the objects that there are become work.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    /// Written from here on.
    pub(super) since: Option<Timestamp>,
    /// Written before.
    pub(super) before: Option<Timestamp>,
    pub(super) shard: Shard,
    pub(super) part_size: u64,
    /// The document's prefix of inputs: names begin behind it, however an object was found.
    pub(super) inbox: Option<String>,
}

/// What there is to do, in the order of the inputs and of their keys.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) items: Vec<Item>,
    /// What was asked for by its name and is not there.
    pub(super) failures: Vec<Failure>,
    seen: FxHashSet<String>,
}

impl Choice {
    /// Lists all inputs. An object that two of them have is there once.
    pub(super) async fn find(&self, objects: &Objects, inputs: &[Location]) -> anyhow::Result<Found> {
        let mut found = Found::default();
        for input in inputs {
            match input {
                Location::S3 { bucket, key } if is_prefix(key) => {
                    self.walk(objects, bucket, key, &mut found).await.context("list the inputs")?;
                }
                Location::S3 { bucket, key } => {
                    match retry::again(|| objects.head(bucket, key)).await.context("look at an input")? {
                        Some(listed) => self.take(bucket, folder(key), listed, &mut found),
                        None => self.missing(format!("s3://{bucket}/{key}"), &mut found),
                    }
                }
                Location::Local(path) if path.is_dir() => {
                    self.folder(path, &mut found).with_context(|| format!("list {}", path.display()))?;
                }
                Location::Local(path) => self.file(path, &mut found),
            }
        }
        Ok(found)
    }

    async fn walk(
        &self,
        objects: &Objects,
        bucket: &str,
        prefix: &str,
        found: &mut Found,
    ) -> Result<(), millrace_aws::Error> {
        let mut pauses = retry::pauses();
        let mut last: Option<String> = None;
        loop {
            let after = last.clone();
            let walked = objects.walk(bucket, prefix, after.as_deref(), |listed| {
                last = Some(listed.key.clone());
                if !is_marker(&listed.key) {
                    self.take(bucket, prefix, listed, found);
                }
            });
            match walked.await {
                Err(error)
                    if error.is_retriable()
                        && let Some(pause) = pauses.next() =>
                {
                    tracing::warn!(%error, "inputs are being listed, going on");
                    sleep(pause).await;
                }
                done => return done,
            }
        }
    }

    /// Every `*.avro` of a folder, and nothing of the folders in it.
    fn folder(&self, folder: &Path, found: &mut Found) -> std::io::Result<()> {
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let name = entry_name(&path);
            if name.ends_with(".avro") && !is_marker(&name) && path.is_file() {
                paths.push(path);
            }
        }
        paths.sort();
        for path in &paths {
            self.file(path, found);
        }
        Ok(())
    }

    fn file(&self, path: &Path, found: &mut Found) {
        let Ok(metadata) = path.metadata() else { return self.missing(path.display().to_string(), found) };
        let modified = metadata.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
        let object = Object {
            place: Place::File(path.to_owned()),
            name: entry_name(path).into_owned(),
            size: metadata.len(),
            modified: modified.unwrap_or(Timestamp::UNIX_EPOCH),
            version: Mutex::default(),
        };
        self.add(object, found);
    }

    fn take(&self, bucket: &str, prefix: &str, listed: Listed, found: &mut Found) {
        let Listed { key, etag, version, size, modified } = listed;
        let inbox = self.inbox.as_deref().and_then(|inbox| key.strip_prefix(inbox));
        let name = inbox.or_else(|| key.strip_prefix(prefix)).unwrap_or(&key).to_owned();
        let object = Object {
            name,
            size,
            modified: modified.unwrap_or(Timestamp::UNIX_EPOCH),
            version: Mutex::default(),
            // A listing has no versions, so that they would name an object otherwise than a look at it alone.
            place: Place::S3 { bucket: bucket.to_owned(), key, etag: etag.or(version).unwrap_or_default() },
        };
        self.add(object, found);
    }

    fn add(&self, object: Object, found: &mut Found) {
        let wanted = self.since.is_none_or(|since| object.modified >= since)
            && self.before.is_none_or(|before| object.modified < before);
        if !wanted || !found.seen.insert(object.to_string()) {
            return;
        }
        let object = Arc::new(object);
        let items = Part::all(object.size, self.part_size).map(|part| Item { object: Arc::clone(&object), part });
        found.items.extend(items.filter(|item| item.is_of(self.shard)));
    }

    /// Every shard would miss it: the first one says so.
    fn missing(&self, input: String, found: &mut Found) {
        if self.shard.index == 0 {
            let failure = Failure { input, code: Error::Missing.code().as_str(), reason: Error::Missing.to_string() };
            found.failures.push(failure);
        }
    }
}

fn entry_name(path: &Path) -> Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

/// What lies among files of events and is none, as every reader of folders has it: `_SUCCESS` and the like, names that begin
/// with a dot, and what consoles make to show a folder. By its own address it is an input like any other.
fn is_marker(key: &str) -> bool {
    let name = key.rsplit_once('/').map_or(key, |(_, name)| name);
    name.is_empty() || name.starts_with(['_', '.'])
}

/// The prefix in which an object lies.
fn folder(key: &str) -> &str {
    key.rfind('/').map_or("", |slash| &key[..=slash])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice() -> Choice {
        let shard = Shard { index: 0, of: 1 };
        Choice { since: None, before: None, shard, part_size: 4, inbox: Some("in/".to_owned()) }
    }

    fn listed(key: &str, size: u64, modified: i64) -> Listed {
        let modified = Timestamp::from_second(modified).ok();
        Listed { key: key.into(), etag: Some("e".into()), version: None, size, modified }
    }

    fn names(found: &Found) -> Vec<(&str, u64)> {
        found.items.iter().map(|item| (&*item.object.name, item.part.index)).collect()
    }

    #[test]
    fn an_object_of_the_inbox_has_one_name_and_is_there_once() {
        let mut found = Found::default();
        choice().take("b", "in/", listed("in/2026/x.avro", 9, 0), &mut found);
        choice().take("b", "in/2026/", listed("in/2026/x.avro", 9, 0), &mut found);
        choice().take("b", folder("old/y.avro"), listed("old/y.avro", 0, 0), &mut found);
        assert_eq!(names(&found), [("2026/x.avro", 0), ("2026/x.avro", 1), ("2026/x.avro", 2), ("y.avro", 0)]);
    }

    #[test]
    fn markers_are_no_files_of_events() {
        assert!(["in/_SUCCESS", "in/folder/", "in/.x.avro", "_SUCCESS"].into_iter().all(is_marker));
        assert!(!["in/x.avro", "_temporary/x", "x"].into_iter().any(is_marker));
    }

    #[test]
    fn an_interval_has_its_beginning_and_not_its_end() {
        let (since, before) = (Timestamp::from_second(10).ok(), Timestamp::from_second(20).ok());
        let choice = Choice { since, before, ..choice() };
        let mut found = Found::default();
        for time in [9, 10, 19, 20] {
            choice.take("b", "", listed(&time.to_string(), 1, time), &mut found);
        }
        assert_eq!(names(&found), [("10", 0), ("19", 0)]);
    }

    #[test]
    fn shards_have_each_item_once_and_what_is_missing_is_said_once() {
        let mut all = Vec::new();
        let mut missing = 0;
        for index in 0..3 {
            let choice = Choice { shard: Shard { index, of: 3 }, ..choice() };
            let mut found = Found::default();
            for key in 0..100 {
                choice.take("b", "", listed(&key.to_string(), 6, 0), &mut found);
            }
            choice.file(Path::new("/no/such.avro"), &mut found);
            assert!(found.items.len() > 30, "{}", found.items.len());
            missing += found.failures.len();
            all.extend(found.items.iter().map(ToString::to_string));
        }
        all.sort();
        all.dedup();
        assert_eq!((all.len(), missing), (200, 1));
    }
}
