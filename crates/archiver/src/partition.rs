//! One partition at work: from records to windows, and from windows to manifests.

use std::time::Duration;

use millrace_core::pipeline::Roll;
use millrace_kafka::{
    Record,
    source::{Batch, Partition},
};
use millrace_lake::{Cut, Cutter, Stretch};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{
    chain::{Chain, Committed},
    error::{Error, Result},
    metrics::Metrics,
    schemas::{Schemas, Value},
    topic::pause,
    window::{Window, time_of},
};

/// A partition that is ours.
pub(crate) struct Worker {
    pub(crate) partition: Partition,
    pub(crate) chain: Chain,
    pub(crate) roll: Roll,
    /// How much later than by its records a window ends by the clock: only one that gets no more of them.
    pub(crate) idle: Duration,
    pub(crate) schemas: Schemas,
    pub(crate) metrics: Metrics,
    /// Where a window has been committed up to.
    pub(crate) committed: mpsc::UnboundedSender<(Partition, i64)>,
    /// Offsets before the first one that is there, which the chain does not have.
    pub(crate) lost: Option<Stretch>,
}

/// What there is of the window that has not ended.
struct Open {
    window: Window,
    cutter: Cutter,
    /// The first offset that it does not account for.
    next: i64,
    /// When it ends by the clock; none while it accounts for nothing.
    until: Option<Instant>,
}

impl Worker {
    /// Archives batches from `start` on, for as long as there are any. An error: the partition is to be begun anew, from where
    /// its chain ends.
    pub(crate) async fn run(mut self, start: i64, mut batches: mpsc::Receiver<Batch>) -> Result<()> {
        let first = self.lost.map_or(start, |lost| lost.first.min(start));
        let mut open = Open {
            // What is lost is told also where nothing comes any more.
            until: self.lost.map(|_| self.by_the_clock()),
            window: Window::new(first, self.lost.take()),
            cutter: Cutter::new(&self.roll),
            next: start,
        };
        loop {
            tokio::select! {
                batch = batches.recv() => match batch {
                    Some(batch) => self.take(&mut open, batch).await?,
                    None => return Ok(()),
                },
                () = sleep_until(open.until.unwrap_or_else(Instant::now)), if open.until.is_some() => {
                    self.end(&mut open, "idle").await?;
                }
            }
        }
    }

    async fn take(&mut self, open: &mut Open, batch: Batch) -> Result<()> {
        if batch.lost {
            // What is in hand may have left the topic as well: it is kept, and the next window says what is nowhere.
            if open.next > open.window.first() {
                self.end(open, "lost").await?;
            }
            open.window = Window::new(batch.start, Some(Stretch { first: batch.start, last: batch.next_offset - 1 }));
        }
        for record in &batch.records {
            let value = self.value(record).await?;
            let time = time_of(record);
            let size = record.size() as u64;
            let mut end = open.cutter.add(time, size).map(name);
            if end.is_none() && !open.window.has_room(&value.known, time) {
                open.cutter.end();
                open.cutter.add(time, size);
                end = Some("files");
            }
            if let Some(end) = end {
                open.next = record.offset;
                self.end(open, end).await?;
                open.cutter.add(time, size);
            }
            if value.known.guid.is_none() {
                self.metrics.unknown();
            }
            if open.window.is_empty() {
                open.until = Some(self.by_the_clock());
            }
            open.window.add(&self.chain, &self.partition, record, value).await?;
        }
        open.next = batch.next_offset;
        // Markers alone as well: they would be missed when they have left the topic.
        if open.next > open.window.first() {
            open.until.get_or_insert_with(|| self.by_the_clock());
        }
        Ok(())
    }

    /// When a window that begins now ends without another record.
    fn by_the_clock(&self) -> Instant {
        Instant::now() + Duration::from(self.roll.age) + self.idle
    }

    /// What a value was written with. While the registry is away, it is waited for.
    async fn value<'a>(&mut self, record: &'a Record) -> Result<Value<'a>> {
        let mut pauses = pause();
        loop {
            match self.schemas.of(record).await {
                Err(error @ Error::Registry(_)) => {
                    self.metrics.retry(error.tag());
                    tracing::warn!(partition = self.partition.partition, %error, "held back, trying again");
                    tokio::time::sleep(pauses.next().unwrap_or_default()).await;
                }
                other => return other,
            }
        }
    }

    /// Ends the window, commits it, and begins the next one.
    async fn end(&mut self, open: &mut Open, why: &'static str) -> Result<()> {
        let began = Instant::now();
        let next = open.next;
        let window = std::mem::replace(&mut open.window, Window::new(next, None));
        open.cutter.end();
        open.until = None;
        let first = window.first();
        let manifest = window.end(&self.partition, next).await?;
        if let Committed::Theirs(theirs) = self.chain.commit(&manifest).await? {
            let (topic, partition) = (self.partition.topic.to_string(), self.partition.partition);
            return Err(Error::Overtaken { topic, partition, first, theirs });
        }
        if let Some(lost) = manifest.lost {
            self.metrics.lost(lost.count());
        }
        let bytes = manifest.files.iter().map(|file| file.bytes).sum();
        self.metrics.committed(why, (manifest.records, bytes), began.elapsed().as_secs_f64());
        // Nobody hears it who is not there any more.
        self.committed.send((self.partition.clone(), next)).ok();
        Ok(())
    }
}

fn name(cut: Cut) -> &'static str {
    match cut {
        Cut::Bytes => "bytes",
        Cut::Age => "age",
        Cut::Hour => "hour",
    }
}
