//! The lane's loop.

use std::{
    cell::Cell,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use millrace_core::header;
use millrace_runtime::Shutdown;
use opentelemetry::metrics::Meter;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata},
    error::KafkaError,
};

use super::{
    Assigned, Batch, Lane, LaneConfig, Outputs, Processor, Unavailable,
    context::{Moved, Partitions},
    progress::Progress,
    transaction::{Load, Outcome, Oversize, Transactions},
};
use crate::{
    client::Client,
    close, dead,
    error::{self, Error},
    headers,
    metrics::LaneMetrics,
    trace,
};

/// How long an idle lane sleeps in the consumer.
const IDLE: Duration = Duration::from_millis(100);
/// The first and the longest wait for a dependency that is away.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// A wait up to this long is slept. A longer one pauses the partitions, which costs what was prefetched.
const NAP: Duration = Duration::from_millis(400);
/// An abort is followed by a rest that grows with the number of aborts in a row.
const ABORT_REST: Duration = Duration::from_millis(50);
/// How often a transaction is tried again as it is, while it is found out what is too large.
const JUDGING: u32 = 3;
const SEEK: Duration = Duration::from_secs(10);
const LOOK_UP: Duration = Duration::from_secs(5);
const CLOSE: Duration = Duration::from_secs(5);

pub(super) fn run<P: Processor>(lane: Lane<P>, shutdown: &Shutdown) -> anyhow::Result<()> {
    let name = lane.name();
    let span = tracing::error_span!("lane", lane = name);
    let _entered = span.enter();
    let Lane { client, config, processor, meter, metrics, ready } = lane;
    let Some(transactions) = Transactions::start(&client, &config, &meter, shutdown)? else { return Ok(()) };
    let context = Partitions::new(client.context(&name, Some(&meter)));
    let consumer: BaseConsumer<Partitions> =
        client.consumer(&name, &config.group).create_with_context(context).map_err(Error::Create)?;
    let topics: Vec<&str> = config.topics.iter().map(String::as_str).collect();
    consumer.subscribe(&topics).context("subscribe")?;
    let outputs = Outputs::new(config.group.clone(), &config.dead_topic);
    let mut worker = Worker {
        client,
        meter,
        config,
        processor,
        metrics,
        consumer,
        transactions,
        batch: Batch::new(),
        outputs,
        progress: Progress::default(),
        arrived: Vec::new(),
        skipped: 0,
        together: usize::MAX,
        aborts: 0,
        stopping: Cell::new(None),
    };
    let report = |works| ready.iter().for_each(|ready| ready(works));
    report(true);
    let result = worker.work(shutdown);
    report(false);
    let Worker { consumer, transactions, .. } = worker;
    close::within(CLOSE, "lane consumer", move || {
        consumer.unsubscribe();
        drop(consumer);
    });
    transactions.close();
    result.with_context(|| format!("lane {name}"))
}

struct Worker<P> {
    client: Client,
    meter: Meter,
    config: LaneConfig,
    processor: P,
    metrics: LaneMetrics,
    consumer: BaseConsumer<Partitions>,
    transactions: Transactions,
    batch: Batch,
    outputs: Outputs,
    progress: Progress,
    /// Partitions of which the processor was not told yet.
    arrived: Vec<(String, i32)>,
    skipped: usize,
    /// Outputs that are sent before their reports are waited for. Fewer, where a topic's limit is below that of a request.
    together: usize,
    aborts: u32,
    /// When the shutdown was first seen.
    stopping: Cell<Option<Instant>>,
}

impl<P: Processor> Worker<P> {
    fn work(&mut self, shutdown: &Shutdown) -> anyhow::Result<()> {
        while !shutdown.is_triggered() {
            self.processor.between_batches();
            self.transactions.serve(Duration::ZERO);
            let Some(began) = self.fill()? else { continue };
            let span = self.span();
            let _entered = span.enter();
            // Read together with the check that follows: a member that was thrown out has no generation, and the
            // brokers would take offsets without one from anybody.
            let group = self.consumer.group_metadata().context("the consumer has no group")?;
            if self.consumer.assignment_lost() || !self.process(shutdown)? {
                self.forget();
                continue;
            }
            self.transact(&group, began, shutdown)?;
            self.forget();
        }
        Ok(())
    }

