//! One topic: its partitions come and go, and each that is ours has a task.

use std::{collections::HashMap, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use jiff::SignedDuration;
use millrace_aws::Objects;
use millrace_core::pipeline::Lake;
use millrace_kafka::{
    Admin, Client, Source,
    source::{Batch, Event, Partition, SourceConfig},
};
use millrace_lake::{Folder, Stretch, TopicFolder};
use millrace_runtime::{Ready, Shutdown};
use millrace_schema::client;
use opentelemetry::metrics::Meter;
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
};

use crate::{
    chain::Chain,
    error::{Error, Result},
    hours::Announcer,
    metrics::Metrics,
    partition::Worker,
    schemas::Schemas,
};

/// How long leaving the group may take.
const CLOSE: Duration = Duration::from_secs(5);
/// Who has this partition announces the topic's hours.
const FIRST: i32 = 0;
/// Batches that wait for a partition.
const QUEUE: usize = 2;

/// Pauses between tries of what may succeed later.
pub(crate) fn pause() -> impl Iterator<Item = Duration> + Send {
    let (first, longest) = (Duration::from_millis(100), Duration::from_secs(5));
    ExponentialBuilder::new().with_min_delay(first).with_max_delay(longest).with_jitter().without_max_times().build()
}

/// A topic that is archived.
#[derive(Clone)]
pub(crate) struct Archived {
    pub(crate) pipeline: String,
    pub(crate) topic: String,
    pub(crate) group: String,
    pub(crate) lake: Lake,
    pub(crate) bucket: String,
    /// How much later than by its records a window ends by the clock.
    pub(crate) idle: Duration,
    /// How late records of an hour may be.
    pub(crate) lateness: Duration,
    pub(crate) kafka: Client,
    pub(crate) admin: Admin,
    pub(crate) objects: Objects,
    pub(crate) registry: client::Client,
    pub(crate) meter: Meter,
    pub(crate) ready: Ready,
}

impl Archived {
    /// Archives until the shutdown. What fails is begun anew, from where the chains end.
    pub(crate) async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let metrics = Metrics::new(&self.meter, &self.pipeline, &self.topic);
        let mut pauses = pause();
        loop {
            let error = match self.once(&metrics, &shutdown).await {
                Ok(()) => return Ok(()),
                Err(Error::Kafka(error)) if !error.is_retriable() => return Err(error.into()),
                Err(error) => error,
            };
            self.ready.set(false);
            metrics.retry(error.tag());
            if matches!(error, Error::Overtaken { .. }) {
                tracing::warn!(topic = self.topic, %error, "beginning anew");
                pauses = pause();
            } else {
                tracing::error!(topic = self.topic, %error, "cannot archive, beginning anew");
            }
            tokio::select! {
                () = tokio::time::sleep(pauses.next().unwrap_or(CLOSE)) => {}
                () = shutdown.wait() => return Ok(()),
            }
        }
    }

    async fn once(&self, metrics: &Metrics, shutdown: &Shutdown) -> Result<()> {
        let config = SourceConfig {
            queue: 1,
            // It keeps what is in the topic, whoever that is for.
            redriven_for_others: true,
            ..SourceConfig::new(format!("archiver {}", self.topic), self.group.clone(), vec![self.topic.clone()])
        };
        let mut source = Source::new(&self.kafka, config, Some(&self.meter))?;
        // Also one that stands by, and has no partitions.
        self.ready.set(true);
        let (committed, mut commits) = mpsc::unbounded_channel();
        let mut ours =
            Ours { of: self, metrics, committed, working: HashMap::new(), announcing: None, tasks: JoinSet::new() };
        loop {
            tokio::select! {
                () = shutdown.wait() => break,
                event = source.next() => match event? {
                    Event::Assigned(partitions) => {
                        let starts = tokio::select! {
                            starts = ours.begin(&partitions) => starts?,
                            () = shutdown.wait() => break,
                        };
                        source.start_at(&starts);
                    }
                    Event::Batch(batch) => tokio::select! {
                        handed = ours.hand(batch) => handed?,
                        () = shutdown.wait() => break,
                    },
                    // What they had not committed was never there.
                    Event::Revoked(partitions) => ours.leave(&partitions),
                },
                Some((partition, next)) = commits.recv() => source.commit(&partition, next),
                Some(ended) = ours.tasks.join_next() => finished(ended)?,
            }
        }
        ours.tasks.shutdown().await;
        while let Ok((partition, next)) = commits.try_recv() {
            source.commit(&partition, next);
        }
        source.close(CLOSE).await;
        Ok(())
    }
}

