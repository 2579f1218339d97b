//! The thread that owns a source's consumer.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError},
    },
    thread,
    time::{Duration, Instant},
};

use opentelemetry::metrics::Meter;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::KafkaError,
    types::RDKafkaErrorCode,
};
use tokio::sync::mpsc::{Sender, error::TrySendError};

use super::{
    Batch, Event, Partition, SourceConfig,
    buffer::{Bounds, Buffer},
    context::{Rebalance, SourceContext, give_up},
    positions::Reset,
};
use crate::{
    admin::describe_topics,
    client::Client,
    close, dead,
    error::{self, Error, Result},
    headers,
    metrics::SourceMetrics,
    record::Record,
};

const POLL: Duration = Duration::from_millis(20);
/// How long a caller that takes no batch is simply waited for. After that the partitions are paused, which costs what
/// was prefetched, and the consumer is polled, which it must be from time to time.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a rebalance waits for the caller to be done with what it loses. Its ledger is fenced anyway.
const RELEASE: Duration = Duration::from_secs(5);
const COMMIT_INTERVAL: Duration = Duration::from_millis(500);
pub(super) const LOOK_UP: Duration = Duration::from_secs(5);
/// Between tries to look up topics and offsets.
pub(super) const RETRY: Duration = Duration::from_millis(500);
const CLOSE: Duration = Duration::from_secs(5);

/// What the caller says.
pub(super) enum Command {
    /// Where to begin.
    Start(Vec<(Partition, Option<i64>)>),
    /// The caller is done with what was revoked.
    Released,
    /// The ledger is there.
    Commit(Partition, i64),
}

pub(super) type Key = (Arc<str>, i32);

/// The rebalance that is being acted on. Each waits for the caller; the group waits for us.
pub(super) enum Step {
    /// The ids of the topics are not known yet.
    Announce { list: TopicPartitionList, retry_at: Instant },
    /// The caller looks up its positions.
    Start {
        list: TopicPartitionList,
        partitions: Vec<Partition>,
        positions: Option<Vec<(Partition, Option<i64>)>>,
        retry_at: Instant,
    },
    /// The caller ends what it has begun.
    Release { list: TopicPartitionList, deadline: Instant, released: bool },
}

pub(super) struct Worker {
    pub(super) consumer: BaseConsumer<SourceContext>,
    pub(super) config: SourceConfig,
    bounds: Bounds,
    events: Sender<Result<Event>>,
    commands: Receiver<Command>,
    pub(super) buffers: HashMap<Key, Buffer>,
    pub(super) outbox: VecDeque<Event>,
    pub(super) step: Option<Step>,
    /// Partitions whose offsets the brokers do not have: to be begun anew.
    pub(super) reset: Option<Reset>,
    pub(super) metrics: Option<SourceMetrics>,
    /// A partition's end was reached.
    ended: bool,
    commits: HashMap<Key, i64>,
    committed_at: Instant,
    /// Since when the outbox cannot be emptied, and whether the partitions are paused for it.
    stalled: Option<Instant>,
    paused: bool,
}

pub(super) fn spawn(
    client: &Client,
    config: SourceConfig,
    meter: Option<&Meter>,
    events: Sender<Result<Event>>,
    commands: Receiver<Command>,
) -> Result<()> {
    let context = SourceContext::new(client.context(&config.name, meter));
    let mut settings = client.consumer(&config.name, &config.group);
    // What retention has taken is told, and not jumped over; and so is an end that is no record.
    settings.set("auto.offset.reset", "error").set("enable.partition.eof", "true");
    let consumer: BaseConsumer<SourceContext> = settings.create_with_context(context).map_err(Error::Create)?;
    let topics: Vec<&str> = config.topics.iter().map(String::as_str).collect();
    consumer.subscribe(&topics).map_err(|error| Error::from_kafka("subscribe", error))?;
    let name = config.name.clone();
    let bounds = Bounds { records: config.max_records, bytes: config.max_bytes, linger: config.linger };
    let worker = Worker {
        metrics: meter.map(|meter| SourceMetrics::new(meter, &config.name)),
        consumer,
        config,
        bounds,
        events,
        commands,
        buffers: HashMap::new(),
        outbox: VecDeque::new(),
        step: None,
        reset: None,
        ended: false,
        commits: HashMap::new(),
        committed_at: Instant::now(),
        stalled: None,
        paused: false,
    };
    thread::Builder::new().name(name).spawn(move || worker.run()).map(drop).map_err(|_| Error::Closed)
}

