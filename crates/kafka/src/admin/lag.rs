//! How far behind a group is. What is not known is unknown, and never 0.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};

use super::{
    TIMEOUT, Topic,
    tails::{self, Tail, Tails},
};
use crate::{
    client::Client,
    error::{Error, Result},
    reader::ToolContext,
};

/// The lag of a group, by partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lag(pub Vec<PartitionLag>);

/// The lag of a group in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionLag {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset that the group has committed; none when it has not committed yet, or when that is not known.
    pub committed: Option<i64>,
    /// The last stable offset; none when it is not known.
    pub end: Option<i64>,
    /// How much is to be read; none when it is not known.
    pub lag: Option<u64>,
}

impl Lag {
    /// The sum; none as soon as one partition is not known.
    pub fn total(&self) -> Option<u64> {
        self.0.iter().map(|partition| partition.lag).sum()
    }

    /// The sum of what is known, and whether that is all.
    pub fn known(&self) -> (u64, bool) {
        (self.0.iter().filter_map(|partition| partition.lag).sum(), self.0.iter().all(|p| p.lag.is_some()))
    }
}

/// Offsets by (topic, partition); what failed is missing.
pub(super) type Offsets<T> = HashMap<(String, i32), T>;

/// What a group has committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Committed {
    /// Nothing yet.
    Never,
    /// This is read next.
    Next(i64),
}

/// Measures lags. Keeps one consumer for offsets of partitions and one per group that was asked for; none of them
/// joins its group.
pub(super) struct Meter {
    client: Client,
    pub(super) ends: BaseConsumer<ToolContext>,
    tails: Tails,
    groups: Mutex<HashMap<String, Arc<BaseConsumer<ToolContext>>>>,
}

impl Meter {
    pub(super) fn new(client: &Client) -> Result<Self> {
        let config = client.consumer("lag", "millrace-lag");
        let ends = config.create_with_context(ToolContext::new(client, "lag")).map_err(Error::Create)?;
        Ok(Self { client: client.clone(), ends, tails: Tails::new(client)?, groups: Mutex::default() })
    }

    pub(super) fn measure(&self, group: &str, topics: &[Topic]) -> Result<Lag> {
        let committed = self.committed(group, topics)?;
        let ends = self.offsets(topics, Offset::End)?;
        let begins = self.offsets(topics, Offset::Beginning)?;
        let mut all = Vec::new();
        for topic in topics {
            let mut partitions: Vec<PartitionLag> = topic
                .partitions
                .iter()
                .map(|partition| {
                    let key = (topic.name.clone(), partition.id);
                    let committed = committed.get(&key).copied();
                    let (begin, end) = (begins.get(&key).copied(), ends.get(&key).copied());
                    PartitionLag {
                        topic: topic.name.clone(),
                        partition: partition.id,
                        committed: committed.and_then(Committed::next),
                        end,
                        lag: lag(committed, begin, end),
                    }
                })
                .collect();
            self.leave_markers_out(&topic.name, &mut partitions);
            all.append(&mut partitions);
        }
        Ok(Lag(all))
    }

    /// Reads the short tails, in which a marker makes the difference between idle and behind.
    fn leave_markers_out(&self, topic: &str, partitions: &mut [PartitionLag]) {
        let tail = |partition: &PartitionLag| {
            let short = partition.lag.is_some_and(|lag| (1..=tails::LONGEST).contains(&lag));
            let (from, end) = (partition.committed?, partition.end?);
            short.then_some(Tail { partition: partition.partition, from, end })
        };
        let short: Vec<Tail> = partitions.iter().filter_map(tail).collect();
        if short.is_empty() {
            return;
        }
        let counts = self.tails.count(topic, &short);
        for partition in partitions {
            if let Some(count) = tail(partition).and_then(|tail| counts.get(&tail)) {
                partition.lag = Some(*count);
            }
        }
    }

