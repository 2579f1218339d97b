//! Names of objects.

use jiff::Timestamp;
use uuid::Uuid;

/// Digits of an offset in a name, so that names are in the order of offsets.
const DIGITS: usize = 20;

const MANIFEST: &str = ".json";

/// What the end of a name leaves out of an hour's beginning.
const HOUR: &str = ":00:00Z";

/// Where a topic is. One that was made anew under its name has another id, and other offsets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicFolder {
    path: String,
}

impl TopicFolder {
    /// Below that prefix, as the pipeline's document has it.
    pub fn new(prefix: &str, topic: &str, topic_id: Uuid) -> Self {
        let prefix = prefix.trim_matches('/');
        let above = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self { path: format!("{above}{topic}/{topic_id}/") }
    }

    /// Of one of its partitions.
    pub fn partition(&self, partition: i32) -> Folder {
        Folder { path: format!("{}{partition}/", self.path) }
    }

    /// What the markers of complete hours begin with.
    pub fn complete(&self) -> String {
        format!("{}complete/", self.path)
    }

    /// The marker of an hour, named by its beginning: `complete/2026-11-22T05.json`.
    pub fn hour(&self, hour: Timestamp) -> String {
        let hour = hour.to_string();
        format!("{}{}{MANIFEST}", self.complete(), hour.strip_suffix(HOUR).unwrap_or(&hour))
    }

    /// The hour whose marker has that key; none where it is something else.
    pub fn hour_of(&self, key: &str) -> Option<Timestamp> {
        let hour = key.strip_prefix(&self.complete())?.strip_suffix(MANIFEST)?;
        format!("{hour}{HOUR}").parse().or_else(|_| hour.parse()).ok()
    }
}

/// Where a partition of a topic is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Folder {
    path: String,
}

impl Folder {
    /// Below that prefix, as the pipeline's document has it.
    pub fn new(prefix: &str, topic: &str, topic_id: Uuid, partition: i32) -> Self {
        TopicFolder::new(prefix, topic, topic_id).partition(partition)
    }

    /// What all keys in it begin with.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The manifest of the window that begins with that offset.
    pub fn manifest(&self, first: i64) -> String {
        format!("{}{first:0DIGITS$}{MANIFEST}", self.path)
    }

    /// Where it is noted with which offset the first window begins. Written once.
    pub fn origin(&self) -> String {
        format!("{}origin", self.path)
    }

    /// Where the newest manifest's offset is noted, so that it is found without a listing. It may be behind.
    pub fn newest(&self) -> String {
        format!("{}newest", self.path)
    }

    /// A data file of that window, told from the others of this writer by its part. Two writers of one window never have the
    /// same: the files of the one that commits are not written over.
    pub fn data(&self, first: i64, writer: Uuid, part: &str) -> String {
        format!("{}{first:0DIGITS$}-{}-{part}.avro", self.path, writer.simple())
    }

    /// The first offset of the window whose manifest has that key; none where it is something else.
    pub fn first_of(&self, key: &str) -> Option<i64> {
        let first = key.strip_prefix(&self.path)?.strip_suffix(MANIFEST)?;
        if first.len() == DIGITS { first.parse().ok() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_order_of_offsets_and_are_read_again() {
        let folder = Folder::new("/lake/mail/", "mail.events", Uuid::nil(), 3);
        assert_eq!(folder.path(), "lake/mail/mail.events/00000000-0000-0000-0000-000000000000/3/");
        let keys: Vec<String> = [0, 9, 10, 1 << 40, i64::MAX].map(|first| folder.manifest(first)).into();
        assert!(keys.is_sorted());
        assert_eq!(folder.first_of(&keys[3]), Some(1 << 40));
        assert_eq!(folder.first_of(&folder.data(10, Uuid::nil(), "0")), None);
        assert_eq!(folder.first_of("lake/other/00000000000000000010.json"), None);
        assert_eq!(Folder::new("", "t", Uuid::nil(), 0).path(), "t/00000000-0000-0000-0000-000000000000/0/");
    }

    #[test]
    fn an_hour_has_a_marker_of_its_own_and_no_partition_takes_it_for_its_own() {
        let topic = TopicFolder::new("lake", "t", Uuid::nil());
        let hour: Timestamp = "2026-11-22T05:00:00Z".parse().unwrap();
        let key = topic.hour(hour);
        assert_eq!(key, "lake/t/00000000-0000-0000-0000-000000000000/complete/2026-11-22T05.json");
        assert_eq!(topic.hour_of(&key), Some(hour));
        for hour in [Timestamp::MIN, Timestamp::MAX] {
            assert_eq!(topic.hour_of(&topic.hour(hour)), Some(hour));
        }
        assert_eq!(topic.hour_of(&topic.partition(0).manifest(5)), None);
        assert_eq!(topic.partition(0).first_of(&key), None);
        assert!(!key.starts_with(topic.partition(0).path()));
    }
}
