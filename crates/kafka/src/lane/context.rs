//! What a lane's two clients call back with.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use rdkafka::{
    Message, TopicPartitionList,
    consumer::{BaseConsumer, ConsumerContext, Rebalance},
    error::KafkaError,
    message::DeliveryResult,
    producer::{NoCustomPartitioner, ProducerContext},
    types::RDKafkaErrorCode,
};

use crate::context::{Context, delegate_client_context};

/// The consumer's side: notes which partitions came and went. Polls are the only time when they do.
pub(super) struct Partitions {
    base: Context,
    changed: AtomicBool,
    moved: Mutex<Vec<Moved>>,
}

/// A partition that came or went.
pub(super) struct Moved {
    pub(super) topic: String,
    pub(super) partition: i32,
    /// Or it went.
    pub(super) came: bool,
}

impl Partitions {
    pub(super) fn new(base: Context) -> Self {
        Self { base, changed: AtomicBool::new(false), moved: Mutex::default() }
    }

    /// Partitions that came or went since the last call, in that order. What was read of them before is not ours to finish.
    pub(super) fn take_moved(&self) -> Vec<Moved> {
        if self.changed.swap(false, Ordering::Relaxed) {
            std::mem::take(&mut *self.moved.lock().unwrap_or_else(PoisonError::into_inner))
        } else {
            Vec::new()
        }
    }

    fn note(&self, list: &TopicPartitionList, came: bool) {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        let elements = list.elements();
        let all = elements.iter().map(|element| (element.topic().to_owned(), element.partition()));
        moved.extend(all.map(|(topic, partition)| Moved { topic, partition, came }));
        self.changed.store(true, Ordering::Relaxed);
    }
}

delegate_client_context!(Partitions);

impl ConsumerContext for Partitions {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => {
                tracing::info!(partitions = list.count(), "partitions assigned");
                self.note(list, true);
            }
            Rebalance::Revoke(list) => {
                let lost = rdkafka::consumer::Consumer::assignment_lost(consumer);
                tracing::info!(partitions = list.count(), lost, "partitions revoked");
                self.note(list, false);
            }
            Rebalance::Error(error) => tracing::warn!(%error, "rebalance failed"),
        }
    }
}

/// The producer's side: counts deliveries and keeps what failed.
pub(super) struct Deliveries {
    base: Context,
    outstanding: AtomicUsize,
    failures: Mutex<Option<Failures>>,
}

/// Deliveries that failed.
pub(super) struct Failures {
    /// The first of the errors.
    pub(super) first: KafkaError,
    /// The records, by their index in the outputs, of sets that are over the topic's limit.
    pub(super) oversized: Vec<usize>,
}

impl Deliveries {
    pub(super) fn new(base: Context) -> Self {
        Self { base, outstanding: AtomicUsize::new(0), failures: Mutex::default() }
    }

    /// A record was given to librdkafka.
    pub(super) fn sent(&self) {
        self.outstanding.fetch_add(1, Ordering::Relaxed);
    }

    /// Records whose fate is not known yet.
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Relaxed)
    }

    /// What failed since the last call.
    pub(super) fn take_failures(&self) -> Option<Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

delegate_client_context!(Deliveries);

impl ProducerContext<NoCustomPartitioner> for Deliveries {
    /// The index in the outputs.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        if let Err((error, message)) = result {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            let failures = failures.get_or_insert_with(|| {
                tracing::debug!(topic = message.topic(), partition = message.partition(), %error, "record not delivered");
                Failures { first: error.clone(), oversized: Vec::new() }
            });
            if error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge) {
                failures.oversized.push(index);
            }
        }
        self.outstanding.fetch_sub(1, Ordering::Relaxed);
    }
}
