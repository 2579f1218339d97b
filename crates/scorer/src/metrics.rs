//! What the scorer measures, beside what each lane does (`kafka_lane_*`: records, transactions, dead letters by code).

use std::time::Duration;

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Histogram, Meter},
};

/// Events scored, by `pipeline` and `model`; those of an aborted transaction count again.
pub const SCORED: &str = "scorer_scored_events_total";
/// Time to score a batch, without Kafka. Unit: seconds.
pub const BATCH_SECONDS: &str = "scorer_batch_seconds";
/// An event's age when it was scored: since the gateway received it. Unit: seconds.
pub const AGE_SECONDS: &str = "scorer_event_age_seconds";
/// 1 for the model version in use, by `model` and `version`; 0 for those that were.
pub const MODEL_INFO: &str = "scorer_model_info";
/// Bundles that were found and could not be used, by `model`.
pub const MODEL_REFUSED: &str = "scorer_model_refused_total";
/// The revision of the promotion that the model in use became champion by, by `pipeline`; models from folders have none.
pub const MODEL_REVISION: &str = "scorer_model_revision";
/// Times that the registry was asked for the champion and did not say, by `pipeline`.
pub const MODEL_UNANSWERED: &str = "scorer_model_unanswered_total";
/// Batches that waited for a later revision of the model, by `pipeline` and `why`: `behind` what the partition was scored with,
/// `unanswered` by the registry.
pub const MODEL_WAITS: &str = "scorer_model_waits_total";

/// Records that a batch has scored, by `pipeline` and `model`; those of an object that fails later count as well.
pub const BATCH_RECORDS: &str = "scorer_batch_records_total";
/// Objects, or parts of them, whose scores are written, by `pipeline` and `model`.
pub const BATCH_OBJECTS: &str = "scorer_batch_objects_total";
/// Objects, or parts of them, that have no scores, by `pipeline`, `model` and `error`.
pub const BATCH_FAILED: &str = "scorer_batch_failed_objects_total";
/// Bytes of blocks of events whose scores are written, as they lie in their files, by `pipeline` and `model`.
pub const BATCH_BYTES: &str = "scorer_batch_bytes_total";
/// Time of a worker for a few blocks: to open them, to score their records, to compress the scores. Unit: seconds.
pub const BATCH_TASK_SECONDS: &str = "scorer_batch_task_seconds";

/// The instruments of one pipeline's lanes.
#[derive(Clone)]
pub struct Metrics {
    attributes: Vec<KeyValue>,
    scored: Counter<u64>,
    batch: Histogram<f64>,
    age: Histogram<f64>,
    waits: Counter<u64>,
}

impl Metrics {
    /// Instruments for a pipeline and its model.
    pub fn new(meter: &Meter, pipeline: &str, model: &str) -> Self {
        Self {
            attributes: vec![KeyValue::new("pipeline", pipeline.to_owned()), KeyValue::new("model", model.to_owned())],
            scored: meter.u64_counter(SCORED).build(),
            batch: meter.f64_histogram(BATCH_SECONDS).with_unit("s").build(),
            age: meter.f64_histogram(AGE_SECONDS).with_unit("s").build(),
            waits: meter.u64_counter(MODEL_WAITS).build(),
        }
    }

    pub(crate) fn waits(&self, why: &'static str) {
        self.waits.add(1, &[self.attributes[0].clone(), KeyValue::new("why", why)]);
    }

    pub(crate) fn batch(&self, scored: u64, time: Duration) {
        self.scored.add(scored, &self.attributes);
        self.batch.record(time.as_secs_f64(), &self.attributes);
    }

    pub(crate) fn age(&self, milliseconds: i64) {
        self.age.record(milliseconds.max(0) as f64 / 1e3, &self.attributes);
    }
}

/// The instruments of the models.
pub(crate) struct ModelMetrics {
    info: Gauge<u64>,
    refused: Counter<u64>,
    revision: Gauge<u64>,
    unanswered: Counter<u64>,
}

impl ModelMetrics {
    pub(crate) fn new(meter: &Meter) -> Self {
        Self {
            info: meter.u64_gauge(MODEL_INFO).build(),
            refused: meter.u64_counter(MODEL_REFUSED).build(),
            revision: meter.u64_gauge(MODEL_REVISION).build(),
            unanswered: meter.u64_counter(MODEL_UNANSWERED).build(),
        }
    }

    pub(crate) fn in_use(&self, model: &str, version: &str, in_use: bool) {
        let attributes = [KeyValue::new("model", model.to_owned()), KeyValue::new("version", version.to_owned())];
        self.info.record(u64::from(in_use), &attributes);
    }

    pub(crate) fn revision(&self, pipeline: &str, revision: u64) {
        self.revision.record(revision, &[KeyValue::new("pipeline", pipeline.to_owned())]);
    }

    pub(crate) fn unanswered(&self, pipeline: &str) {
        self.unanswered.add(1, &[KeyValue::new("pipeline", pipeline.to_owned())]);
    }

    pub(crate) fn refused(&self, model: &str) {
        self.refused.add(1, &[KeyValue::new("model", model.to_owned())]);
    }
}

/// The instruments of a batch.
pub(crate) struct BatchMetrics {
    attributes: Vec<KeyValue>,
    records: Counter<u64>,
    objects: Counter<u64>,
    failed: Counter<u64>,
    bytes: Counter<u64>,
    task: Histogram<f64>,
}

impl BatchMetrics {
    pub(crate) fn new(meter: &Meter, pipeline: &str, model: &str) -> Self {
        Self {
            attributes: vec![KeyValue::new("pipeline", pipeline.to_owned()), KeyValue::new("model", model.to_owned())],
            records: meter.u64_counter(BATCH_RECORDS).build(),
            objects: meter.u64_counter(BATCH_OBJECTS).build(),
            failed: meter.u64_counter(BATCH_FAILED).build(),
            bytes: meter.u64_counter(BATCH_BYTES).build(),
            task: meter.f64_histogram(BATCH_TASK_SECONDS).with_unit("s").build(),
        }
    }

    pub(crate) fn scored(&self, records: u64, time: Duration) {
        self.records.add(records, &self.attributes);
        self.task.record(time.as_secs_f64(), &self.attributes);
    }

    pub(crate) fn done(&self) {
        self.objects.add(1, &self.attributes);
    }

    pub(crate) fn failed(&self, error: &'static str) {
        let mut attributes = self.attributes.clone();
        attributes.push(KeyValue::new("error", error));
        self.failed.add(1, &attributes);
    }

    pub(crate) fn read(&self, bytes: u64) {
        self.bytes.add(bytes, &self.attributes);
    }
}
