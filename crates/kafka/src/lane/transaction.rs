//! The transactional producer of a lane: all of a batch's outputs and its offsets, or nothing.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use millrace_runtime::Shutdown;
use opentelemetry::metrics::Meter;
use rdkafka::{
    TopicPartitionList,
    consumer::ConsumerGroupMetadata,
    error::{KafkaError, KafkaResult},
    producer::{BaseProducer, BaseRecord, Producer, PurgeConfig},
    types::RDKafkaErrorCode,
};

use super::{
    LaneConfig, Outputs,
    context::{Deliveries, Failures},
    watchdog::Watchdog,
};
use crate::{
    client::{Client, TRANSACTION_TIMEOUT},
    close,
    error::Error,
    headers,
};

/// How long one try of a call may take. The brokers abort a transaction after [`TRANSACTION_TIMEOUT`] anyway.
const CALL: Duration = Duration::from_secs(10);
/// After this long a call is not late but hangs.
const HANG: Duration = Duration::from_secs(30);
/// Between looks at deliveries.
const LOOK: Duration = Duration::from_micros(250);
/// A transaction is sent at once, so records wait for company only as long as it takes to hand them over: each partition's
/// go in one request.
const LINGER: Duration = Duration::from_millis(3);
const CLOSE: Duration = Duration::from_secs(3);

/// How a transaction ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// All of it is there, and the offsets are moved.
    Committed,
    /// Nothing of it is there: read again.
    Aborted(KafkaError),
    /// Nothing of it is there: a record is over a limit, or the set that it was sent in.
    TooLarge(Oversize),
    /// Nothing of it is there: it was only tried, and the output is within the limits.
    Fits,
    /// The brokers were away for longer than a transaction may take, and have ended it, by the look of it without
    /// effect; if the answer to the commit was lost, only they know. The producer is of no use any more.
    Expired,
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Load {
    /// Every output, at most so many before their reports are waited for.
    All { together: usize },
    /// This output, to see whether it is too large by itself.
    Try(usize),
}

impl Load {
    /// What was found too large, of the deliveries that failed.
    fn oversize(self, outputs: &Outputs, failures: &Failures) -> Option<Oversize> {
        let size = |&index: &usize| outputs.output(index).value.map_or(0, <[u8]>::len);
        let index = failures.oversized.iter().copied().max_by_key(size)?;
        Some(Oversize { index, alone: matches!(self, Self::Try(_) | Self::All { together: 1 }) })
    }
}

/// What was found too large.
#[derive(Clone, Copy, Debug)]
pub(super) struct Oversize {
    /// The output; of a set, its largest.
    pub(super) index: usize,
    /// Whether it was judged by itself. Brokers judge by the set: all records of one request and one partition.
    pub(super) alone: bool,
}

/// Why a transaction cannot be committed.
enum Failure {
    Abort(KafkaError),
    TooLarge(Oversize),
    /// It was not meant to be.
    Tried,
    /// Another producer has this one's id, or the brokers have ended its transaction.
    Fenced(anyhow::Error),
    Fatal(anyhow::Error),
}

pub(super) struct Transactions {
    producer: BaseProducer<Deliveries>,
    watchdog: Watchdog,
}

