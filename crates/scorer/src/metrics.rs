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

/// The instruments of one pipeline's lanes.
#[derive(Clone)]
pub struct Metrics {
    attributes: Vec<KeyValue>,
    scored: Counter<u64>,
    batch: Histogram<f64>,
    age: Histogram<f64>,
}

impl Metrics {
    /// Instruments for a pipeline and its model.
    pub fn new(meter: &Meter, pipeline: &str, model: &str) -> Self {
        Self {
            attributes: vec![KeyValue::new("pipeline", pipeline.to_owned()), KeyValue::new("model", model.to_owned())],
            scored: meter.u64_counter(SCORED).build(),
            batch: meter.f64_histogram(BATCH_SECONDS).with_unit("s").build(),
            age: meter.f64_histogram(AGE_SECONDS).with_unit("s").build(),
        }
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
}

impl ModelMetrics {
    pub(crate) fn new(meter: &Meter) -> Self {
        Self { info: meter.u64_gauge(MODEL_INFO).build(), refused: meter.u64_counter(MODEL_REFUSED).build() }
    }

    pub(crate) fn in_use(&self, model: &str, version: &str, in_use: bool) {
        let attributes = [KeyValue::new("model", model.to_owned()), KeyValue::new("version", version.to_owned())];
        self.info.record(u64::from(in_use), &attributes);
    }

    pub(crate) fn refused(&self, model: &str) {
        self.refused.add(1, &[KeyValue::new("model", model.to_owned())]);
    }
}
