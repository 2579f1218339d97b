//! What the importer measures. Every instrument has the labels `pipeline` and `feed` (`scores`, `verdicts`, `objects`).

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Histogram, Meter},
};

/// Rows that were stored and were not there before.
pub const STORED: &str = "importer_stored_rows_total";
/// Rows that took the place of an earlier one of the same id.
pub const REPLACED: &str = "importer_replaced_rows_total";
/// Rows that were not stored: one of the same id with the same or a later time was there, or in the same batch.
pub const LOST: &str = "importer_lost_rows_total";
/// Records that went to the dead letters, by `code`.
pub const DEAD: &str = "importer_dead_letters_total";
/// Rows of a transaction.
pub const BATCH_ROWS: &str = "importer_batch_rows";
/// From the begin to the commit of a transaction. Unit: seconds.
pub const TRANSACTION_SECONDS: &str = "importer_transaction_seconds";
/// From the gateway's receipt of an event to its commit in Postgres. Unit: seconds.
pub const AGE_SECONDS: &str = "importer_age_seconds";
/// Records between the group's offset and the end of the topic.
pub const LAG: &str = "importer_lag_records";
/// Batches that another importer had stored already, in whole or in part.
pub const FENCED: &str = "importer_fenced_batches_total";
/// Failed tries, by `error`: each is followed by another.
pub const RETRIES: &str = "importer_retries_total";
/// Records of objects that could not be stored.
pub const DEAD_ROWS: &str = "importer_object_dead_rows_total";
/// Messages that were received, of which one may be received several times.
pub const MESSAGES: &str = "importer_messages_total";
/// Objects that messages spoke of, by `outcome`: imported, already (in), gone, busy (at another importer).
pub const OBJECTS: &str = "importer_objects_total";
/// Tries of a message that failed for a reason of its own; it came again.
pub const FAILED: &str = "importer_failed_messages_total";
/// Messages that were dead-lettered, by `code`.
pub const BURIED: &str = "importer_dead_messages_total";
/// 1 while the feed waits for Postgres, Kafka or the registry.
pub const HELD_BACK: &str = "importer_held_back";

/// The instruments of one feed.
#[derive(Clone)]
pub struct Metrics {
    labels: [KeyValue; 2],
    stored: Counter<u64>,
    replaced: Counter<u64>,
    lost: Counter<u64>,
    dead: Counter<u64>,
    batch_rows: Histogram<u64>,
    seconds: Histogram<f64>,
    age: Histogram<f64>,
    lag: Gauge<u64>,
    fenced: Counter<u64>,
    retries: Counter<u64>,
    held_back: Gauge<u64>,
    dead_rows: Counter<u64>,
}

/// The instruments of a queue of notifications.
#[derive(Clone)]
pub struct ObjectMetrics {
    messages: Counter<u64>,
    objects: Counter<u64>,
    failed: Counter<u64>,
    buried: Counter<u64>,
}

impl ObjectMetrics {
    pub(crate) fn new(meter: &Meter) -> Self {
        Self {
            messages: meter.u64_counter(MESSAGES).build(),
            objects: meter.u64_counter(OBJECTS).build(),
            failed: meter.u64_counter(FAILED).build(),
            buried: meter.u64_counter(BURIED).build(),
        }
    }

    pub(crate) fn received(&self) {
        self.messages.add(1, &[]);
    }

    pub(crate) fn object(&self, outcome: &'static str) {
        self.objects.add(1, &[KeyValue::new("outcome", outcome)]);
    }

    pub(crate) fn failed(&self) {
        self.failed.add(1, &[]);
    }

    pub(crate) fn buried(&self, code: millrace_core::Code) {
        self.buried.add(1, &[KeyValue::new("code", code.as_str())]);
    }
}

impl Metrics {
    /// Instruments of `meter` for a pipeline's feed.
    pub fn new(meter: &Meter, pipeline: &str, feed: &'static str) -> Self {
        Self {
            labels: [KeyValue::new("pipeline", pipeline.to_owned()), KeyValue::new("feed", feed)],
            stored: meter.u64_counter(STORED).build(),
            replaced: meter.u64_counter(REPLACED).build(),
            lost: meter.u64_counter(LOST).build(),
            dead: meter.u64_counter(DEAD).build(),
            batch_rows: meter.u64_histogram(BATCH_ROWS).build(),
            seconds: meter.f64_histogram(TRANSACTION_SECONDS).with_unit("s").build(),
            age: meter.f64_histogram(AGE_SECONDS).with_unit("s").build(),
            lag: meter.u64_gauge(LAG).build(),
            fenced: meter.u64_counter(FENCED).build(),
            retries: meter.u64_counter(RETRIES).build(),
            held_back: meter.u64_gauge(HELD_BACK).build(),
            dead_rows: meter.u64_counter(DEAD_ROWS).build(),
        }
    }

    pub(crate) fn dead_rows(&self, rows: u64) {
        if rows > 0 {
            self.dead_rows.add(rows, &self.labels);
        }
    }

    pub(crate) fn committed(&self, stored: crate::store::Stored, seconds: f64) {
        self.stored.add(stored.inserted, &self.labels);
        if stored.replaced > 0 {
            self.replaced.add(stored.replaced, &self.labels);
        }
        self.batch_rows.record(stored.staged, &self.labels);
        self.seconds.record(seconds, &self.labels);
        self.held_back.record(0, &self.labels);
    }

    pub(crate) fn lost(&self, rows: u64) {
        if rows > 0 {
            self.lost.add(rows, &self.labels);
        }
    }

    /// The ages of the rows of a batch, from their receipts (ms since 1970).
    pub(crate) fn ages(&self, receipts: impl Iterator<Item = i64>, now_ms: i64) {
        for received in receipts {
            self.age.record((now_ms - received).max(0) as f64 / 1000.0, &self.labels);
        }
    }

    pub(crate) fn dead(&self, code: millrace_core::Code) {
        self.dead.add(1, &self.with(KeyValue::new("code", code.as_str())));
    }

    pub(crate) fn lag(&self, records: u64) {
        self.lag.record(records, &self.labels);
    }

    pub(crate) fn fenced(&self) {
        self.fenced.add(1, &self.labels);
    }

    pub(crate) fn retry(&self, error: &'static str) {
        self.retries.add(1, &self.with(KeyValue::new("error", error)));
        self.held_back.record(1, &self.labels);
    }

    pub(crate) fn goes_on(&self) {
        self.held_back.record(0, &self.labels);
    }

    fn with(&self, label: KeyValue) -> Vec<KeyValue> {
        self.labels.iter().cloned().chain([label]).collect()
    }
}
