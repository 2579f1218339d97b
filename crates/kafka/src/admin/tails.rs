//! What the last few offsets before a partition's end are: records that are to be read, or markers of transactions.
//!
//! Each transaction leaves a marker, so an idle partition would seem to lag by one for ever. Offsets do not say what
//! they are; the only way to know is to read them.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
};

use crate::{
    client::Client,
    error::{Error, Result},
    reader::ToolContext,
};

/// A longer tail is not read: among so many offsets a marker makes no difference.
pub(super) const LONGEST: u64 = 8;
const PATIENCE: Duration = Duration::from_secs(1);
/// Tails that are remembered.
const MOST: usize = 10_000;

/// The offsets of one partition from where a group is to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tail {
    pub(super) partition: i32,
    pub(super) from: i64,
    pub(super) end: i64,
}

/// Reads tails, each once.
pub(super) struct Tails {
    consumer: BaseConsumer<ToolContext>,
    known: Mutex<HashMap<(String, Tail), u64>>,
}

impl Tails {
    pub(super) fn new(client: &Client) -> Result<Self> {
        let mut config = client.consumer("lag", "millrace-lag");
        config.set("enable.partition.eof", "true").set("fetch.wait.max.ms", "10");
        let consumer = config.create_with_context(ToolContext::new(client, "lag")).map_err(Error::Create)?;
        Ok(Self { consumer, known: Mutex::default() })
    }

    /// How many records are in each tail; one that cannot be read in time is missing.
    pub(super) fn count(&self, topic: &str, tails: &[Tail]) -> HashMap<Tail, u64> {
        // Held all the time: there is one consumer.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = |tail: &Tail| (topic.to_owned(), *tail);
        let unread: Vec<Tail> = tails.iter().copied().filter(|tail| !known.contains_key(&key(tail))).collect();
        if !unread.is_empty() {
            if known.len() + unread.len() > MOST {
                known.clear();
            }
            match self.read(topic, &unread) {
                Ok(counts) => known.extend(counts.into_iter().map(|(tail, count)| (key(&tail), count))),
                Err(error) => tracing::debug!(topic, %error, "ends of partitions not read"),
            }
            // Nothing is read any more; what fails here fails again, and is seen, at the next assignment.
            self.consumer.unassign().ok();
        }
        tails.iter().filter_map(|tail| known.get(&key(tail)).map(|count| (*tail, *count))).collect()
    }

    fn read(&self, topic: &str, tails: &[Tail]) -> KafkaResult<HashMap<Tail, u64>> {
        let mut list = TopicPartitionList::new();
        for tail in tails {
            list.add_partition_offset(topic, tail.partition, Offset::Offset(tail.from))?;
        }
        self.consumer.assign(&list)?;
        let mut counts: HashMap<i32, u64> = HashMap::new();
        let mut ended = HashSet::new();
        let deadline = Instant::now() + PATIENCE;
        while ended.len() < tails.len() && Instant::now() < deadline {
            match self.consumer.poll(Duration::from_millis(20)) {
                Some(Ok(message)) => {
                    let tail = tails.iter().find(|tail| tail.partition == message.partition());
                    match tail {
                        Some(tail) if message.offset() < tail.end => *counts.entry(tail.partition).or_default() += 1,
                        // More has come since: what was asked for is read.
                        _ => _ = ended.insert(message.partition()),
                    }
                }
                // One topic at a time: the number of the partition is enough.
                Some(Err(KafkaError::PartitionEOF(partition))) => _ = ended.insert(partition),
                Some(Err(_)) | None => {}
            }
        }
        let read = tails.iter().filter(|tail| ended.contains(&tail.partition));
        Ok(read.map(|tail| (*tail, counts.get(&tail.partition).copied().unwrap_or(0))).collect())
    }
}