impl Worker {
    fn run(mut self) {
        loop {
            match self.turn() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    // The caller may have gone already.
                    self.events.blocking_send(Err(error)).ok();
                    break;
                }
            }
        }
        self.commit(CommitMode::Sync);
        self.answer();
        self.consumer.unsubscribe();
        let Self { consumer, events, .. } = self;
        close::within(CLOSE, "source", move || drop(consumer));
        drop(events);
    }

    /// Answers what the group waits for, now that nobody can be asked.
    fn answer(&mut self) {
        self.consumer.context().end();
        let step = self.step.take().map(|step| match step {
            Step::Announce { list, .. } | Step::Start { list, .. } | Step::Release { list, .. } => list,
        });
        let more = std::iter::from_fn(|| self.consumer.context().take()).map(|rebalance| match rebalance {
            Rebalance::Assign(list) | Rebalance::Revoke(list) => list,
        });
        for list in step.into_iter().chain(more) {
            give_up(&self.consumer, &list);
        }
    }

    /// One turn of the loop; false when the caller has gone.
    fn turn(&mut self) -> Result<bool> {
        if !self.obey() || self.events.is_closed() {
            return Ok(false);
        }
        self.advance_step()?;
        self.begin_anew()?;
        self.deliver();
        if self.outbox.is_empty() {
            self.go_on()?;
            self.read()?;
        } else {
            self.wait()?;
        }
        self.cut();
        if self.committed_at.elapsed() >= COMMIT_INTERVAL {
            self.commit(CommitMode::Async);
        }
        Ok(true)
    }

    /// Takes the caller's commands; false when it has gone.
    fn obey(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Start(given)) => {
                    if let Some(Step::Start { positions, .. }) = &mut self.step {
                        *positions = Some(given);
                    }
                }
                Ok(Command::Released) => {
                    if let Some(Step::Release { released, .. }) = &mut self.step {
                        *released = true;
                    }
                }
                Ok(Command::Commit(partition, next)) => {
                    let key = (partition.topic, partition.partition);
                    if self.buffers.contains_key(&key) {
                        self.commits.insert(key, next);
                    }
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn advance_step(&mut self) -> Result<()> {
        let step = match self.step.take() {
            Some(step) => step,
            None => match self.consumer.context().take() {
                Some(Rebalance::Assign(list)) => Step::Announce { list, retry_at: Instant::now() },
                Some(Rebalance::Revoke(list)) => self.revoke(list),
                None => return Ok(()),
            },
        };
        self.step = match step {
            Step::Announce { list, retry_at } if retry_at <= Instant::now() => Some(self.announce(list)?),
            Step::Start { list, partitions, positions: Some(positions), retry_at } if retry_at <= Instant::now() => {
                self.start(list, partitions, positions)?
            }
            Step::Release { list, deadline, released } if released || deadline <= Instant::now() => {
                self.release(&list)?;
                None
            }
            waiting => Some(waiting),
        };
        Ok(())
    }

    /// Tells the caller what it has been given.
    fn announce(&mut self, list: TopicPartitionList) -> Result<Step> {
        let elements = list.elements();
        let mut topics: Vec<String> = elements.iter().map(|element| element.topic().to_owned()).collect();
        topics.sort_unstable();
        topics.dedup();
        let described = match describe_topics(self.consumer.client(), &topics, LOOK_UP) {
            Ok(described) => described,
            Err(error) if error.is_retriable() => {
                drop(elements);
                return Ok(Step::Announce { list, retry_at: Instant::now() + RETRY });
            }
            Err(error) => return Err(error),
        };
        let partitions: Vec<Partition> = elements
            .iter()
            .filter_map(|element| {
                let topic = described.iter().find(|topic| topic.name == element.topic())?;
                Some(Partition {
                    topic: topic.name.as_str().into(),
                    topic_id: topic.id,
                    partition: element.partition(),
                })
            })
            .collect();
        drop(elements);
        tracing::info!(source = self.config.name, partitions = partitions.len(), "partitions assigned");
        if partitions.is_empty() {
            let positions = Some(Vec::new());
            return Ok(Step::Start { list, partitions, positions, retry_at: Instant::now() });
        }
        self.outbox.push_back(Event::Assigned(partitions.clone()));
        Ok(Step::Start { list, partitions, positions: None, retry_at: Instant::now() })
    }

    /// Begins where the caller said; where it did not, where the group is.
    fn start(
        &mut self,
        list: TopicPartitionList,
        partitions: Vec<Partition>,
        given: Vec<(Partition, Option<i64>)>,
    ) -> Result<Option<Step>> {
        let mut assignment = TopicPartitionList::new();
        let mut buffers = Vec::with_capacity(partitions.len());
        let unknown: Vec<&Partition> = partitions
            .iter()
            .filter(|partition| !given.iter().any(|(known, offset)| known == *partition && offset.is_some()))
            .collect();
        let looked_up = match self.look_up(&unknown) {
            Ok(looked_up) => looked_up,
            Err(error) if error.is_retriable() => {
                let retry_at = Instant::now() + RETRY;
                return Ok(Some(Step::Start { list, partitions, positions: Some(given), retry_at }));
            }
            Err(error) => return Err(error),
        };
        for partition in &partitions {
            let known = given.iter().find(|(known, _)| known == partition).and_then(|(_, offset)| *offset);
            let key = (Arc::clone(&partition.topic), partition.partition);
            let start = known.or_else(|| looked_up.get(&key).copied()).unwrap_or(0);
            add(&mut assignment, &key, start)?;
            buffers.push((key, Buffer::new(partition.clone(), start)));
        }
        self.consumer.incremental_assign(&assignment).map_err(|error| Error::from_kafka("assign partitions", error))?;
        self.buffers.extend(buffers);
        // What was paused for the others is read again; these are not paused.
        Ok(None)
    }

    /// The group's own offsets, or the first there are.
    fn look_up(&self, partitions: &[&Partition]) -> Result<HashMap<Key, i64>> {
        if partitions.is_empty() {
            return Ok(HashMap::new());
        }
        let list = |offset| {
            let mut list = TopicPartitionList::new();
            for partition in partitions {
                list.add_partition_offset(&partition.topic, partition.partition, offset)
                    .map_err(|error| Error::from_kafka("look up offsets", error))?;
            }
            Ok::<_, Error>(list)
        };
        let what = "look up offsets";
        let committed = self
            .consumer
            .committed_offsets(list(Offset::Invalid)?, LOOK_UP)
            .map_err(|error| Error::from_kafka(what, error))?;
        let first = self
            .consumer
            .offsets_for_times(list(Offset::Beginning)?, LOOK_UP)
            .map_err(|error| Error::from_kafka(what, error))?;
        let mut offsets = HashMap::new();
        for answer in [&first, &committed] {
            for element in answer.elements() {
                element.error().map_err(|error| Error::from_kafka(what, error))?;
                if let Offset::Offset(offset) = element.offset() {
                    offsets.insert((Arc::from(element.topic()), element.partition()), offset);
                }
            }
        }
        Ok(offsets)
    }

    /// Forgets what is not handed over, and tells the caller what it loses.
    fn revoke(&mut self, list: TopicPartitionList) -> Step {
        let lost = self.consumer.assignment_lost();
        let elements = list.elements();
        let gone: Vec<Key> = elements.iter().map(|element| (Arc::from(element.topic()), element.partition())).collect();
        drop(elements);
        let mut partitions = Vec::new();
        for key in &gone {
            if let Some(mut buffer) = self.buffers.remove(key) {
                partitions.push(buffer.take().partition);
            }
        }
        self.outbox.retain(|event| !matches!(event, Event::Batch(batch) if partitions.contains(&batch.partition)));
        tracing::info!(source = self.config.name, partitions = partitions.len(), lost, "partitions revoked");
        // Commits that are under way are for partitions that are still ours.
        if lost {
            self.commits.retain(|key, _| !gone.contains(key));
        } else {
            self.commit(CommitMode::Sync);
        }
        let told = !partitions.is_empty();
        if told {
            self.outbox.push_back(Event::Revoked(partitions));
        }
        let patience = if told && !lost { RELEASE } else { Duration::ZERO };
        Step::Release { list, deadline: Instant::now() + patience, released: false }
    }

    fn release(&mut self, list: &TopicPartitionList) -> Result<()> {
        self.consumer.incremental_unassign(list).map_err(|error| Error::from_kafka("give partitions up", error))
    }

    /// Hands over what the caller has room for.
    fn deliver(&mut self) {
        while let Some(event) = self.outbox.pop_front() {
            if let Err(TrySendError::Full(Ok(event)) | TrySendError::Closed(Ok(event))) =
                self.events.try_send(Ok(event))
            {
                self.outbox.push_front(event);
                return;
            }
        }
    }

    /// The caller has no room: waits, and after a while keeps the consumer alive without reading.
    fn wait(&mut self) -> Result<()> {
        let since = *self.stalled.get_or_insert_with(Instant::now);
        if since.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(2));
            return Ok(());
        }
        // Each time: partitions may have come since.
        self.pause(true)?;
        self.read()
    }

    fn go_on(&mut self) -> Result<()> {
        self.stalled = None;
        if self.paused { self.pause(false) } else { Ok(()) }
    }

    fn pause(&mut self, pause: bool) -> Result<()> {
        let assignment = self.consumer.assignment().map_err(|error| Error::from_kafka("list partitions", error))?;
        let done = if pause { self.consumer.pause(&assignment) } else { self.consumer.resume(&assignment) };
        self.paused = pause;
        done.map_err(|error| Error::from_kafka("pause partitions", error))
    }

    /// Reads one record and what else is there, as long as no batch is full.
    fn read(&mut self) -> Result<()> {
        if self.buffers.values().any(Buffer::is_fresh) {
            self.pass(Instant::now());
        }
        let mut timeout = POLL;
        let now = Instant::now();
        while let Some(polled) = self.consumer.poll(timeout) {
            timeout = Duration::ZERO;
            let message = match polled {
                Ok(message) => message,
                Err(KafkaError::PartitionEOF(_)) => {
                    self.ended = true;
                    continue;
                }
                Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset)) => {
                    self.reset = Some(Reset::of(self.buffers.keys()));
                    return Ok(());
                }
                Err(error) => return recover(error),
            };
            let key = (Arc::<str>::from(message.topic()), message.partition());
            // A partition that has been taken from us may still have records in the queue.
            let Some(buffer) = self.buffers.get_mut(&key) else { continue };
            let offset = message.offset();
            if buffer.expects(offset) {
                let mine = self.config.redriven_for_others || is_for(&message, &self.config.group);
                buffer.push(offset, mine.then(|| Record::copy(&message)), now);
                if buffer.is_full(self.bounds) {
                    return Ok(());
                }
            }
            if now.elapsed() > POLL {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Cuts batches that are full or due.
    fn cut(&mut self) {
        let now = Instant::now();
        let bounds = self.bounds;
        if std::mem::take(&mut self.ended) {
            self.pass(now);
        }
        let batches = self.buffers.values_mut().filter(|buffer| buffer.is_full(bounds) || buffer.is_due(bounds, now));
        let batches: Vec<Batch> = batches.map(Buffer::take).collect();
        self.outbox.extend(batches.into_iter().map(Event::Batch));
    }

    fn commit(&mut self, mode: CommitMode) {
        self.committed_at = Instant::now();
        if self.commits.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::new();
        for (key, next) in self.commits.drain() {
            if add(&mut list, &key, next).is_err() {
                return;
            }
        }
        if let Err(error) = self.consumer.commit(&list, mode) {
            tracing::debug!(source = self.config.name, %error, "offsets for lag not committed");
        }
    }
}

pub(super) fn add(list: &mut TopicPartitionList, (topic, partition): &Key, offset: i64) -> Result<()> {
    list.add_partition_offset(topic, *partition, Offset::Offset(offset))
        .map_err(|error| Error::from_kafka("choose offsets", error))
}

fn is_for(message: &impl Message, group: &str) -> bool {
    let mut mine = true;
    headers::for_each(message, |name, value| {
        if name == millrace_core::header::REDRIVE_FOR {
            mine = dead::is_for(Some(value), group);
        }
    });
    mine
}

/// Whether the consumer goes on by itself after an error.
fn recover(error: KafkaError) -> Result<()> {
    match &error {
        KafkaError::MessageConsumptionFatal(_) => Err(Error::from_kafka("read records", error)),
        _ => match error.rdkafka_error_code() {
            Some(code) if error::is_fatal_to_reading(code) => Err(Error::from_kafka("read records", error)),
            _ => {
                tracing::debug!(%error, "consumer error, goes on by itself");
                Ok(())
            }
        },
    }
}
