//! Reading a stretch of a topic, for tools: `tail`, `trace`, `dead list`. No group is joined, nothing is committed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaError,
    metadata::{MetadataPartition, MetadataTopic},
};
use tokio::sync::mpsc;

use crate::{
    client::Client,
    context::{Context, delegate_client_context},
    error::{Error, Result},
    record::Record,
};

const TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);
/// Records that may wait for the caller.
const QUEUE: usize = 256;

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// At the first record that is still there.
    Beginning,
    /// At what comes from now on.
    End,
    /// So many offsets before the end of each partition.
    Last(i64),
    /// At the first record that is not older, in milliseconds since 1970.
    Time(i64),
    /// At that offset of each partition.
    Offset(i64),
}

/// What to read.
#[derive(Clone, Debug)]
pub struct Query {
    /// The topic.
    pub topic: String,
    /// One partition, or all.
    pub partition: Option<i32>,
    /// Where to begin.
    pub from: From,
    /// Go on for ever, or end where the topic ended when the reading began.
    pub follow: bool,
}

/// A record and where it was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The record.
    pub record: Record,
}

/// Reads a stretch of a topic, partitions in no particular order. Dropping it ends the reading.
pub struct Reader {
    found: mpsc::Receiver<Result<Found>>,
    stop: Arc<AtomicBool>,
}

impl Reader {
    /// Begins to read, on a thread of its own.
    pub fn open(client: &Client, query: Query) -> Result<Self> {
        let mut config = client.consumer("reader", "millrace-reader");
        config.set("enable.partition.eof", "true");
        let consumer: BaseConsumer<ToolContext> =
            config.create_with_context(ToolContext::new(client, "reader")).map_err(Error::Create)?;
        let (sender, found) = mpsc::channel(QUEUE);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        thread::Builder::new()
            .name("kafka-reader".to_owned())
            .spawn(move || {
                if let Err(error) = read(&consumer, &query, &sender, &stopped) {
                    // Nobody is told when nobody listens.
                    sender.blocking_send(Err(error)).ok();
                }
            })
            .map_err(|_| Error::Closed)?;
        Ok(Self { found, stop })
    }

    /// The next record; nothing at the end. After an error there is nothing more.
    pub async fn next(&mut self) -> Option<Result<Found>> {
        self.found.recv().await
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn read(
    consumer: &BaseConsumer<ToolContext>,
    query: &Query,
    sender: &mpsc::Sender<Result<Found>>,
    stop: &AtomicBool,
) -> Result<()> {
    let mut remaining = Remaining::assign(consumer, query)?;
    let topic: Arc<str> = query.topic.as_str().into();
    while !stop.load(Ordering::Relaxed) && (query.follow || !remaining.is_empty()) {
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                let wanted = query.follow || remaining.wants(message.partition(), message.offset());
                let record = Record::copy(&message);
                let found = Found { topic: Arc::clone(&topic), partition: message.partition(), record };
                drop(message);
                if wanted && sender.blocking_send(Ok(found)).is_err() {
                    return Ok(());
                }
            }
            // One topic per reader: the number of the partition is enough.
            Some(Err(KafkaError::PartitionEOF(partition))) => remaining.ended(partition),
            Some(Err(error)) if error.rdkafka_error_code().is_some_and(crate::error::is_transient) => {}
            Some(Err(error)) => return Err(Error::from_kafka("read records", error)),
            None => {}
        }
    }
    Ok(())
}

/// The partitions that are not read to their end yet, and where those ends are.
struct Remaining(Vec<(i32, i64)>);

impl Remaining {
    fn assign(consumer: &BaseConsumer<ToolContext>, query: &Query) -> Result<Self> {
        let partitions = partitions(consumer, query)?;
        let ends = offsets(consumer, query, &partitions, Offset::End)?;
        let begins = match query.from {
            From::Beginning => offsets(consumer, query, &partitions, Offset::Beginning)?,
            From::End => ends.clone(),
            From::Last(count) => ends.iter().map(|(p, end)| (*p, (end - count.max(0)).max(0))).collect(),
            From::Offset(offset) => partitions.iter().map(|p| (*p, offset.max(0))).collect(),
            From::Time(time) => offsets(consumer, query, &partitions, Offset::Offset(time.max(0)))?
                .into_iter()
                .zip(&ends)
                .map(|((p, offset), (_, end))| (p, if offset < 0 { *end } else { offset }))
                .collect(),
        };
        let mut list = TopicPartitionList::new();
        for (partition, offset) in &begins {
            list.add_partition_offset(&query.topic, *partition, Offset::Offset(*offset))
                .map_err(|error| Error::from_kafka("choose offsets", error))?;
        }
        consumer.assign(&list).map_err(|error| Error::from_kafka("assign partitions", error))?;
        let begin = |partition| begins.iter().find(|(p, _)| *p == partition).map_or(0, |(_, offset)| *offset);
        Ok(Self(ends.into_iter().filter(|(partition, end)| begin(*partition) < *end).collect()))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn wants(&mut self, partition: i32, offset: i64) -> bool {
        let Some(index) = self.0.iter().position(|(p, _)| *p == partition) else { return false };
        let end = self.0[index].1;
        if offset + 1 >= end {
            self.0.swap_remove(index);
        }
        offset < end
    }

    fn ended(&mut self, partition: i32) {
        self.0.retain(|(p, _)| *p != partition);
    }
}

fn partitions(consumer: &BaseConsumer<ToolContext>, query: &Query) -> Result<Vec<i32>> {
    let metadata = consumer
        .fetch_metadata(Some(&query.topic), TIMEOUT)
        .map_err(|error| Error::from_kafka("look up the topic", error))?;
    let all: Vec<i32> =
        metadata.topics().iter().flat_map(MetadataTopic::partitions).map(MetadataPartition::id).collect();
    let wanted: Vec<i32> = all.into_iter().filter(|id| query.partition.is_none_or(|wanted| wanted == *id)).collect();
    if wanted.is_empty() { Err(Error::UnknownTopic(query.topic.clone())) } else { Ok(wanted) }
}

/// The offsets for a time or for one of the special times, by partition; -1 where there is none.
fn offsets(
    consumer: &BaseConsumer<ToolContext>,
    query: &Query,
    partitions: &[i32],
    time: Offset,
) -> Result<Vec<(i32, i64)>> {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition_offset(&query.topic, *partition, time)
            .map_err(|error| Error::from_kafka("choose offsets", error))?;
    }
    let answer =
        consumer.offsets_for_times(list, TIMEOUT).map_err(|error| Error::from_kafka("look up offsets", error))?;
    partitions
        .iter()
        .map(|partition| {
            let element = answer
                .find_partition(&query.topic, *partition)
                .ok_or_else(|| Error::UnknownTopic(query.topic.clone()))?;
            element.error().map_err(|error| Error::from_kafka("look up offsets", error))?;
            Ok((*partition, element.offset().to_raw().unwrap_or(-1)))
        })
        .collect()
}

/// The context of consumers that are in no group.
pub(crate) struct ToolContext {
    base: Context,
}

impl ToolContext {
    pub(crate) fn new(client: &Client, name: &str) -> Self {
        Self { base: client.context(name, None) }
    }
}

delegate_client_context!(ToolContext);

impl ConsumerContext for ToolContext {}
