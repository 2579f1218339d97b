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
};

use crate::context::{Context, delegate_client_context};

/// The consumer's side: notes which partitions came and went. Polls are the only time when they do.
pub(super) struct Partitions {
    base: Context,
    changed: AtomicBool,
    moved: Mutex<Vec<(String, i32)>>,
}

impl Partitions {
    pub(super) fn new(base: Context) -> Self {
        Self { base, changed: AtomicBool::new(false), moved: Mutex::default() }
    }

    /// Partitions that came or went since the last call. What was read of them before is not ours to finish.
    pub(super) fn take_moved(&self) -> Vec<(String, i32)> {
        if self.changed.swap(false, Ordering::Relaxed) {
            std::mem::take(&mut *self.moved.lock().unwrap_or_else(PoisonError::into_inner))
        } else {
            Vec::new()
        }
    }

    fn note(&self, list: &TopicPartitionList) {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        moved.extend(list.elements().iter().map(|element| (element.topic().to_owned(), element.partition())));
        self.changed.store(true, Ordering::Relaxed);
    }
}

delegate_client_context!(Partitions);

impl ConsumerContext for Partitions {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => {
                tracing::info!(partitions = list.count(), "partitions assigned");
                self.note(list);
            }
            Rebalance::Revoke(list) => {
                let lost = rdkafka::consumer::Consumer::assignment_lost(consumer);
                tracing::info!(partitions = list.count(), lost, "partitions revoked");
                self.note(list);
            }
            Rebalance::Error(error) => tracing::warn!(%error, "rebalance failed"),
        }
    }
}

/// The producer's side: counts deliveries and keeps the first failure.
pub(super) struct Deliveries {
    base: Context,
    outstanding: AtomicUsize,
    failure: Mutex<Option<(usize, KafkaError)>>,
}

impl Deliveries {
    pub(super) fn new(base: Context) -> Self {
        Self { base, outstanding: AtomicUsize::new(0), failure: Mutex::default() }
    }

    /// A record was given to librdkafka.
    pub(super) fn sent(&self) {
        self.outstanding.fetch_add(1, Ordering::Relaxed);
    }

    /// Records whose fate is not known yet.
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Relaxed)
    }

    /// The first record that failed since the last call, by its index in the outputs.
    pub(super) fn take_failure(&self) -> Option<(usize, KafkaError)> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

delegate_client_context!(Deliveries);

impl ProducerContext<NoCustomPartitioner> for Deliveries {
    /// The index in the outputs.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        if let Err((error, message)) = result {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            if failure.is_none() {
                tracing::debug!(topic = message.topic(), partition = message.partition(), %error, "record not delivered");
                *failure = Some((index, error.clone()));
            }
        }
        self.outstanding.fetch_sub(1, Ordering::Relaxed);
    }
}
