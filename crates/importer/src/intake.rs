//! The loop that owns the consumer: reads and encodes the next batch while the last one is stored.
//!
//! ```text
//! Source --Assigned--> ledger positions --> start_at
//!        --Batch-----> gather what is there --> plans --> encode --+     one batch being stored, in a task
//!        --Revoked---> wait for what is being stored               +--> Storer --> commit to the group (lag only)
//! ```
//!
//! A member that was thought dead and is not (a zombie) does no harm: the ledger fences it.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use futures::FutureExt;
use millrace_kafka::{
    Record, Source,
    source::{self, Batch, Event, Partition},
};
use millrace_postgres::{Ledger, Pool, copy::Writer};
use millrace_runtime::Shutdown;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use crate::{
    batch::{Prepared, schemas},
    ddl::db,
    error::Result,
    patience::Waiting,
    plans::Plans,
    store::key,
    storer::{Committed, Storer, now_micros},
};

/// How long a rebalance waits for the batch that is being stored: less than the source waits for us.
const LAST_BATCH: Duration = Duration::from_secs(4);
/// How long leaving the group may take.
const CLOSE: Duration = Duration::from_secs(5);
/// Room for a batch's rows at the start.
const ROW_BYTES: usize = 1 << 20;

/// Records of a transaction, about, in bytes.
const MAX_BYTES: usize = 8 << 20;

/// What a batch that is being stored comes back with.
type Storing = JoinHandle<(Storer, Result<Option<Committed>>)>;

/// One feed at work.
pub(crate) struct Intake {
    source: Source,
    plans: Plans,
    pool: Pool,
    ledger: Ledger,
    waiting: Waiting,
    max_records: usize,
    writer: Writer,
    storer: Option<Storer>,
    storing: Option<Storing>,
    /// An event that came while batches were gathered.
    next: Option<Event>,
    /// Partitions that moved on without a record (markers of transactions): since where. The ledger follows with
    /// their next record, so that an idle topic costs no transactions.
    idle: HashMap<Partition, i64>,
}

/// What an intake is made of.
pub(crate) struct Parts {
    pub(crate) source: Source,
    pub(crate) plans: Plans,
    pub(crate) pool: Pool,
    pub(crate) ledger: Ledger,
    pub(crate) waiting: Waiting,
    pub(crate) storer: Storer,
    /// Records of a transaction, about.
    pub(crate) max_records: usize,
}