    /// The span of the batch.
    fn span(&self) -> tracing::Span {
        let (topic, inputs) = (self.config.topics.first(), self.batch.inputs());
        let parents = inputs.iter().map(|input| input.headers.text(header::TRACEPARENT));
        trace::process_span(topic.map_or("", String::as_str), &self.config.group, inputs.len(), parents)
    }

    /// Reads a batch; gives the time at which its first record was in hand. Nothing when there is nothing.
    fn fill(&mut self) -> anyhow::Result<Option<Instant>> {
        let limits = self.config.limits;
        let mut began = None;
        // While there are records no clock is read: it is a fifth of what a poll costs.
        let mut wait = IDLE;
        loop {
            let polled = self.consumer.poll(wait);
            let is_empty = polled.is_none();
            match polled {
                Some(Ok(message)) => {
                    take(&message, &self.config.group, &mut self.batch, &mut self.progress, &mut self.skipped);
                    if began.is_none() && !self.progress.is_empty() {
                        began = Some(Instant::now());
                    }
                    wait = Duration::ZERO;
                }
                Some(Err(error)) => recover(error)?,
                None => {}
            }
            self.apply_rebalance();
            if self.batch.len() >= limits.records || self.batch.size() >= limits.bytes {
                return Ok(began);
            }
            if is_empty {
                let left = began.map(|began| limits.linger.saturating_sub(began.elapsed()));
                match left {
                    Some(left) if !left.is_zero() => wait = whole_millis(left),
                    _ => return Ok(began.filter(|_| !self.progress.is_empty())),
                }
            }
        }
    }

    /// Forgets what was read of partitions that came or went.
    fn apply_rebalance(&mut self) {
        for Moved { topic, partition, came } in self.consumer.context().take_moved() {
            if self.progress.forget(&topic, partition) {
                self.batch.retain(|other, number| (other, number) != (&*topic, partition));
            }
            self.arrived.retain(|(other, number)| (other, *number) != (&topic, partition));
            if came {
                self.arrived.push((topic, partition));
            }
        }
    }

    /// Tells the processor of partitions that came, with what their last owner has left for it.
    fn introduce(&mut self) -> std::result::Result<(), Unavailable> {
        if self.arrived.is_empty() || self.processor.metadata().is_none() {
            return Ok(());
        }
        let assigned = self
            .left_behind()
            .map_err(|error| Unavailable { what: "coordinator of the group", source: error.into() })?;
        self.processor.assigned(&assigned);
        self.arrived.clear();
        Ok(())
    }

    /// The words that are committed with the offsets of the partitions that came.
    fn left_behind(&self) -> anyhow::Result<Vec<Assigned>> {
        let mut list = TopicPartitionList::new();
        for (topic, partition) in &self.arrived {
            list.add_partition(topic, *partition);
        }
        let list = self.consumer.committed_offsets(list, LOOK_UP)?;
        let assigned = list.elements().into_iter().map(|element| {
            element.error()?;
            let metadata = Some(element.metadata()).filter(|text| !text.is_empty()).map(str::to_owned);
            Ok(Assigned { topic: element.topic().to_owned(), partition: element.partition(), metadata })
        });
        assigned.collect()
    }

