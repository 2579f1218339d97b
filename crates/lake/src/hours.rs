//! Which hours of a topic are complete: no record of them is expected any more.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Error, Manifest, Result};

/// The form that is written here.
const FORMAT: u32 = 1;
/// Hours without a record are announced as well, but not more of them in a row: a record whose time is of long ago would
/// have every hour since then announced.
const MOST_EMPTY: SignedDuration = SignedDuration::from_hours(31 * 24);
/// Hours that a partition is ahead of what is announced, at most: the records of others count as late.
const MOST_AHEAD: usize = 4_096;
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// The marker of an hour that is complete. Written once, and never again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complete {
    /// The form of the marker; another one cannot be read here.
    pub format: u32,
    /// The topic.
    pub topic: String,
    /// Which topic of that name.
    pub topic_id: Uuid,
    /// When the hour begins.
    pub hour: Timestamp,
    /// The hour that was announced before it; those between them, if there are any, have no records.
    pub previous: Option<Timestamp>,
    /// Up to when all records were there, after what was allowed for late ones.
    pub watermark: Timestamp,
    /// Records of the hour.
    pub rows: u64,
    /// What there was of each partition.
    pub partitions: Vec<Reached>,
}

/// How far a partition was archived when an hour was announced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// The partition.
    pub partition: i32,
    /// The first offset that was not archived; none where there was nothing.
    pub next: Option<i64>,
    /// Records of the hour before that.
    pub rows: u64,
    /// The latest time of a record.
    pub latest: Option<Timestamp>,
    /// Records of later hours, by the hour.
    pub later: BTreeMap<Timestamp, u64>,
}

impl Complete {
    /// As it is written.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_default();
        json.push(b'\n');
        json
    }

    /// Reads the marker of that hour, under that key.
    pub fn read(key: &str, hour: Timestamp, json: &[u8]) -> Result<Self> {
        let marker: Self = serde_json::from_slice(json).map_err(|error| Error::new(key, error.to_string()))?;
        if marker.format != FORMAT {
            return Err(Error::new(key, format!("has the form {}, and {FORMAT} is what is read here", marker.format)));
        }
        if marker.hour != hour {
            return Err(Error::new(key, format!("is of {}, which is not its name", marker.hour)));
        }
        Ok(marker)
    }
}

/// What is known of a topic's hours, from the windows of its chains in their order.
#[derive(Clone, Debug)]
pub struct Hours {
    topic: String,
    topic_id: Uuid,
    announced: Option<Timestamp>,
    partitions: BTreeMap<i32, Progress>,
}

#[derive(Clone, Debug, Default)]
struct Progress {
    next: Option<i64>,
    latest: Option<Timestamp>,
    /// When there was nothing that was not archived.
    all_until: Option<Timestamp>,
    /// Records of hours that are not announced.
    rows: BTreeMap<Timestamp, u64>,
}

impl Hours {
    /// Of a topic of which no hour is announced.
    pub fn new(topic: &str, topic_id: Uuid) -> Self {
        Self { topic: topic.to_owned(), topic_id, announced: None, partitions: BTreeMap::new() }
    }

    /// Where the newest marker has left off, whoever has written it.
    pub fn after(marker: &Complete) -> Self {
        let progress =
            |it: &Reached| Progress { next: it.next, latest: it.latest, all_until: None, rows: it.later.clone() };
        let partitions = marker.partitions.iter().map(|it| (it.partition, progress(it))).collect();
        Self { announced: Some(marker.hour), partitions, ..Self::new(&marker.topic, marker.topic_id) }
    }

    /// The first offset of the window that is to be taken next; none: where the chain begins is not known.
    pub fn next(&self, partition: i32) -> Option<i64> {
        self.partitions.get(&partition)?.next
    }

    /// A partition's chain begins there.
    pub fn begin(&mut self, partition: i32, first: i64) {
        self.partitions.entry(partition).or_default().next.get_or_insert(first);
    }

    /// Takes the next window. Gives how many of its records are late: of hours that are announced.
    pub fn take(&mut self, window: &Manifest) -> u64 {
        let progress = self.partitions.entry(window.partition).or_default();
        progress.next = Some(window.next);
        progress.latest = progress.latest.max(window.times.map(|(_, latest)| latest));
        let mut late = 0;
        for file in &window.files {
            if self.announced.is_some_and(|announced| file.hour <= announced) {
                late += file.rows;
            } else {
                *progress.rows.entry(file.hour).or_default() += file.rows;
            }
        }
        while progress.rows.len() > MOST_AHEAD {
            late += progress.rows.pop_last().map_or(0, |(_, rows)| rows);
        }
        late
    }

