//! Batch by batch, from one source.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use millrace_kafka::{
    Producer, Record,
    dead::{self, Verdict as Death},
    source::{self, Batch, Event, Partition, Source},
};
use millrace_postgres::{Ledger, Pool, ledger::Key};
use millrace_runtime::Shutdown;
use tracing::Instrument as _;

use super::{
    STAGE,
    alert::{Occurrence, Signal},
    read::Reader,
    store::{self, Settings},
};
use crate::{
    SCHEMA,
    error::{Error, Result},
    metrics::NotifyMetrics,
};

/// The pauses between tries while something is away.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long leaving the group may take.
const LEAVE: Duration = Duration::from_secs(5);

/// What one stream is made of.
pub(crate) struct Parts {
    /// `None`: the source is that of signals.
    pub(crate) pipeline: Option<String>,
    pub(crate) group: String,
    pub(crate) dead_topic: Arc<str>,
    pub(crate) pool: Pool,
    pub(crate) reader: Arc<Reader>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) producer: Producer,
    pub(crate) metrics: NotifyMetrics,
}

/// What a batch says.
#[derive(Default)]
struct Said {
    matters: Vec<Matter>,
    /// Records that cannot be read, by their place in the batch.
    bad: Vec<(usize, Error)>,
}

/// One thing to be stored, and the place in the batch of the record that says it.
struct Matter {
    record: usize,
    what: What,
}

enum What {
    Occurrence(Occurrence),
    Signal(Box<Signal>),
}

/// Why a batch is not done.
enum Stop {
    /// It is another's.
    Fenced,
    /// The process ends.
    Shutdown,
}

/// Stores what comes until the shutdown.
pub(crate) async fn run(mut source: Source, parts: Parts, shutdown: Shutdown) -> anyhow::Result<()> {
    let ledger = Ledger::new(SCHEMA, parts.group.clone());
    let stream = Stream { parts, ledger, shutdown };
    loop {
        let event = tokio::select! {
            () = stream.shutdown.wait() => break,
            event = source.next() => event.context("read verdicts and signals")?,
        };
        match event {
            Event::Assigned(partitions) => match stream.positions(&partitions).await {
                Some(positions) => source.start_at(&positions),
                None => break,
            },
            Event::Batch(batch) => match stream.bring(batch).await? {
                Some((partition, next)) => source.commit(&partition, next),
                None => break,
            },
            Event::Revoked(partitions) => tracing::debug!(count = partitions.len(), "partitions revoked"),
        }
    }
    source.close(LEAVE).await;
    Ok(())
}

struct Stream {
    parts: Parts,
    ledger: Ledger,
    shutdown: Shutdown,
}

impl Stream {
    fn span(&self, batch: &Batch) -> tracing::Span {
        source::span(&self.parts.group, std::slice::from_ref(batch))
    }

    /// Where the ledger is; `None` when the process ends before it answers.
    async fn positions(&self, partitions: &[Partition]) -> Option<Vec<(Partition, Option<i64>)>> {
        let keys: Vec<Key> = partitions.iter().map(key).collect();
        let mut pause = Pause::new();
        loop {
            let positions = async { self.ledger.positions(&self.parts.pool.get().await?, &keys).await };
            match positions.await {
                Ok(positions) => {
                    return Some(partitions.iter().cloned().zip(positions.into_iter().map(Some)).collect());
                }
                Err(error) => self.wait(&mut pause, error.tag(), &error, "cannot read the ledger").await.ok()?,
            }
        }
    }

    /// Stores a batch, or what of it is not stored yet; `None` when the process ends.
    async fn bring(&self, mut batch: Batch) -> anyhow::Result<Option<(Partition, i64)>> {
        loop {
            match self.store(&batch).instrument(self.span(&batch)).await {
                Ok(()) => break,
                Err(Stop::Shutdown) => return Ok(None),
                Err(Stop::Fenced) => {}
            }
            // A ledger that is ahead means that the work is done, or a part of it by one that had the partition before.
            // One that is behind was set back by somebody, and what it wants again has gone by.
            let Some(positions) = self.positions(std::slice::from_ref(&batch.partition)).await else { return Ok(None) };
            let next = positions.first().and_then(|(_, next)| *next).unwrap_or(batch.next_offset);
            if next < batch.start {
                let Partition { topic, partition, .. } = &batch.partition;
                anyhow::bail!(
                    "ledger of {topic}, partition {partition}, was set back to {next}: starting anew from there"
                );
            }
            if !batch.skip_to(next) {
                break;
            }
        }
        Ok(Some((batch.partition, batch.next_offset)))
    }

    /// Stores a batch, however long that takes.
    async fn store(&self, batch: &Batch) -> Result<(), Stop> {
        let said = self.read(&batch.records).await?;
        for (record, error) in &said.bad {
            self.give_up(batch, &batch.records[*record], error).await?;
        }
        let mut pause = Pause::new();
        let mut one_by_one = false;
        loop {
            match self.try_store(batch, &said, one_by_one).await {
                Ok(()) => return Ok(()),
                Err(Failed::Stop(stop)) => return Err(stop),
                Err(Failed::Postgres(error)) if error.is_fenced() => {
                    // Also after a commit whose answer was lost: then it is stored.
                    tracing::info!(%error, "batch is stored already, or another replica's");
                    return Err(Stop::Fenced);
                }
                Err(Failed::Postgres(error)) if error.is_data() && !one_by_one => one_by_one = true,
                Err(Failed::Postgres(error)) => {
                    self.wait(&mut pause, error.tag(), &error, "cannot store alerts").await?;
                }
            }
        }
    }