impl Transactions {
    /// Makes the producer and takes over from its predecessor of the same id; nothing when the shutdown came first.
    pub(super) fn start(
        client: &Client,
        config: &LaneConfig,
        meter: &Meter,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Option<Self>> {
        let name = format!("{}-producer", config.name());
        let mut settings = client.producer(&name, LINGER, TRANSACTION_TIMEOUT);
        settings.set("transactional.id", config.transactional_id());
        settings.set("transaction.timeout.ms", TRANSACTION_TIMEOUT.as_millis().to_string());
        let context = Deliveries::new(client.context(&name, Some(meter)));
        let producer: BaseProducer<Deliveries> = settings.create_with_context(context).map_err(Error::Create)?;
        let lane = config.name();
        let watchdog = Watchdog::start(move |call| {
            tracing::error!(lane, call, limit = ?HANG, "call of librdkafka hangs (librdkafka 5511), the process exits to be started again");
            std::process::exit(1);
        })
        .context("start the lane's watchdog")?;
        let transactions = Self { producer, watchdog };
        Ok(transactions.take_over(shutdown)?.then_some(transactions))
    }

    /// Fences the predecessor and waits for the end of its transaction; false when the shutdown came first.
    fn take_over(&self, shutdown: &Shutdown) -> anyhow::Result<bool> {
        while !shutdown.is_triggered() {
            match self.watchdog.guard("init_transactions", HANG, || self.producer.init_transactions(CALL)) {
                Ok(()) => return Ok(true),
                Err(error) if is_retriable(&error) => {
                    tracing::warn!(%error, "transactions are not available yet");
                    self.serve(Duration::from_millis(500));
                }
                Err(error) => return Err(error).context("begin to use transactions"),
            }
        }
        Ok(false)
    }

    /// Sends the outputs and the offsets and commits both. An error means that the process must end.
    pub(super) fn run(
        &self,
        outputs: &Outputs,
        load: Load,
        offsets: &TopicPartitionList,
        group: &ConsumerGroupMetadata,
        deadline: &dyn Fn() -> bool,
    ) -> anyhow::Result<Outcome> {
        let began = Instant::now();
        self.producer.begin_transaction().context("begin a transaction")?;
        let outcome = match self.send_and_commit(outputs, load, offsets, group, deadline) {
            Ok(()) => return Ok(Outcome::Committed),
            // A call fails as well when a delivery has: its report may say more.
            Err(Failure::Abort(error)) => self.abort(deadline).map(|failures| {
                let which = failures.and_then(|failures| load.oversize(outputs, &failures));
                which.map_or(Outcome::Aborted(error), Outcome::TooLarge)
            }),
            Err(Failure::TooLarge(which)) => self.abort(deadline).map(|_| Outcome::TooLarge(which)),
            Err(Failure::Tried) => self.abort(deadline).map(|_| Outcome::Fits),
            Err(other) => Err(other),
        };
        match outcome {
            Ok(outcome) => Ok(outcome),
            // Fenced without having waited: somebody else has this producer's id.
            Err(Failure::Fenced(_)) if began.elapsed() >= TRANSACTION_TIMEOUT => Ok(Outcome::Expired),
            Err(Failure::Fenced(error) | Failure::Fatal(error)) => Err(error),
            Err(Failure::Abort(error)) => Err(error).context("abort a transaction"),
            Err(Failure::TooLarge(_) | Failure::Tried) => anyhow::bail!("abort a transaction"),
        }
    }

    /// Serves callbacks: logs, errors, statistics.
    pub(super) fn serve(&self, timeout: Duration) {
        self.producer.poll(timeout);
    }

    /// Ends the producer, at most [`CLOSE`] long.
    pub(super) fn close(self) {
        let Self { producer, watchdog } = self;
        close::within(CLOSE, "transactional producer", move || drop(producer));
        drop(watchdog);
    }

    fn send_and_commit(
        &self,
        outputs: &Outputs,
        load: Load,
        offsets: &TopicPartitionList,
        group: &ConsumerGroupMetadata,
        deadline: &dyn Fn() -> bool,
    ) -> Result<(), Failure> {
        let together = match load {
            Load::Try(index) => {
                self.send(outputs, index)?;
                self.delivered(outputs, load, deadline)?;
                return Err(Failure::Tried);
            }
            Load::All { together } => together.max(1),
        };
        for index in 0..outputs.len() {
            self.send(outputs, index)?;
            if (index + 1).is_multiple_of(together) {
                self.delivered(outputs, load, deadline)?;
            }
        }
        // The offsets travel while the records do.
        self.retry("send_offsets_to_transaction", deadline, || {
            self.producer.send_offsets_to_transaction(offsets, group, CALL)
        })?;
        self.delivered(outputs, load, deadline)?;
        self.retry("commit_transaction", deadline, || self.producer.commit_transaction(CALL))
    }

    fn send(&self, outputs: &Outputs, index: usize) -> Result<(), Failure> {
        let output = outputs.output(index);
        loop {
            let mut record = BaseRecord::with_opaque_to(output.topic, index);
            record.key = output.key;
            record.payload = output.value;
            record.partition = output.partition;
            record.timestamp = output.timestamp_ms;
            record.headers = Some(headers::native(output.headers(), output.header_count()));
            match self.producer.send(record) {
                Ok(()) => {
                    self.deliveries().sent();
                    return Ok(());
                }
                Err((error, _)) => match error.rdkafka_error_code() {
                    // What was sent makes room.
                    Some(RDKafkaErrorCode::QueueFull) => self.nap(),
                    Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                        return Err(Failure::TooLarge(Oversize { index, alone: true }));
                    }
                    _ => return Err(self.sort(error, output.topic)),
                },
            }
        }
    }