    /// Processes the batch, for as long as it takes; false when it is to be dropped.
    fn process(&mut self, shutdown: &Shutdown) -> anyhow::Result<bool> {
        let mut backoff = BACKOFF.0;
        let mut held_back = false;
        loop {
            self.outputs.clear();
            // Each time: partitions may have come since.
            let result = self.introduce().and_then(|()| {
                let Self { processor, batch, outputs, .. } = self;
                processor.process(&batch.inputs(), outputs)
            });
            match result {
                Ok(()) => {
                    if held_back {
                        tracing::info!("dependency is back, the lane goes on");
                        self.metrics.held_back(false);
                        self.pause(false)?;
                    }
                    return Ok(true);
                }
                Err(Unavailable { what, source }) => {
                    if !held_back {
                        tracing::warn!(dependency = what, error = %source, "dependency is away, the lane waits");
                        self.metrics.held_back(true);
                        held_back = true;
                    }
                    self.hold(backoff, shutdown)?;
                    backoff = (backoff * 2).min(BACKOFF.1);
                    if shutdown.is_triggered() || self.progress.is_empty() {
                        self.metrics.held_back(false);
                        self.pause(false)?;
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Waits and stays a member of the group.
    fn hold(&mut self, time: Duration, shutdown: &Shutdown) -> anyhow::Result<()> {
        if time <= NAP {
            thread::sleep(time);
            return Ok(());
        }
        let began = Instant::now();
        while began.elapsed() < time && !shutdown.is_triggered() {
            // Each time: partitions may have come since.
            self.pause(true)?;
            let polled = self.consumer.poll(IDLE);
            match polled {
                Some(Ok(message)) => {
                    take(&message, &self.config.group, &mut self.batch, &mut self.progress, &mut self.skipped);
                }
                Some(Err(error)) => recover(error)?,
                None => {}
            }
            self.apply_rebalance();
            self.transactions.serve(Duration::ZERO);
        }
        Ok(())
    }

    fn pause(&self, pause: bool) -> anyhow::Result<()> {
        let assignment = self.consumer.assignment().context("list partitions")?;
        if pause { self.consumer.pause(&assignment) } else { self.consumer.resume(&assignment) }
            .context("pause partitions")
    }

    /// Commits the batch; after an abort its records come again.
    fn transact(&mut self, group: &ConsumerGroupMetadata, began: Instant, shutdown: &Shutdown) -> anyhow::Result<()> {
        let offsets = self.offsets(self.processor.metadata().as_deref())?;
        let mut load = Load::All { together: self.together };
        let mut judging = 0;
        loop {
            let deadline = || self.is_past_drain(shutdown);
            match self.transactions.run(&self.outputs, load, &offsets, group, &deadline)? {
                Outcome::Committed => {
                    self.aborts = 0;
                    self.metrics.committed(self.batch.len(), self.skipped, began.elapsed().as_secs_f64());
                    for (stage, code) in self.outputs.letters() {
                        self.metrics.dead(stage, *code);
                    }
                    return Ok(());
                }
                // After a refusal librdkafka gives the producer a new epoch, and may drop what was sent meanwhile.
                Outcome::Aborted(error) if judging > 0 => {
                    self.metrics.aborted();
                    judging -= 1;
                    tracing::debug!(%error, "transaction aborted, it is tried again as it is");
                    thread::sleep(ABORT_REST);
                }
                Outcome::Aborted(error) => {
                    self.metrics.aborted();
                    self.aborts += 1;
                    tracing::warn!(%error, records = self.batch.len(), in_a_row = self.aborts, "transaction aborted, its records are read again");
                    self.rewind()?;
                    thread::sleep(ABORT_REST * self.aborts.min(20));
                    return Ok(());
                }
                Outcome::Expired => {
                    self.metrics.aborted();
                    tracing::warn!(
                        "the brokers were away for longer than a transaction may take, the lane begins anew"
                    );
                    return self.begin_anew(shutdown);
                }
                Outcome::TooLarge(Oversize { index, alone: true }) => {
                    self.metrics.aborted();
                    self.outputs.give_up(index, &self.batch.inputs(), self.config.service);
                    load = Load::All { together: self.together };
                    judging = JUDGING;
                }
                Outcome::TooLarge(Oversize { index, alone: false }) => {
                    self.metrics.aborted();
                    load = Load::Try(index);
                    judging = JUDGING;
                }
                Outcome::Fits => {
                    // So does every other record of the set: the set is what is too large, and the next ones will be.
                    self.together = (self.together.min(self.outputs.len()) / 8).max(1);
                    tracing::warn!(records = self.together, "topic takes less than a whole set, sending fewer at once");
                    load = Load::All { together: self.together };
                    judging = JUDGING;
                }
            }
        }
    }

    /// Another producer of the same id, in the place of one that the brokers have given up. Its beginning ends what the
    /// old one left open, one way or the other: only the brokers know how, so the group's own offsets decide what is
    /// read again.
    fn begin_anew(&mut self, shutdown: &Shutdown) -> anyhow::Result<()> {
        // Nothing: the shutdown came first, and nobody asks for the old one any more.
        let Some(transactions) = Transactions::start(&self.client, &self.config, &self.meter, shutdown)? else {
            return Ok(());
        };
        std::mem::replace(&mut self.transactions, transactions).close();
        while !shutdown.is_triggered() {
            match self.committed() {
                Ok(committed) => {
                    for (topic, partition, offset) in committed {
                        self.progress.begin_at(&topic, partition, offset);
                    }
                    return self.rewind();
                }
                Err(error) => tracing::warn!(%error, "committed offsets are not known yet"),
            }
        }
        Ok(())
    }

    /// What the group has committed of the batch's partitions; those without an offset yet are left out.
    fn committed(&self) -> anyhow::Result<Vec<(String, i32, i64)>> {
        let list = self.consumer.committed_offsets(self.offsets(None)?, LOOK_UP)?;
        let mut offsets = Vec::new();
        for element in list.elements() {
            element.error()?;
            if let Offset::Offset(offset) = element.offset() {
                offsets.push((element.topic().to_owned(), element.partition(), offset));
            }
        }
        Ok(offsets)
    }

    fn offsets(&self, metadata: Option<&str>) -> anyhow::Result<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for (topic, partition, span) in self.progress.spans() {
            let mut element = list.add_partition(topic, partition);
            element.set_offset(Offset::Offset(span.next)).context("list offsets")?;
            if let Some(metadata) = metadata {
                element.set_metadata(metadata);
            }
        }
        Ok(list)
    }

    /// Goes back to where the batch began, in the partitions that are still ours as far as the last poll knows. If the
    /// group has moved on meanwhile, the next poll says so, and the partitions begin at what is committed.
    fn rewind(&mut self) -> anyhow::Result<()> {
        for (topic, partition, span) in self.progress.spans() {
            let first = span.first;
            self.consumer
                .seek(topic, partition, Offset::Offset(first), SEEK)
                .with_context(|| format!("go back to offset {first} of {topic} [{partition}]"))?;
        }
        self.progress.rewind();
        Ok(())
    }

    fn forget(&mut self) {
        self.batch.clear();
        self.outputs.clear();
        self.progress.clear();
        self.skipped = 0;
    }

    /// Whether the shutdown began longer ago than a drain may take.
    fn is_past_drain(&self, shutdown: &Shutdown) -> bool {
        if !shutdown.is_triggered() {
            return false;
        }
        let since = self.stopping.get().unwrap_or_else(Instant::now);
        self.stopping.set(Some(since));
        since.elapsed() >= self.config.limits.drain
    }
}

/// Takes a message into the batch, unless it was seen already or is for another group.
fn take(message: &impl Message, group: &str, batch: &mut Batch, progress: &mut Progress, skipped: &mut usize) {
    if !progress.accept(message.topic(), message.partition(), message.offset()) {
        return;
    }
    let mut redrive_for = None;
    headers::for_each(message, |name, value| {
        if name == header::REDRIVE_FOR {
            redrive_for = Some(value.to_vec());
        }
    });
    if dead::is_for(redrive_for.as_deref(), group) {
        batch.copy(message);
    } else {
        *skipped += 1;
    }
}

/// Rounded up: rdkafka waits in whole milliseconds and spins through what is left of one.
fn whole_millis(time: Duration) -> Duration {
    Duration::from_millis(time.as_micros().div_ceil(1_000) as u64)
}

/// Whether the consumer goes on by itself after an error.
fn recover(error: KafkaError) -> anyhow::Result<()> {
    let fatal = matches!(error, KafkaError::MessageConsumptionFatal(_))
        || error.rdkafka_error_code().is_some_and(error::is_fatal_to_reading);
    if fatal {
        return Err(error).context("read records");
    }
    tracing::debug!(%error, "consumer error, goes on by itself");
    Ok(())
}
