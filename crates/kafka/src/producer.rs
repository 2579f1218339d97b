//! The idempotent producer: a whole request is sent, and answered, at once.
//!
//! ```text
//! send_all(records) -> bound on bytes in flight -> librdkafka --acks=all--> brokers
//!        ^                                             | delivery reports, on a thread of their own
//!        +------------- one completion per call <------+  each failed record comes back with its error
//! ```
//!
//! `FutureProducer` is not used: it sleeps 100 ms between tries when its queue is full and completes each record by
//! itself. Here the queue is never full, because the bound on bytes is smaller, and a call is woken once.
#![allow(clippy::result_large_err, reason = "a failed record comes back in its error, and failing is rare")]

mod request;

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use opentelemetry::metrics::Meter;
use rdkafka::{
    ClientConfig,
    error::KafkaError,
    message::{DeliveryResult, Message},
    producer::{BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext, ThreadedProducer},
    types::RDKafkaErrorCode,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::request::{Request, Ticket};
use crate::{
    client::Client,
    context::{Context, delegate_client_context},
    error::{Error, Result},
    metrics::ProducerMetrics,
    record::Outgoing,
};

/// How a producer trades latency for throughput, and how much it holds.
#[derive(Clone, Debug)]
pub struct Config {
    /// What it is called in metrics and logs.
    pub name: String,
    /// How long a record waits for company. 5 ms is good for latency, 50 ms and more for throughput.
    pub linger: Duration,
    /// After this long without acknowledgement a record has failed. It also bounds the wait for room.
    pub message_timeout: Duration,
    /// The bound on bytes that were sent and are not acknowledged.
    pub max_in_flight_bytes: usize,
}

impl Config {
    /// The defaults: 5 ms, 10 s, 32 MiB.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            linger: Duration::from_millis(5),
            message_timeout: Duration::from_secs(10),
            max_in_flight_bytes: 32 * 1024 * 1024,
        }
    }
}

/// Where a record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acked {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

/// What became of one record: its place, or the record itself and why it failed.
pub type Sent = std::result::Result<Acked, (Outgoing, Error)>;

/// An idempotent producer with `acks=all`. Clones share it.
#[derive(Clone)]
pub struct Producer(Arc<Inner>);

struct Inner {
    client: Client,
    config: Config,
    meter: Option<Meter>,
    native: RwLock<Arc<ThreadedProducer<Deliveries>>>,
    room: Arc<Semaphore>,
    metrics: Option<ProducerMetrics>,
}

impl Producer {
    /// Makes the producer and its thread. Nothing is connected before the first record.
    pub fn new(client: &Client, config: Config, meter: Option<&Meter>) -> Result<Self> {
        let native = RwLock::new(Arc::new(create(client, &config, meter)?));
        let room = Arc::new(Semaphore::new(config.max_in_flight_bytes.min(Semaphore::MAX_PERMITS)));
        let metrics = meter.map(|meter| ProducerMetrics::new(meter, &config.name));
        Ok(Self(Arc::new(Inner { client: client.clone(), config, meter: meter.cloned(), native, room, metrics })))
    }

    /// Sends the records and waits for the brokers' acknowledgement of each. The results are in the order of the
    /// records. A failed record is handed back; whether it is in the topic is unknown where the error is
    /// [`Error::Unavailable`], and it is not there for any other error.
    ///
    /// Dropping the future takes nothing back.
    pub async fn send_all(&self, records: Vec<Outgoing>) -> Vec<Sent> {
        if records.is_empty() {
            return Vec::new();
        }
        let Some(permit) = self.room_for(&records).await else {
            return records.into_iter().map(|record| Err((record, self.fail(self.busy())))).collect();
        };
        let (request, answer) = Request::new(records, permit);
        let native = self.native();
        for index in 0..request.len() {
            self.enqueue(&native, &request, index);
        }
        drop(request);
        let sent = answer.await.unwrap_or_default();
        if let Some(metrics) = &self.0.metrics {
            metrics.in_flight(self.in_flight_bytes());
        }
        sent.into_iter().map(|result| result.map_err(|(record, error)| (record, self.fail(error)))).collect()
    }

    /// Bytes that were sent and are not acknowledged.
    pub fn in_flight_bytes(&self) -> usize {
        self.0.config.max_in_flight_bytes.saturating_sub(self.0.room.available_permits())
    }

