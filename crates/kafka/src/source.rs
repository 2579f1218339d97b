//! Consecutive batches per partition, for those who keep their position in a ledger of their own (Postgres).
//!
//! ```text
//!  group --assigned--> Event::Assigned --> caller looks up its ledger --> start_at(positions)
//!                      Event::Batch      { [start, next_offset) of one partition, records }   in order, without gaps
//!  group --revoked---> Event::Revoked  --> the caller's next call of `next` says that it is done with them
//! ```
//!
//! The protocol: after `Assigned` nothing of those partitions comes before `start_at`. Batches of a partition follow
//! each other: the `start` of one is the `next_offset` of the one before, also over transaction markers, aborted
//! records and compaction, and over what retention has taken before it was read: that is a batch of its own, without
//! records, and says so ([`Batch::lost`]). At a partition's end a batch without records may tell that there is nothing up
//! to it but markers. After `Revoked` nothing of those partitions comes; another member may have them from the
//! following call of `next` on, so a ledger must be fenced by its own condition (`WHERE next = start`).

mod buffer;
mod context;
mod positions;
mod worker;

use std::{sync::Arc, time::Duration};

use millrace_core::header;
use opentelemetry::metrics::Meter;
use tokio::sync::mpsc;
use uuid::Uuid;

use self::worker::Command;
use crate::{
    client::Client,
    error::{Error, Result},
    record::Record,
    trace,
};

/// A partition of a topic. The topic's id tells a topic from one of the same name that was made anew.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The topic's id.
    pub topic_id: Uuid,
    /// The partition's number.
    pub partition: i32,
}

/// Records of one partition.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Which.
    pub partition: Partition,
    /// The first offset that the batch accounts for: the `next_offset` of the batch before, or where `start_at` began.
    pub start: i64,
    /// The records, in order. Offsets may be missing between them, and there may be none at all.
    pub records: Vec<Record>,
    /// The first offset that the batch does not account for.
    pub next_offset: i64,
    /// Its offsets had left the topic before they were read: it has no records, and what was there is nowhere. It was
    /// logged and counted; who keeps a ledger goes over it as over any other batch.
    pub lost: bool,
}

impl Batch {
    /// Drops what is before `next`, because it was stored already. False when nothing is left.
    pub fn skip_to(&mut self, next: i64) -> bool {
        if next > self.start {
            self.records.retain(|record| record.offset >= next);
            self.start = next.min(self.next_offset);
        }
        self.start < self.next_offset
    }
}

/// A span for the work on batches that are stored together.
pub fn span(group: &str, batches: &[Batch]) -> tracing::Span {
    let topic = batches.first().map_or("", |batch| &*batch.partition.topic);
    let records = || batches.iter().flat_map(|batch| &batch.records);
    let parents = records().map(|record| record.headers.text(header::TRACEPARENT));
    trace::process_span(topic, group, records().count(), parents)
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// These partitions are ours now: answer with [`Source::start_at`].
    Assigned(Vec<Partition>),
    /// Records.
    Batch(Batch),
    /// These partitions go to another member.
    Revoked(Vec<Partition>),
}

/// What a source reads, and how its batches are cut.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// What it is called in threads, logs and metrics.
    pub name: String,
    /// The consumer group.
    pub group: String,
    /// The topics.
    pub topics: Vec<String>,
    /// The most records of a batch.
    pub max_records: usize,
    /// The most bytes of a batch, unless one record has more.
    pub max_bytes: usize,
    /// How long the first record of a batch waits for more.
    pub linger: Duration,
    /// How many batches may wait for [`Source::next`].
    pub queue: usize,
    /// Whether records come also that were redriven for another group: for those who keep what is in a topic, and do not
    /// act on it.
    pub redriven_for_others: bool,
}

impl SourceConfig {
    /// The defaults: batches of 5,000 records, 8 MiB or 50 ms, two of them waiting.
    pub fn new(name: impl Into<String>, group: impl Into<String>, topics: Vec<String>) -> Self {
        Self {
            name: name.into(),
            group: group.into(),
            topics,
            max_records: 5_000,
            max_bytes: 8 * 1024 * 1024,
            linger: Duration::from_millis(50),
            queue: 2,
            redriven_for_others: false,
        }
    }
}

/// A consumer for ledgers outside Kafka; see the module. Dropping it leaves the group, in the background.
pub struct Source {
    events: mpsc::Receiver<Result<Event>>,
    commands: std::sync::mpsc::Sender<Command>,
    /// The last event was `Revoked`: the caller is done with it when it asks for the next one.
    revoking: bool,
}

impl Source {
    /// Joins the group.
    pub fn new(client: &Client, config: SourceConfig, meter: Option<&Meter>) -> Result<Self> {
        let (event_sender, events) = mpsc::channel(config.queue.max(1));
        let (commands, command_receiver) = std::sync::mpsc::channel();
        worker::spawn(client, config, meter, event_sender, command_receiver)?;
        Ok(Self { events, commands, revoking: false })
    }

    /// The next event. An error is for good: the process should end.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Result<Event> {
        if std::mem::take(&mut self.revoking) {
            self.command(Command::Released);
        }
        let event = self.events.recv().await.unwrap_or(Err(Error::Closed))?;
        self.revoking = matches!(event, Event::Revoked(_));
        Ok(event)
    }

    /// Where to begin, for each partition of the last [`Event::Assigned`]. Without an offset: where the group's own
    /// offset is, or at the beginning. Partitions that have been revoked meanwhile are ignored.
    pub fn start_at(&self, positions: &[(Partition, Option<i64>)]) {
        self.command(Command::Start(positions.to_vec()));
    }

    /// Tells the group how far the ledger is. For lag only: it may come late or get lost.
    pub fn commit(&self, partition: &Partition, next_offset: i64) {
        self.command(Command::Commit(partition.clone(), next_offset));
    }

    /// Leaves the group, at most `timeout` long. What was committed before goes to the brokers first.
    pub async fn close(self, timeout: Duration) {
        let Self { mut events, commands, .. } = self;
        drop(commands);
        // The worker ends its channel when it has left.
        let ended = async { while events.recv().await.is_some() {} };
        if tokio::time::timeout(timeout, ended).await.is_err() {
            tracing::warn!("consumer did not leave its group in time");
        }
    }

    fn command(&self, command: Command) {
        // The worker is gone only after a fatal error, which `next` has reported.
        self.commands.send(command).ok();
    }
}
