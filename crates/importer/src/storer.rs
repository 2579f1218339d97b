//! Brings a prepared batch into Postgres, whatever it takes.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use millrace_kafka::{Outgoing, Producer, source::Partition};
use millrace_postgres::{Ledger, Pool, copy::Writer};

use crate::{
    batch::{Place, Prepared, trim},
    dead,
    error::{Error, Reject, Result},
    feed::Feed,
    isolate::{self, BatchTrial},
    patience::Waiting,
    store::{End, Session, Stored},
};

/// What a storer is made of.
pub(crate) struct Parts {
    pub(crate) feed: Arc<Feed>,
    pub(crate) pool: Pool,
    pub(crate) ledger: Ledger,
    pub(crate) producer: Producer,
    pub(crate) waiting: Waiting,
}

/// Stores one batch after the other over one connection at a time.
pub(crate) struct Storer {
    parts: Parts,
    session: Option<Session>,
}

/// How far each partition is stored.
pub(crate) type Committed = Vec<(Partition, i64)>;

/// A batch on its way.
struct Work {
    prepared: Prepared,
    /// Rows that Postgres has refused.
    refused: BTreeSet<usize>,
    /// Dead letters that no broker has acknowledged yet.
    letters: Vec<Outgoing>,
}

impl Storer {
    pub(crate) fn new(parts: Parts) -> Self {
        Self { parts, session: None }
    }

    /// Stores the batch. Nothing when shutdown came first, in which case nothing has happened but dead letters.
    pub(crate) async fn store(&mut self, prepared: Prepared) -> Result<Option<Committed>> {
        let committed: Committed =
            prepared.batches.iter().map(|batch| (batch.partition.clone(), batch.next_offset)).collect();
        let mut work = self.work(prepared);
        let waiting = self.parts.waiting.clone();
        let mut patience = waiting.patience("store");
        loop {
            match self.attempt(&mut work).await {
                Ok(true) => {
                    patience.done();
                    return Ok(Some(committed));
                }
                Ok(false) => {}
                Err(error) => {
                    self.session = None;
                    if !patience.after(error).await? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn work(&self, prepared: Prepared) -> Work {
        let mut work = Work { prepared, refused: BTreeSet::new(), letters: Vec::new() };
        let rejects = std::mem::take(&mut work.prepared.rejects);
        for (place, reject) in rejects {
            self.bury(&mut work, place, &reject);
        }
        work
    }

    fn bury(&self, work: &mut Work, place: Place, reject: &Reject) {
        let Parts { feed, waiting, .. } = &self.parts;
        let partition = &work.prepared.batches[place.batch].partition;
        let offset = work.prepared.batches[place.batch].records[place.record].offset;
        let (topic, partition) = (&*partition.topic, partition.partition);
        tracing::warn!(topic, partition, offset, code = %reject.code, %reject, "record cannot be stored");
        waiting.metrics.dead(reject.code);
        work.letters.push(dead::letter(feed, &work.prepared, place, reject));
    }

    /// One try. False when it has to be tried again at once, because the batch is not what it was.
    async fn attempt(&mut self, work: &mut Work) -> Result<bool> {
        if !work.letters.is_empty() {
            let letters = std::mem::take(&mut work.letters);
            // Acknowledged before the ledger moves over their records.
            if let Err((again, error)) = millrace_kafka::dead::send(&self.parts.producer, letters).await {
                work.letters = again;
                return Err(error.into());
            }
        }
        let mut session = match self.session.take() {
            Some(session) => session,
            None => Session::open(&self.parts.pool, self.parts.ledger.clone()).await?,
        };
        let Prepared { shape, batches, rows, .. } = &work.prepared;
        let choice = work.prepared.choose(&work.refused);
        let begun = Instant::now();
        let outcome = session.store(shape, batches, rows, &choice.ranges, End::Commit).await;
        let done = match outcome {
            Ok(stored) => {
                self.measure(&work.prepared, &choice, stored, begun);
                true
            }
            Err(error) if error.is_fenced() => self.catch_up(&session, work).await?,
            Err(error) if error.is_data() => {
                let tried = choice.ranges.iter().cloned().flatten().collect();
                let mut trial = BatchTrial { session: &mut session, shape, batches, rows };
                let bad = isolate::bad_rows(tried, &mut trial).await?;
                if bad.is_empty() {
                    return Err(error);
                }
                for (row, reject) in bad {
                    work.refused.insert(row);
                    self.bury(work, work.prepared.place(row), &reject);
                }
                false
            }
            Err(error) => return Err(error),
        };
        self.session = Some(session);
        Ok(done)
    }

    fn measure(&self, prepared: &Prepared, choice: &crate::batch::Choice, stored: Stored, begun: Instant) {
        let metrics = &self.parts.waiting.metrics;
        metrics.committed(stored, begun.elapsed().as_secs_f64());
        metrics.lost(stored.lost() + choice.lost as u64);
        metrics.ages(prepared.receipts(&choice.ranges), now_micros() / 1_000);
        tracing::debug!(
            rows = stored.staged,
            inserted = stored.inserted,
            replaced = stored.replaced,
            ms = begun.elapsed().as_millis() as u64,
            "batch stored"
        );
    }

    /// The ledger is not where the batch begins: an earlier try of ours has been committed after all, or another
    /// member of the group has gone on. What it says is stored is dropped; true when nothing is left.
    async fn catch_up(&self, session: &Session, work: &mut Work) -> Result<bool> {
        self.parts.waiting.metrics.fenced();
        let batches = &work.prepared.batches;
        let partitions: Vec<Partition> = batches.iter().map(|batch| batch.partition.clone()).collect();
        let positions = session.positions(&partitions).await?;
        for (index, (batch, &ledger)) in batches.iter().zip(&positions).enumerate() {
            let first = !partitions[..index].contains(&batch.partition);
            if first && ledger < batch.start {
                let (partition, expected) = (batch.partition.partition, batch.start);
                return Err(Error::WentBack { partition, ledger, expected });
            }
            if ledger > batch.start {
                let partition = batch.partition.partition;
                tracing::warn!(partition, from = batch.start, ledger, "ledger was moved already");
            }
        }
        let next = |partition: &Partition| {
            partitions.iter().position(|known| known == partition).map(|index| positions[index])
        };
        let mut left = std::mem::take(&mut work.prepared.batches);
        if !trim(&mut left, next) {
            return Ok(true);
        }
        let (plans, shape) = (Arc::clone(&work.prepared.plans), Arc::clone(&work.prepared.shape));
        *work = self.work(Prepared::encode(left, plans, shape, &mut Writer::default(), now_micros()));
        Ok(false)
    }
}

/// Microseconds since 1970.
pub(crate) fn now_micros() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_micros() as i64)
}