    /// Waits until all that was sent is acknowledged or has failed, at most `timeout`.
    pub async fn flush(&self, timeout: Duration) -> Result<()> {
        let native = self.native();
        let flushed = tokio::task::spawn_blocking(move || native.flush(timeout)).await;
        match flushed {
            Ok(result) => result.map_err(|error| Error::from_kafka("flush records", error)),
            Err(_) => Err(Error::Closed),
        }
    }

    /// Room under the bound, or nothing when there is none within the message timeout. A request over the whole bound
    /// takes all of it.
    async fn room_for(&self, records: &[Outgoing]) -> Option<OwnedSemaphorePermit> {
        let size: usize = records.iter().map(Outgoing::size).sum();
        let permits = u32::try_from(size.min(self.0.config.max_in_flight_bytes)).unwrap_or(u32::MAX);
        let acquire = Arc::clone(&self.0.room).acquire_many_owned(permits);
        match tokio::time::timeout(self.0.config.message_timeout, acquire).await {
            Ok(Ok(permit)) => Some(permit),
            // The semaphore is never closed: this is the time-out.
            _ => None,
        }
    }

    /// The producer in use. One that has failed for good (the idempotent sequence is broken beyond repair) is replaced:
    /// what it had in flight is handed back as failed, and its number goes with it.
    fn native(&self) -> Arc<ThreadedProducer<Deliveries>> {
        let native = Arc::clone(&self.0.native.read().unwrap_or_else(PoisonError::into_inner));
        let Some((code, reason)) = native.client().fatal_error() else { return native };
        let mut current = self.0.native.write().unwrap_or_else(PoisonError::into_inner);
        // Another caller may have been faster.
        if Arc::ptr_eq(&current, &native) {
            tracing::error!(producer = self.0.config.name, ?code, reason, "producer failed for good and is replaced");
            match create(&self.0.client, &self.0.config, self.0.meter.as_ref()) {
                Ok(fresh) => {
                    let failed = std::mem::replace(&mut *current, Arc::new(fresh));
                    // Its end waits for its thread.
                    std::thread::spawn(move || drop(failed));
                }
                Err(error) => tracing::error!(%error, "no new producer, the failed one stays"),
            }
        }
        Arc::clone(&current)
    }

    fn enqueue(&self, producer: &ThreadedProducer<Deliveries>, request: &Arc<Request>, index: usize) {
        let ticket = Box::new(Ticket::new(request, index));
        let record = request.record(index);
        let mut native = BaseRecord::with_opaque_to(&record.topic, ticket);
        native.key = record.key.as_deref();
        native.payload = record.value.as_deref();
        native.partition = record.partition;
        native.timestamp = record.timestamp_ms;
        native.headers = record.headers.to_native();
        if let Err((error, refused)) = producer.send(native) {
            let error = match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::MessageSizeTooLarge) => Error::TooLarge { size: record.size() },
                Some(RDKafkaErrorCode::QueueFull) => self.busy(),
                _ => refusal(error, &record.topic),
            };
            refused.delivery_opaque.fail(error);
        }
    }

    fn busy(&self) -> Error {
        Error::Busy { limit: self.0.config.max_in_flight_bytes }
    }

    fn fail(&self, error: Error) -> Error {
        if let Some(metrics) = &self.0.metrics {
            metrics.failed(&error);
        }
        error
    }
}

fn create(client: &Client, config: &Config, meter: Option<&Meter>) -> Result<ThreadedProducer<Deliveries>> {
    let settings: ClientConfig = client.producer(&config.name, config.linger, config.message_timeout);
    let context = Deliveries { base: client.context(&config.name, meter) };
    settings.create_with_context(context).map_err(Error::Create)
}

fn refusal(error: KafkaError, topic: &str) -> Error {
    match error.rdkafka_error_code() {
        // The producer is replaced with the next call; whether the record is there is not known.
        Some(RDKafkaErrorCode::Fatal) => Error::Unavailable { what: "send record", source: error },
        Some(
            RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownPartition,
        ) => Error::UnknownTopic(topic.to_owned()),
        _ => Error::from_kafka("send record", error),
    }
}

/// Hands each delivery report to the request that its record belongs to.
struct Deliveries {
    base: Context,
}

delegate_client_context!(Deliveries);

impl ProducerContext<NoCustomPartitioner> for Deliveries {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        match result {
            Ok(message) => ticket.acked(Acked { partition: message.partition(), offset: message.offset() }),
            Err((error, message)) => {
                let error = match Error::from_kafka("send record", error.clone()) {
                    Error::TooLarge { .. } => Error::TooLarge { size: message.payload_len() + message.key_len() },
                    _ => refusal(error.clone(), message.topic()),
                };
                ticket.fail(error);
            }
        }
    }
}
