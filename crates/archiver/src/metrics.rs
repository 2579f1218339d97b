//! What the archiver measures. Every instrument has the labels `pipeline` and `topic`.

use jiff::Timestamp;
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Histogram, Meter},
};

/// Records in windows that were committed.
pub(crate) const RECORDS: &str = "archiver_records_total";
/// Bytes of files of windows that were committed.
pub(crate) const BYTES: &str = "archiver_bytes_total";
/// Records whose values are of no known schema, and are kept as bytes.
pub(crate) const UNKNOWN: &str = "archiver_unknown_records_total";
/// Windows that were committed, by `end`: `bytes`, `age`, `hour`, `files`, `idle`, `lost`.
pub(crate) const WINDOWS: &str = "archiver_windows_total";
/// Offsets that had left the topic before they were archived.
pub(crate) const LOST: &str = "archiver_lost_offsets_total";
/// Up to when all records of all partitions are archived, in seconds since 1970. Said by whoever has the first partition: the
/// largest of all replicas counts.
pub(crate) const WATERMARK: &str = "archiver_watermark_seconds";
/// Hours that were announced as complete.
pub(crate) const HOURS: &str = "archiver_complete_hours_total";
/// Records of hours that had been announced before. A replica that begins counts again what came after the last marker.
pub(crate) const LATE: &str = "archiver_late_records_total";
/// From the end of a window to its commit. Unit: seconds.
pub(crate) const COMMIT_SECONDS: &str = "archiver_commit_seconds";
/// Failed tries, by `error`: each is followed by another.
pub(crate) const RETRIES: &str = "archiver_retries_total";

/// The instruments of one topic.
#[derive(Clone)]
pub(crate) struct Metrics {
    labels: [KeyValue; 2],
    records: Counter<u64>,
    bytes: Counter<u64>,
    unknown: Counter<u64>,
    windows: Counter<u64>,
    lost: Counter<u64>,
    watermark: Gauge<u64>,
    hours: Counter<u64>,
    late: Counter<u64>,
    commit: Histogram<f64>,
    retries: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new(meter: &Meter, pipeline: &str, topic: &str) -> Self {
        Self {
            labels: [KeyValue::new("pipeline", pipeline.to_owned()), KeyValue::new("topic", topic.to_owned())],
            records: meter.u64_counter(RECORDS).build(),
            bytes: meter.u64_counter(BYTES).build(),
            unknown: meter.u64_counter(UNKNOWN).build(),
            windows: meter.u64_counter(WINDOWS).build(),
            lost: meter.u64_counter(LOST).build(),
            watermark: meter.u64_gauge(WATERMARK).with_unit("s").build(),
            hours: meter.u64_counter(HOURS).build(),
            late: meter.u64_counter(LATE).build(),
            commit: meter.f64_histogram(COMMIT_SECONDS).with_unit("s").build(),
            retries: meter.u64_counter(RETRIES).build(),
        }
    }

    pub(crate) fn committed(&self, end: &'static str, (records, bytes): (u64, u64), seconds: f64) {
        self.records.add(records, &self.labels);
        self.bytes.add(bytes, &self.labels);
        self.windows.add(1, &self.with("end", end));
        self.commit.record(seconds, &self.labels);
    }

    pub(crate) fn unknown(&self) {
        self.unknown.add(1, &self.labels);
    }

    pub(crate) fn lost(&self, offsets: u64) {
        self.lost.add(offsets, &self.labels);
    }

    pub(crate) fn watermark(&self, at: Timestamp) {
        self.watermark.record(u64::try_from(at.as_second()).unwrap_or_default(), &self.labels);
    }

    pub(crate) fn complete(&self) {
        self.hours.add(1, &self.labels);
    }

    pub(crate) fn late(&self, records: u64) {
        self.late.add(records, &self.labels);
    }

    pub(crate) fn retry(&self, error: &'static str) {
        self.retries.add(1, &self.with("error", error));
    }

    fn with(&self, name: &'static str, value: &'static str) -> [KeyValue; 3] {
        let [pipeline, topic] = self.labels.clone();
        [pipeline, topic, KeyValue::new(name, value)]
    }
}