impl Intake {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { source, plans, pool, ledger, waiting, storer, max_records } = parts;
        let writer = Writer::with_capacity(ROW_BYTES);
        let (storing, next, idle) = (None, None, HashMap::new());
        Self { source, plans, pool, ledger, waiting, max_records, writer, storer: Some(storer), storing, next, idle }
    }

    /// Works until shutdown, then until the batch that is being stored is there.
    pub(crate) async fn run(mut self) -> Result<()> {
        if !self.warm().await? {
            return Ok(());
        }
        let shutdown = self.waiting.shutdown.clone();
        while let Some(event) = self.event(&shutdown).await? {
            let goes_on = match event {
                Event::Assigned(partitions) => self.begin(&partitions).await?,
                Event::Batch(batch) => self.take(batch).await?,
                Event::Revoked(partitions) => {
                    self.settle_within(LAST_BATCH).await?;
                    self.idle.retain(|partition, _| !partitions.contains(partition));
                    true
                }
            };
            if !goes_on {
                break;
            }
        }
        self.settle().await?;
        self.source.close(CLOSE).await;
        Ok(())
    }

    /// Makes the tables as far as they are known; false when shutdown came first.
    async fn warm(&mut self) -> Result<bool> {
        let mut patience = self.waiting.patience("make tables");
        loop {
            let checked = millrace_postgres::check(&self.pool, crate::SCHEMA, crate::MIGRATIONS).await;
            let warmed = match checked {
                Ok(()) => self.plans.warm().await,
                Err(error) => Err(error.into()),
            };
            match warmed {
                Ok(()) => break patience.done(),
                Err(error) => {
                    if !patience.after(error).await? {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// The next event; none at shutdown.
    async fn event(&mut self, shutdown: &Shutdown) -> Result<Option<Event>> {
        if let Some(event) = self.next.take() {
            return Ok(Some(event));
        }
        loop {
            let storing = async {
                match &mut self.storing {
                    Some(storing) => storing.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = shutdown.wait() => return Ok(None),
                done = storing => {
                    self.storing = None;
                    self.stored(done)?;
                }
                event = self.source.next() => return Ok(Some(event?)),
            }
        }
    }

    /// Begins where the ledger is; false at shutdown.
    async fn begin(&mut self, partitions: &[Partition]) -> Result<bool> {
        let keys: Vec<_> = partitions.iter().map(key).collect();
        let mut patience = self.waiting.patience("read the ledger");
        let positions = loop {
            let positions = async {
                let client = self.pool.get().await?;
                self.ledger.positions(&client, &keys).await
            };
            match positions.await {
                Ok(positions) => break positions,
                Err(error) => {
                    if !patience.after(db(error)).await? {
                        return Ok(false);
                    }
                }
            }
        };
        patience.done();
        let starts: Vec<_> = partitions.iter().cloned().zip(positions.into_iter().map(Some)).collect();
        for (partition, next) in &starts {
            tracing::info!(topic = %partition.topic, partition = partition.partition, next, "begin at the ledger");
        }
        self.source.start_at(&starts);
        Ok(true)
    }

    /// Encodes a batch and what is there beside it, and hands it to the storer; false at shutdown.
    async fn take(&mut self, first: Batch) -> Result<bool> {
        let batches = self.gather(first)?;
        if batches.is_empty() {
            return Ok(true);
        }
        let named: HashSet<_> = batches.iter().flat_map(schemas).collect();
        let waiting = self.waiting.clone();
        let mut patience = waiting.patience("find schemas");
        let (plans, shape) = loop {
            match self.plans.of(&named).await {
                Ok(plans) => break plans,
                Err(error) => {
                    if !patience.after(error).await? {
                        return Ok(false);
                    }
                }
            }
        };
        patience.done();
        let prepared = Prepared::encode(batches, plans, shape, &mut self.writer, now_micros());
        self.settle().await?;
        let Some(mut storer) = self.storer.take() else { return Ok(false) };
        let span = source::span(self.ledger.consumer(), &prepared.batches);
        let storing = async move {
            let outcome = storer.store(prepared).await;
            (storer, outcome)
        };
        self.storing = Some(tokio::spawn(storing.instrument(span)));
        Ok(true)
    }

    /// Batches that are there already, up to about the records or the bytes of one transaction.
    fn gather(&mut self, first: Batch) -> Result<Vec<Batch>> {
        let mut batches = Vec::new();
        let (mut records, mut bytes) = (0, 0);
        let mut next = Some(first);
        while let Some(mut batch) = next.take() {
            let since = self.idle.remove(&batch.partition);
            batch.start = since.unwrap_or(batch.start);
            if batch.records.is_empty() {
                self.rest(&batch);
            } else {
                records += batch.records.len();
                bytes += batch.records.iter().map(Record::size).sum::<usize>();
                batches.push(batch);
            }
            if records >= self.max_records || bytes >= MAX_BYTES {
                break;
            }
            match self.source.next().now_or_never() {
                None => {}
                Some(Ok(Event::Batch(batch))) => next = Some(batch),
                Some(other) => self.next = Some(other?),
            }
        }
        Ok(batches)
    }

    fn rest(&mut self, batch: &Batch) {
        if self.storing.is_none() {
            self.source.commit(&batch.partition, batch.next_offset);
        }
        self.idle.insert(batch.partition.clone(), batch.start);
    }

    /// Waits for the batch that is being stored.
    async fn settle(&mut self) -> Result<()> {
        match self.storing.take() {
            Some(storing) => {
                let done = storing.await;
                self.stored(done)
            }
            None => Ok(()),
        }
    }

    /// The same for a while; then it goes on by itself, fenced where it must be.
    async fn settle_within(&mut self, limit: Duration) -> Result<()> {
        let Some(storing) = &mut self.storing else { return Ok(()) };
        if let Ok(done) = tokio::time::timeout(limit, storing).await {
            self.storing = None;
            self.stored(done)?;
        }
        Ok(())
    }

    fn stored(&mut self, done: Result<(Storer, Result<Option<Committed>>), tokio::task::JoinError>) -> Result<()> {
        match done {
            Ok((storer, outcome)) => {
                self.storer = Some(storer);
                for (partition, next) in outcome?.unwrap_or_default() {
                    self.source.commit(&partition, next);
                }
                Ok(())
            }
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // Cancelled: the runtime ends.
            Err(_) => Ok(()),
        }
    }
}
