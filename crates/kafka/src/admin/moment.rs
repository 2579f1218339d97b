//! Where a moment is in a topic: what came before it, and whether anything has come since.

use std::collections::{BTreeMap, HashMap};

use rdkafka::{Offset, consumer::Consumer, error::KafkaError, types::RDKafkaErrorCode};

use super::{
    TIMEOUT, Topic,
    lag::{Meter, collect, list},
};
use crate::error::{Error, Result};

/// Where a moment is in one partition, among records of committed transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The partition.
    pub partition: i32,
    /// The first record whose timestamp is not before the moment; none when there is none yet.
    pub next: Option<i64>,
    /// The partition's end.
    pub end: i64,
}

impl Meter {
    /// Looks a moment up, in milliseconds since 1970, in all partitions.
    pub(super) fn moment(&self, topic: &Topic, at: i64) -> Result<Vec<Moment>> {
        let topics = std::slice::from_ref(topic);
        // The ends first: what comes between the two questions is after the end and after the moment.
        let ends = self.offsets(topics, Offset::End)?;
        let answer = self
            .ends
            .offsets_for_times(list(topics, Offset::Offset(at))?, TIMEOUT)
            .map_err(|error| Error::from_kafka("look up a moment", error))?;
        let next: HashMap<_, Option<i64>> = collect(&answer, |offset| match offset {
            Offset::Offset(offset) => Some(Some(offset)),
            _ => Some(None),
        });
        let known = topic.partitions.iter().filter_map(|partition| {
            let key = (topic.name.clone(), partition.id);
            Some(Moment { partition: partition.id, next: *next.get(&key)?, end: *ends.get(&key)? })
        });
        let known: Vec<Moment> = known.collect();
        all(topic, known.len(), "look up a moment")?;
        Ok(known)
    }

    /// The first offset of each partition.
    pub(super) fn beginnings(&self, topic: &Topic) -> Result<BTreeMap<i32, i64>> {
        let found = self.offsets(std::slice::from_ref(topic), Offset::Beginning)?;
        all(topic, found.len(), "read beginnings")?;
        Ok(found.into_iter().map(|((_, partition), offset)| (partition, offset)).collect())
    }
}

/// One whose leader is away has no answer, and is not to be taken for one that does not exist.
fn all(topic: &Topic, known: usize, what: &'static str) -> Result<()> {
    if known < topic.partitions.len() {
        let source = KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut);
        return Err(Error::Unavailable { what, source });
    }
    Ok(())
}
