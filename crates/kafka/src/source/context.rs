//! Rebalances as messages: librdkafka's callback only notes them, and the one loop that owns the consumer acts.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use rdkafka::{
    TopicPartitionList,
    consumer::{BaseConsumer, ConsumerContext},
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
}

impl SourceContext {
    pub(super) fn new(base: Context) -> Self {
        Self { base, pending: Mutex::default() }
    }

    /// The oldest rebalance that nobody has acted on.
    pub(super) fn take(&self) -> Option<Rebalance> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

delegate_client_context!(SourceContext);

impl ConsumerContext for SourceContext {
    /// Neither assigns nor unassigns: the group waits until the loop has done it.
    fn rebalance(&self, _: &BaseConsumer<Self>, kind: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let rebalance = match kind {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Rebalance::Assign(partitions.clone()),
            _ => Rebalance::Revoke(partitions.clone()),
        };
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).push_back(rebalance);
    }
}