    /// Reads every record; waits while the registry is away.
    async fn read(&self, records: &[Record]) -> Result<Said, Stop> {
        let mut said = Said::default();
        let mut pause = Pause::new();
        let reader = &self.parts.reader;
        for (record, it) in records.iter().enumerate() {
            let what = loop {
                let what = match self.parts.pipeline {
                    Some(_) => reader.verdict(it).await.map(|read| read.map(|it| it.map(What::Occurrence))),
                    None => reader.signal(it).await.map(|read| read.map(|it| Some(What::Signal(Box::new(it))))),
                };
                match what {
                    Ok(what) => break what,
                    Err(error) => self.wait(&mut pause, error.tag(), &error, "cannot read schemas").await?,
                }
            };
            match what {
                Ok(Some(what)) => said.matters.push(Matter { record, what }),
                Ok(None) => {}
                Err(error) => said.bad.push((record, error)),
            }
        }
        Ok(said)
    }

    async fn try_store(&self, batch: &Batch, said: &Said, one_by_one: bool) -> Result<(), Failed> {
        let mut client = self.parts.pool.get().await?;
        let mut transaction = client.transaction().await.map_err(millrace_postgres::Error::from)?;
        self.ledger.advance(&transaction, key(&batch.partition), batch.start, batch.next_offset).await?;
        if one_by_one {
            for matter in &said.matters {
                let savepoint = transaction.savepoint("matter").await.map_err(millrace_postgres::Error::from)?;
                match self.put(&savepoint, &[matter]).await {
                    Ok(()) => savepoint.commit().await.map_err(millrace_postgres::Error::from)?,
                    Err(error) if error.is_data() => {
                        savepoint.rollback().await.map_err(millrace_postgres::Error::from)?;
                        let record = &batch.records[matter.record];
                        self.give_up(batch, record, &Error::Refused(error)).await.map_err(Failed::Stop)?;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        } else {
            self.put(&transaction, &said.matters.iter().collect::<Vec<_>>()).await?;
        }
        transaction.commit().await.map_err(millrace_postgres::Error::from)?;
        Ok(())
    }

    async fn put(
        &self,
        transaction: &millrace_postgres::Transaction<'_>,
        matters: &[&Matter],
    ) -> Result<(), millrace_postgres::Error> {
        let Parts { pipeline, settings, metrics, .. } = &self.parts;
        let mut occurrences = Vec::new();
        for matter in matters {
            match &matter.what {
                What::Occurrence(it) => occurrences.push(it),
                What::Signal(it) => store::signal(transaction, settings, it, metrics).await?,
            }
        }
        match pipeline {
            Some(pipeline) if !occurrences.is_empty() => {
                store::occurrences(transaction, settings, pipeline, &occurrences, metrics).await
            }
            _ => Ok(()),
        }
    }

    /// Sends a dead letter, however long that takes: the ledger moves only afterwards.
    async fn give_up(&self, batch: &Batch, record: &Record, error: &Error) -> Result<(), Stop> {
        let Partition { topic, partition, .. } = &batch.partition;
        let reason = error.to_string();
        tracing::warn!(%topic, partition, offset = record.offset, error = error.tag(), reason, "record dead-lettered");
        self.parts.metrics.dead(error.code().as_str());
        let (code, group) = (error.code(), &self.parts.group);
        let death = Death { stage: STAGE, code, reason: &reason, group, topic, partition: *partition };
        let mut letters = vec![dead::letter(&self.parts.dead_topic, record, death)];
        let mut pause = Pause::new();
        loop {
            let (again, error) = match dead::send(&self.parts.producer, letters).await {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            letters = again;
            self.wait(&mut pause, error.tag(), &error, "cannot send a dead letter").await?;
        }
    }

    async fn wait(
        &self,
        pause: &mut Pause,
        tag: &'static str,
        error: &(dyn std::error::Error + Sync),
        what: &'static str,
    ) -> Result<(), Stop> {
        self.parts.metrics.retried(tag);
        tracing::warn!(group = self.parts.group, %error, pause = ?pause.0, "{what}, trying again");
        tokio::select! {
            () = self.shutdown.wait() => Err(Stop::Shutdown),
            () = tokio::time::sleep(pause.next()) => Ok(()),
        }
    }
}

/// Why an attempt to store came to nothing.
enum Failed {
    Postgres(millrace_postgres::Error),
    Stop(Stop),
}

impl From<millrace_postgres::Error> for Failed {
    fn from(error: millrace_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

/// Pauses that double.
struct Pause(Duration);

impl Pause {
    fn new() -> Self {
        Self(FIRST_PAUSE)
    }

    fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

fn key(partition: &Partition) -> Key {
    Key { topic_id: partition.topic_id, partition: partition.partition }
}
