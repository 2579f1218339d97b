//! Where partitions are: ends that are no records, and offsets that the brokers do not have, because retention was faster or a
//! log was cut short.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use rdkafka::{Offset, TopicPartitionList, consumer::Consumer};

use super::{
    Event,
    worker::{Key, LOOK_UP, RETRY, Worker, add},
};
use crate::error::{Error, Result};

const WHAT: &str = "begin partitions anew";

/// Partitions that are to be begun anew. The error of librdkafka does not say which one it is about: all that there are.
pub(super) struct Reset {
    keys: HashSet<Key>,
    at: Instant,
}

/// Where a partition goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Where it is: it was not this one, or the offset is there by now.
    Here(i64),
    /// What is before has left the topic.
    Overtaken(i64),
    /// The topic has lost its end; what comes from there on has offsets that were read before.
    Beyond(i64),
}

impl Reset {
    pub(super) fn of<'a>(keys: impl Iterator<Item = &'a Key>) -> Self {
        Self { keys: keys.cloned().collect(), at: Instant::now() }
    }
}

impl Worker {
    /// At the ends of partitions: markers of transactions are no records, and are passed as if they were.
    ///
    /// A partition that came a moment ago may still have the position of when it was given up, which would skip records.
    /// Positions move only when the consumer is polled: one that is none before that, and after the partition came, will be
    /// of now. One that is never seen to be none is not believed before a record has come.
    pub(super) fn pass(&mut self, now: Instant) {
        let positions = match self.consumer.position() {
            Ok(positions) => positions,
            // Only the next record tells then.
            Err(error) => return tracing::debug!(source = self.config.name, %error, "positions are not known"),
        };
        for element in positions.elements() {
            let key = (Arc::from(element.topic()), element.partition());
            match (self.buffers.get_mut(&key), element.offset()) {
                (Some(buffer), Offset::Offset(next)) => buffer.pass(next, now),
                (Some(buffer), _) => buffer.begin(),
                (None, _) => {}
            }
        }
    }

    /// Begins partitions anew, where there are such and the group waits for nothing: what is done to partitions then would
    /// be taken for the answer.
    pub(super) fn begin_anew(&mut self) -> Result<()> {
        let is_settled = self.step.is_none() && self.consumer.context().is_settled();
        let due = self.reset.take_if(|reset| is_settled && reset.at <= Instant::now());
        let Some(Reset { mut keys, .. }) = due else { return Ok(()) };
        // What was given up meanwhile is not ours.
        keys.retain(|key| self.buffers.contains_key(key));
        let (firsts, ends) = match self.bounds_of(&keys) {
            Ok(bounds) => bounds,
            Err(error) if error.is_retriable() => {
                tracing::warn!(source = self.config.name, %error, "cannot look up where partitions begin, trying again");
                Default::default()
            }
            Err(error) => return Err(error),
        };
        let mut list = TopicPartitionList::new();
        for key in &keys {
            if let (Some(first), Some(end)) = (firsts.get(key), ends.get(key)) {
                let Some(at) = self.go_on_at(key, *first, *end) else { continue };
                add(&mut list, key, at)?;
            }
        }
        if list.count() > 0 {
            // A partition that stands cannot be told to seek.
            self.consumer.incremental_unassign(&list).map_err(|error| Error::from_kafka(WHAT, error))?;
            self.consumer.incremental_assign(&list).map_err(|error| Error::from_kafka(WHAT, error))?;
        }
        keys.retain(|key| !(firsts.contains_key(key) && ends.contains_key(key)));
        if !keys.is_empty() {
            self.reset = Some(Reset { keys, at: Instant::now() + RETRY });
        }
        Ok(())
    }

    /// Where a partition is read from here on. What is lost is told.
    fn go_on_at(&mut self, key: &Key, first: i64, end: i64) -> Option<i64> {
        let buffer = self.buffers.get_mut(key)?;
        let (next, source) = (buffer.next(), &self.config.name);
        let (topic, partition) = (&*buffer.partition().topic, buffer.partition().partition);
        Some(match place(next, first, end) {
            Place::Here(at) => at,
            Place::Overtaken(first) => {
                let last = first - 1;
                // Who begins with a topic that is older than its ledger begins with 0.
                if next == 0 {
                    tracing::warn!(
                        source,
                        topic,
                        partition,
                        last,
                        "records had left the topic before the first was read"
                    );
                } else {
                    tracing::error!(
                        source,
                        topic,
                        partition,
                        next,
                        last,
                        "records have left the topic before they were read"
                    );
                }
                if let Some(metrics) = &self.metrics {
                    metrics.lost(topic, u64::try_from(first - next).unwrap_or_default());
                }
                self.outbox.extend(buffer.lose(first).map(Event::Batch));
                first
            }
            Place::Beyond(end) => {
                tracing::error!(
                    source,
                    topic,
                    partition,
                    next,
                    end,
                    "the topic ends before what was read: its end is gone"
                );
                if let Some(metrics) = &self.metrics {
                    metrics.beyond(topic);
                }
                end
            }
        })
    }

    /// The first and the last offsets of partitions; what is not known, because their leaders are away, is missing.
    fn bounds_of(&self, keys: &HashSet<Key>) -> Result<(HashMap<Key, i64>, HashMap<Key, i64>)> {
        let ask = |which: Offset| {
            let mut list = TopicPartitionList::new();
            for (topic, partition) in keys {
                list.add_partition_offset(topic, *partition, which).map_err(|error| Error::from_kafka(WHAT, error))?;
            }
            let answer = self.consumer.offsets_for_times(list, LOOK_UP);
            let answer = answer.map_err(|error| Error::from_kafka(WHAT, error))?;
            let known = answer.elements().into_iter().filter(|element| element.error().is_ok());
            let known = known.filter_map(|element| match element.offset() {
                Offset::Offset(offset) => Some(((Arc::from(element.topic()), element.partition()), offset)),
                _ => None,
            });
            Ok(known.collect())
        };
        Ok((ask(Offset::Beginning)?, ask(Offset::End)?))
    }
}

fn place(next: i64, first: i64, end: i64) -> Place {
    if next < first {
        Place::Overtaken(first)
    } else if next > end {
        Place::Beyond(end)
    } else {
        Place::Here(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_goes_on_where_it_is_unless_that_is_gone() {
        assert_eq!(place(5, 0, 10), Place::Here(5));
        assert_eq!(place(10, 10, 10), Place::Here(10));
        assert_eq!(place(4, 5, 10), Place::Overtaken(5));
        assert_eq!(place(11, 5, 10), Place::Beyond(10));
    }
}