    /// Waits for the delivery of all that was sent. Each record fails by itself at its own time-out.
    fn delivered(&self, outputs: &Outputs, load: Load, deadline: &dyn Fn() -> bool) -> Result<(), Failure> {
        self.settle(deadline);
        let Some(failures) = self.deliveries().take_failures() else { return Ok(()) };
        Err(match load.oversize(outputs, &failures) {
            Some(which) => Failure::TooLarge(which),
            None => self.sort(failures.first, ""),
        })
    }

    /// Waits until every record has its report; after the deadline, those in flight are given up.
    fn settle(&self, deadline: &dyn Fn() -> bool) {
        self.serve(Duration::ZERO);
        while self.deliveries().outstanding() > 0 {
            if deadline() {
                self.producer.purge(PurgeConfig::default().queue().inflight());
            }
            self.nap();
        }
    }

    /// Sleeps and looks. To be woken by a report costs more: rdkafka waits in whole milliseconds and spins through the
    /// rest of a time-out, also after an event.
    fn nap(&self) {
        thread::sleep(LOOK);
        self.serve(Duration::ZERO);
    }

    /// Calls again while librdkafka says that the same call may succeed; it goes on where the last one stopped.
    fn retry(
        &self,
        what: &'static str,
        deadline: &dyn Fn() -> bool,
        mut call: impl FnMut() -> KafkaResult<()>,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            match self.watchdog.guard(what, HANG, &mut call) {
                Ok(()) => return Ok(()),
                Err(error) if is_retriable(&error) && !deadline() => {
                    tracing::warn!(call = what, %error, waited = ?began.elapsed(), "transaction waits for the brokers");
                    self.serve(Duration::from_millis(100));
                }
                Err(error) => return Err(self.sort(error, what)),
            }
        }
    }

    /// Takes the transaction back. What is in flight must have its answer first: nobody else serves the reports.
    fn abort(&self, deadline: &dyn Fn() -> bool) -> Result<Option<Failures>, Failure> {
        self.producer.purge(PurgeConfig::default().queue());
        self.settle(deadline);
        let failures = self.deliveries().take_failures();
        self.retry("abort_transaction", deadline, || self.producer.abort_transaction(CALL))?;
        Ok(failures)
    }

    fn sort(&self, error: KafkaError, what: &str) -> Failure {
        if let Some((code, reason)) = self.producer.client().fatal_error() {
            use RDKafkaErrorCode::{Fenced, InvalidProducerEpoch, ProducerFenced};
            let fatal = anyhow::anyhow!("transactional producer failed for good: {code:?}: {reason}");
            return match code {
                Fenced | ProducerFenced | InvalidProducerEpoch => {
                    let fatal = fatal.context("another instance has taken over (two instances of one --instance-id?)");
                    Failure::Fenced(fatal)
                }
                _ => Failure::Fatal(fatal),
            };
        }
        match &error {
            KafkaError::Transaction(source) if source.is_fatal() => {
                Failure::Fatal(anyhow::Error::new(error).context(format!("transaction: {what}")))
            }
            // A delivery that failed makes the transaction abortable, and so does everything that is not fatal.
            _ => Failure::Abort(error),
        }
    }

    fn deliveries(&self) -> &Deliveries {
        self.producer.context()
    }
}

fn is_retriable(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(source) => source.is_retriable() && !source.txn_requires_abort() && !source.is_fatal(),
        KafkaError::Flush(code) => *code == RDKafkaErrorCode::OperationTimedOut,
        _ => false,
    }
}
