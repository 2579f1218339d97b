//! Rebalances as messages: librdkafka's callback only notes them, and the one loop that owns the consumer acts. Once that
//! loop has ended, the callback answers the group itself, or closing the consumer would wait for an answer for ever.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rdkafka::{
    TopicPartitionList,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    types::RDKafkaRespErr,
};

use crate::context::{Context, delegate_client_context};

/// What the group wants.
pub(super) enum Rebalance {
    Assign(TopicPartitionList),
    Revoke(TopicPartitionList),
}

/// The context of a source's consumer.
pub(super) struct SourceContext {
    base: Context,
    pending: Mutex<VecDeque<Rebalance>>,
    /// The loop has ended.
    ended: AtomicBool,
}

impl SourceContext {
    pub(super) fn new(base: Context) -> Self {
        Self { base, pending: Mutex::default(), ended: AtomicBool::new(false) }
    }

    /// The oldest rebalance that nobody has acted on.
    pub(super) fn take(&self) -> Option<Rebalance> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Whether the group waits for nothing.
    pub(super) fn is_settled(&self) -> bool {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The loop acts no longer; what it has not taken it still takes.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

delegate_client_context!(SourceContext);

impl ConsumerContext for SourceContext {
    /// Neither assigns nor unassigns: the group waits until the loop has done it.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, kind: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        if self.ended.load(Ordering::Relaxed) {
            give_up(consumer, partitions);
            return;
        }
        let rebalance = match kind {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Rebalance::Assign(partitions.clone()),
            _ => Rebalance::Revoke(partitions.clone()),
        };
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).push_back(rebalance);
    }
}

/// Gives partitions back without a caller who could be asked; all, where these alone are refused.
pub(super) fn give_up(consumer: &BaseConsumer<SourceContext>, partitions: &TopicPartitionList) {
    if let Err(error) = consumer.incremental_unassign(partitions).or_else(|_| consumer.unassign()) {
        tracing::debug!(%error, "partitions not given up");
    }
}