    /// At that time the partition had nothing that was not archived.
    pub fn all_there(&mut self, partition: i32, at: Timestamp) {
        let progress = self.partitions.entry(partition).or_default();
        progress.all_until = progress.all_until.max(Some(at));
    }

    /// Up to when all records of these partitions are archived: of each, the time of its latest record, or when there was
    /// nothing more; of all, the earliest of them, less what is allowed for records that are late. None: one of them has not
    /// begun.
    ///
    /// A record's own time counts for no more than `now`: a clock that is ahead completes nothing.
    pub fn watermark(
        &self,
        partitions: impl IntoIterator<Item = i32>,
        now: Timestamp,
        lateness: SignedDuration,
    ) -> Option<Timestamp> {
        let of = |partition| {
            let progress = self.partitions.get(&partition)?;
            progress.all_until.max(progress.latest.map(|latest| latest.min(now)))
        };
        let all: Option<Vec<Timestamp>> = partitions.into_iter().map(of).collect();
        let earliest = all?.into_iter().min()?;
        Some(earliest.checked_sub(lateness).unwrap_or(Timestamp::MIN))
    }

    /// The next hour to announce, if it is complete by that watermark. To be asked again after [`Self::announce`].
    pub fn complete(&self, watermark: Timestamp) -> Option<Complete> {
        let hour = self.next_hour(watermark)?;
        if add(hour, HOUR) > watermark {
            return None;
        }
        let reached = |(partition, progress): (&i32, &Progress)| Reached {
            partition: *partition,
            next: progress.next,
            rows: progress.rows.get(&hour).copied().unwrap_or_default(),
            latest: progress.latest,
            later: progress.rows.iter().filter(|(at, _)| **at > hour).map(|(at, rows)| (*at, *rows)).collect(),
        };
        let partitions: Vec<Reached> = self.partitions.iter().map(reached).collect();
        Some(Complete {
            format: FORMAT,
            topic: self.topic.clone(),
            topic_id: self.topic_id,
            hour,
            previous: self.announced,
            watermark,
            rows: partitions.iter().map(|it| it.rows).sum(),
            partitions,
        })
    }

    /// The hour is announced.
    pub fn announce(&mut self, hour: Timestamp) {
        self.announced = self.announced.max(Some(hour));
        for progress in self.partitions.values_mut() {
            progress.rows.retain(|at, _| *at > hour);
        }
    }

    /// The hour after the one that was announced; without one, the first that has records. Where too many have none, the
    /// next that has, or the last that is over.
    fn next_hour(&self, watermark: Timestamp) -> Option<Timestamp> {
        let first = self.partitions.values().filter_map(|progress| progress.rows.keys().next()).min().copied();
        let Some(announced) = self.announced else { return first };
        let next = add(announced, HOUR);
        let last = add(start_of_hour(watermark), -HOUR);
        let target = first.map_or(last, |first| first.min(last));
        Some(if target.duration_since(next) > MOST_EMPTY { target } else { next })
    }
}

/// Records that came after their hour was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Late {
    /// When the hour begins.
    pub hour: Timestamp,
    /// How many.
    pub rows: u64,
}

/// What came late to a partition, by its windows and the markers of its topic.
pub fn late<'a>(
    partition: i32,
    windows: impl IntoIterator<Item = &'a Manifest>,
    markers: &BTreeMap<Timestamp, Complete>,
) -> Vec<Late> {
    let Some((last, _)) = markers.last_key_value() else { return Vec::new() };
    let mut rows: BTreeMap<Timestamp, u64> = BTreeMap::new();
    for file in windows.into_iter().flat_map(|window| &window.files).filter(|file| file.hour <= *last) {
        *rows.entry(file.hour).or_default() += file.rows;
    }
    let announced = |hour: &Timestamp| {
        let marker = markers.get(hour).map(|marker| marker.partitions.iter());
        marker.and_then(|mut all| all.find(|it| it.partition == partition)).map_or(0, |it| it.rows)
    };
    let late = rows.into_iter().map(|(hour, rows)| Late { hour, rows: rows.saturating_sub(announced(&hour)) });
    late.filter(|late| late.rows > 0).collect()
}

fn add(at: Timestamp, duration: SignedDuration) -> Timestamp {
    let bound = if duration.is_negative() { Timestamp::MIN } else { Timestamp::MAX };
    at.checked_add(duration).unwrap_or(bound)
}

fn start_of_hour(at: Timestamp) -> Timestamp {
    let hour = HOUR.as_secs();
    Timestamp::from_second(at.as_second().div_euclid(hour) * hour).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests;