    fn committed(&self, group: &str, topics: &[Topic]) -> Result<Offsets<Committed>> {
        let consumer = self.group(group)?;
        let answer = consumer
            .committed_offsets(list(topics, Offset::Invalid)?, TIMEOUT)
            .map_err(|error| Error::from_kafka("read committed offsets", error))?;
        Ok(collect(&answer, |offset| match offset {
            Offset::Offset(offset) => Some(Committed::Next(offset)),
            _ => Some(Committed::Never),
        }))
    }

    /// The first or, among committed records, the last offsets, with one request per broker.
    pub(super) fn offsets(&self, topics: &[Topic], which: Offset) -> Result<Offsets<i64>> {
        // librdkafka takes the special offsets as the special timestamps of the protocol, which are the same numbers.
        let answer = self
            .ends
            .offsets_for_times(list(topics, which)?, TIMEOUT)
            .map_err(|error| Error::from_kafka("read offsets", error))?;
        Ok(collect(&answer, |offset| match offset {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }))
    }

    fn group(&self, group: &str) -> Result<Arc<BaseConsumer<ToolContext>>> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(consumer) = groups.get(group) {
            return Ok(Arc::clone(consumer));
        }
        let mut config = self.client.consumer("lag", group);
        // An offset that waits for its transaction is not committed yet; a consumer of committed records would ask
        // until it is.
        config.set("isolation.level", "read_uncommitted");
        let consumer = config.create_with_context(ToolContext::new(&self.client, "lag")).map_err(Error::Create)?;
        let consumer = Arc::new(consumer);
        groups.insert(group.to_owned(), Arc::clone(&consumer));
        Ok(consumer)
    }
}

impl Committed {
    fn next(self) -> Option<i64> {
        match self {
            Self::Never => None,
            Self::Next(offset) => Some(offset),
        }
    }
}

pub(super) fn list(topics: &[Topic], offset: Offset) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for topic in topics {
        for partition in &topic.partitions {
            list.add_partition_offset(&topic.name, partition.id, offset)
                .map_err(|error| Error::from_kafka("list partitions", error))?;
        }
    }
    Ok(list)
}

/// The answers that came, by partition.
pub(super) fn collect<T>(answer: &TopicPartitionList, read: impl Fn(Offset) -> Option<T>) -> Offsets<T> {
    let elements = answer.elements();
    let good = elements.iter().filter(|element| element.error().is_ok());
    good.filter_map(|element| Some(((element.topic().to_owned(), element.partition()), read(element.offset())?)))
        .collect()
}

/// How much is to be read. Nothing committed yet: all there is. Committed past the end: the topic was made anew, and
/// the consumer will begin again.
fn lag(committed: Option<Committed>, begin: Option<i64>, end: Option<i64>) -> Option<u64> {
    let (committed, begin, end) = (committed?, begin?, end?);
    let from = committed.next().filter(|offset| (begin..=end).contains(offset)).unwrap_or(begin);
    u64::try_from(end - from).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_is_never_zero() {
        assert_eq!(lag(None, Some(0), Some(5)), None);
        assert_eq!(lag(Some(Committed::Next(1)), Some(0), None), None);
        assert_eq!(lag(Some(Committed::Never), None, Some(5)), None);
    }

    #[test]
    fn what_is_to_be_read_counts_from_where_the_group_will_begin() {
        assert_eq!(lag(Some(Committed::Next(3)), Some(0), Some(5)), Some(2));
        assert_eq!(lag(Some(Committed::Never), Some(2), Some(5)), Some(3), "never committed");
        assert_eq!(lag(Some(Committed::Next(1)), Some(2), Some(5)), Some(3), "committed before the retention's edge");
        assert_eq!(lag(Some(Committed::Next(90)), Some(0), Some(5)), Some(5), "the topic was made anew");
    }

    #[test]
    fn a_sum_with_an_unknown_part_is_unknown() {
        let partition = |lag| PartitionLag { topic: "t".into(), partition: 0, committed: Some(0), end: Some(0), lag };
        let all = Lag(vec![partition(Some(1)), partition(Some(2))]);
        let some = Lag(vec![partition(Some(1)), partition(None)]);
        assert_eq!((all.total(), all.known()), (Some(3), (3, true)));
        assert_eq!((some.total(), some.known()), (None, (1, false)));
    }
}
