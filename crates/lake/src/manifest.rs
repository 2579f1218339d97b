//! What is committed of a window.

use jiff::Timestamp;
use millrace_schema::Guid;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Error, Folder, Result};

/// The form that is written here.
const FORMAT: u32 = 1;

/// One window of a partition: all that the topic has from `first` on and before `next`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The form of the manifest; another one cannot be read here.
    pub format: u32,
    /// The topic.
    pub topic: String,
    /// Which topic of that name.
    pub topic_id: Uuid,
    /// The partition.
    pub partition: i32,
    /// The first offset that is accounted for.
    pub first: i64,
    /// The first that is not: where the next window begins. Offsets between them that no file has were never records:
    /// transactions' markers, records of aborted ones, what was compacted.
    pub next: i64,
    /// Offsets that had left the topic before they were archived, as far as they are known: they are nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Stretch>,
    /// Records in all files.
    pub records: u64,
    /// Of the earliest and the latest record; none where there are none.
    pub times: Option<(Timestamp, Timestamp)>,
    /// The files: one for each hour and each schema that its records were written with.
    pub files: Vec<DataFile>,
}

/// A file of a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// Its key.
    pub key: String,
    /// The schema that its events were written with; none: what they were written with is not known, and they are there as
    /// bytes.
    pub schema: Option<Guid>,
    /// The hour of its records, by their times.
    pub hour: Timestamp,
    /// Records.
    pub rows: u64,
    /// Bytes of the object.
    pub bytes: u64,
    /// Of the object, in hexadecimal digits.
    pub sha256: String,
    /// Offsets of its records, in order.
    pub offsets: Vec<Stretch>,
}

/// Offsets from `first` to `last`, both of them in it, without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    /// The first.
    pub first: i64,
    /// The last.
    pub last: i64,
}

impl DataFile {
    /// Adds a record's offset, which is after all that are there.
    pub fn add(offsets: &mut Vec<Stretch>, offset: i64) {
        match offsets.last_mut() {
            Some(last) if last.last + 1 == offset => last.last = offset,
            _ => offsets.push(Stretch { first: offset, last: offset }),
        }
    }
}

impl Stretch {
    /// How many they are.
    pub fn count(self) -> u64 {
        u64::try_from(self.last.saturating_sub(self.first).saturating_add(1)).unwrap_or_default()
    }
}

impl Manifest {
    /// Of a window, with its files.
    pub fn new(
        (topic, topic_id, partition): (&str, Uuid, i32),
        (first, next): (i64, i64),
        times: Option<(Timestamp, Timestamp)>,
        files: Vec<DataFile>,
    ) -> Self {
        let records = files.iter().map(|file| file.rows).sum();
        let topic = topic.to_owned();
        Self { format: FORMAT, topic, topic_id, partition, first, next, lost: None, records, times, files }
    }

    /// As it is written.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_default();
        json.push(b'\n');
        json
    }

    /// Reads the manifest of that folder under that key, and checks that it can be so.
    pub fn read(folder: &Folder, key: &str, json: &[u8]) -> Result<Self> {
        let manifest: Self = serde_json::from_slice(json).map_err(|error| Error::new(key, error.to_string()))?;
        match manifest.problem(folder, key) {
            Some(problem) => Err(Error::new(key, problem)),
            None => Ok(manifest),
        }
    }

    /// What cannot be.
    fn problem(&self, folder: &Folder, key: &str) -> Option<String> {
        if self.format != FORMAT {
            return Some(format!("has the form {}, and {FORMAT} is what can be read here", self.format));
        }
        if folder.first_of(key) != Some(self.first) {
            return Some(format!("begins with offset {}, which is not its name", self.first));
        }
        if self.first < 0 || self.next <= self.first {
            return Some(format!("goes from offset {} to {}", self.first, self.next));
        }
        let rows: u64 = self.files.iter().fold(0, |rows, file| rows.saturating_add(file.rows));
        if rows != self.records {
            return Some(format!("has {} records, and its files have {rows}", self.records));
        }
        self.files.iter().find_map(|file| self.problem_of(file))
    }

    fn problem_of(&self, file: &DataFile) -> Option<String> {
        let count = file.offsets.iter().fold(0_u64, |count, stretch| count.saturating_add(stretch.count()));
        if count != file.rows {
            return Some(format!("file {}: {} rows of {count} offsets", file.key, file.rows));
        }
        let mut from = self.first;
        for stretch in &file.offsets {
            if stretch.first < from || stretch.last < stretch.first || stretch.last >= self.next {
                return Some(format!(
                    "file {}: offsets {} to {} are not its own",
                    file.key, stretch.first, stretch.last
                ));
            }
            from = stretch.last.saturating_add(1);
        }
        None
    }
}

/// Bytes in hexadecimal digits, as [`DataFile::sha256`] has them.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        use std::fmt::Write as _;
        let _ = write!(text, "{byte:02x}"); // a string takes everything
        text
    })
}