/// The partitions that are ours.
struct Ours<'a> {
    of: &'a Archived,
    metrics: &'a Metrics,
    committed: mpsc::UnboundedSender<(Partition, i64)>,
    working: HashMap<Partition, (mpsc::Sender<Batch>, AbortHandle)>,
    /// Announces complete hours, while the first partition is ours.
    announcing: Option<AbortHandle>,
    tasks: JoinSet<Result<()>>,
}

impl Ours<'_> {
    /// Begins partitions where their chains end; gives where that is.
    async fn begin(&mut self, partitions: &[Partition]) -> Result<Vec<(Partition, Option<i64>)>> {
        let there = self.of.admin.beginnings(&self.of.topic).await?;
        let mut starts = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let Archived { lake, bucket, objects, registry, .. } = self.of;
            let folder = Folder::new(&lake.prefix, &partition.topic, partition.topic_id, partition.partition);
            let chain = Chain { objects: objects.clone(), bucket: bucket.clone(), folder };
            // One that is not among them was made since.
            let there = there.get(&partition.partition).copied().unwrap_or_default();
            let end = match chain.end().await? {
                Some(end) => end,
                None => chain.origin(there).await?,
            };
            let start = end.max(there);
            let lost = (end < there).then(|| Stretch { first: end, last: there - 1 });
            if let Some(lost) = lost {
                let (topic, partition) = (&*partition.topic, partition.partition);
                let (first, last) = (lost.first, lost.last);
                tracing::error!(topic, partition, first, last, "records have left the topic before they were archived");
            }
            let worker = Worker {
                partition: partition.clone(),
                chain,
                roll: lake.roll.clone(),
                idle: self.of.idle,
                schemas: Schemas::new(registry.clone())?,
                metrics: self.metrics.clone(),
                committed: self.committed.clone(),
                lost,
            };
            let (batches, received) = mpsc::channel(QUEUE);
            let task = self.tasks.spawn(worker.run(start, received));
            self.working.insert(partition.clone(), (batches, task));
            starts.push((partition.clone(), Some(start)));
            if partition.partition == FIRST {
                self.announce(partition);
            }
        }
        Ok(starts)
    }

    fn announce(&mut self, first: &Partition) {
        let Archived { topic, lake, bucket, objects, admin, lateness, .. } = self.of;
        let announcer = Announcer {
            topic: topic.clone(),
            topic_id: first.topic_id,
            folder: TopicFolder::new(&lake.prefix, topic, first.topic_id),
            bucket: bucket.clone(),
            objects: objects.clone(),
            admin: admin.clone(),
            lateness: SignedDuration::try_from(*lateness).unwrap_or(SignedDuration::MAX),
            metrics: self.metrics.clone(),
        };
        let task = self.tasks.spawn(announcer.run());
        if let Some(before) = self.announcing.replace(task) {
            before.abort();
        }
    }

    /// Hands a batch to its partition's task. It may have failed: then that is told by it.
    async fn hand(&mut self, batch: Batch) -> Result<()> {
        let Some((batches, _)) = self.working.get(&batch.partition) else { return Ok(()) };
        if batches.send(batch).await.is_ok() {
            return Ok(());
        }
        match self.tasks.join_next().await {
            Some(ended) => finished(ended),
            None => Ok(()),
        }
    }

    fn leave(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            if let Some((_, task)) = self.working.remove(partition) {
                task.abort();
            }
            if partition.partition == FIRST
                && let Some(task) = self.announcing.take()
            {
                task.abort();
            }
        }
    }
}

/// What a task has come to; one that was told to go has not failed.
fn finished(ended: std::result::Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
    match ended {
        Ok(result) => result,
        Err(error) if error.is_cancelled() => Ok(()),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
