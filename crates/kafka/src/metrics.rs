//! What this crate measures.

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Histogram, Meter},
};
use rdkafka::Statistics;

/// Records that wait in a client: to be sent and acknowledged, or prefetched. Unit: records.
pub const CLIENT_QUEUE_RECORDS: &str = "kafka_client_queue_records";
/// Bytes of those records that wait in a producer.
pub const CLIENT_QUEUE_BYTES: &str = "kafka_client_queue_bytes";
/// The 99th percentile of a broker's round trip as a client saw it; the worst broker. Unit: seconds.
pub const CLIENT_BROKER_RTT: &str = "kafka_client_broker_rtt_seconds";
/// Rebalances that a consumer took part in since its start.
pub const CLIENT_REBALANCES: &str = "kafka_client_rebalances";
/// Partitions that a consumer holds.
pub const CLIENT_ASSIGNED: &str = "kafka_client_assigned_partitions";
/// Records that a producer could not send, by `error`.
pub const PRODUCER_FAILED: &str = "kafka_producer_failed_records_total";
/// Bytes in flight in a producer, of its own bound.
pub const PRODUCER_IN_FLIGHT: &str = "kafka_producer_in_flight_bytes";
/// Offsets that had left a topic before a source read them, by `source` and `topic`.
pub const SOURCE_LOST: &str = "kafka_source_lost_offsets_total";
/// How often a topic ended before what a source had read of it: its end was lost. By `source` and `topic`.
pub const SOURCE_BEYOND: &str = "kafka_source_beyond_end_total";
/// Records that a lane read, processed and committed.
pub const LANE_RECORDS: &str = "kafka_lane_records_total";
/// Records of a lane's transactions that were skipped: redriven for another group.
pub const LANE_SKIPPED: &str = "kafka_lane_skipped_records_total";
/// Dead letters that a lane committed, by `stage` and `code`.
pub const LANE_DEAD: &str = "kafka_lane_dead_letters_total";
/// Transactions of a lane by `outcome`: `committed`, `aborted`.
pub const LANE_TRANSACTIONS: &str = "kafka_lane_transactions_total";
/// From the first record of a batch in hand to its commit. Unit: seconds.
pub const LANE_TRANSACTION_SECONDS: &str = "kafka_lane_transaction_seconds";
/// 1 while a lane waits for a dependency that is away.
pub const LANE_HELD_BACK: &str = "kafka_lane_held_back";

/// librdkafka's own state, as it reports it every few seconds.
pub(crate) struct ClientMetrics {
    client: KeyValue,
    queue_records: Gauge<u64>,
    queue_bytes: Gauge<u64>,
    rtt: Gauge<f64>,
    rebalances: Gauge<u64>,
    assigned: Gauge<u64>,
}

impl ClientMetrics {
    pub(crate) fn new(meter: &Meter, client: &str) -> Self {
        Self {
            client: KeyValue::new("client", client.to_owned()),
            queue_records: meter.u64_gauge(CLIENT_QUEUE_RECORDS).build(),
            queue_bytes: meter.u64_gauge(CLIENT_QUEUE_BYTES).build(),
            rtt: meter.f64_gauge(CLIENT_BROKER_RTT).build(),
            rebalances: meter.u64_gauge(CLIENT_REBALANCES).build(),
            assigned: meter.u64_gauge(CLIENT_ASSIGNED).build(),
        }
    }

    pub(crate) fn record(&self, statistics: &Statistics) {
        let client = std::slice::from_ref(&self.client);
        // The partitions of a consumer share one queue, and each reports all of it.
        let prefetched = statistics
            .topics
            .values()
            .flat_map(|topic| topic.partitions.values())
            .map(|partition| partition.fetchq_cnt.max(0))
            .max()
            .unwrap_or(0);
        self.queue_records.record(statistics.msg_cnt + prefetched as u64, client);
        self.queue_bytes.record(statistics.msg_size, client);
        let worst = statistics.brokers.values().filter_map(|broker| broker.rtt.as_ref()).map(|rtt| rtt.p99).max();
        self.rtt.record(worst.unwrap_or(0) as f64 / 1e6, client);
        if let Some(group) = &statistics.cgrp {
            self.rebalances.record(group.rebalance_cnt.max(0) as u64, client);
            self.assigned.record(group.assignment_size.max(0) as u64, client);
        }
    }
}

/// What a producer measures.
pub(crate) struct ProducerMetrics {
    client: String,
    failed: Counter<u64>,
    in_flight: Gauge<u64>,
}

impl ProducerMetrics {
    pub(crate) fn new(meter: &Meter, client: &str) -> Self {
        Self {
            client: client.to_owned(),
            failed: meter.u64_counter(PRODUCER_FAILED).build(),
            in_flight: meter.u64_gauge(PRODUCER_IN_FLIGHT).with_unit("By").build(),
        }
    }

    pub(crate) fn failed(&self, error: &crate::Error) {
        self.failed.add(1, &[KeyValue::new("client", self.client.clone()), KeyValue::new("error", error.tag())]);
    }

    pub(crate) fn in_flight(&self, bytes: usize) {
        self.in_flight.record(bytes as u64, &[KeyValue::new("client", self.client.clone())]);
    }
}

/// What a source measures.
pub(crate) struct SourceMetrics {
    source: String,
    lost: Counter<u64>,
    beyond: Counter<u64>,
}

impl SourceMetrics {
    pub(crate) fn new(meter: &Meter, source: &str) -> Self {
        Self {
            source: source.to_owned(),
            lost: meter.u64_counter(SOURCE_LOST).build(),
            beyond: meter.u64_counter(SOURCE_BEYOND).build(),
        }
    }

    pub(crate) fn lost(&self, topic: &str, offsets: u64) {
        self.lost.add(offsets, &self.labels(topic));
    }

    pub(crate) fn beyond(&self, topic: &str) {
        self.beyond.add(1, &self.labels(topic));
    }

    fn labels(&self, topic: &str) -> [KeyValue; 2] {
        [KeyValue::new("source", self.source.clone()), KeyValue::new("topic", topic.to_owned())]
    }
}

/// What a lane measures.
pub(crate) struct LaneMetrics {
    attributes: Vec<KeyValue>,
    records: Counter<u64>,
    skipped: Counter<u64>,
    dead: Counter<u64>,
    transactions: Counter<u64>,
    seconds: Histogram<f64>,
    held_back: Gauge<u64>,
}

impl LaneMetrics {
    pub(crate) fn new(meter: &Meter, service: &'static str, pipeline: &str, lane: usize) -> Self {
        Self {
            attributes: vec![
                KeyValue::new("service", service),
                KeyValue::new("pipeline", pipeline.to_owned()),
                KeyValue::new("lane", lane as i64),
            ],
            records: meter.u64_counter(LANE_RECORDS).build(),
            skipped: meter.u64_counter(LANE_SKIPPED).build(),
            dead: meter.u64_counter(LANE_DEAD).build(),
            transactions: meter.u64_counter(LANE_TRANSACTIONS).build(),
            seconds: meter.f64_histogram(LANE_TRANSACTION_SECONDS).with_unit("s").build(),
            held_back: meter.u64_gauge(LANE_HELD_BACK).build(),
        }
    }

    pub(crate) fn committed(&self, records: usize, skipped: usize, seconds: f64) {
        self.records.add(records as u64, &self.attributes);
        if skipped > 0 {
            self.skipped.add(skipped as u64, &self.attributes);
        }
        self.seconds.record(seconds, &self.attributes);
        self.transactions.add(1, &self.with(&[KeyValue::new("outcome", "committed")]));
    }

    pub(crate) fn aborted(&self) {
        self.transactions.add(1, &self.with(&[KeyValue::new("outcome", "aborted")]));
    }

    pub(crate) fn dead(&self, stage: &'static str, code: millrace_core::Code) {
        self.dead.add(1, &self.with(&[KeyValue::new("stage", stage), KeyValue::new("code", code.as_str())]));
    }

    pub(crate) fn held_back(&self, held_back: bool) {
        self.held_back.record(u64::from(held_back), &self.attributes);
    }

    fn with(&self, more: &[KeyValue]) -> Vec<KeyValue> {
        self.attributes.iter().chain(more).cloned().collect()
    }
}
