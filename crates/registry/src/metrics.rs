//! What the registry measures.

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram, Meter, UpDownCounter},
};

/// Seconds from a REST request's headers to its answer, by `route` and `status`.
pub const REQUEST_DURATION: &str = "registry_request_duration_seconds";
/// Registrations, by `outcome`: `new`, `known`, or the tag of the error.
pub const REGISTRATIONS: &str = "registry_registrations_total";
/// Open Watch streams.
pub const WATCHERS: &str = "registry_watchers";

/// The instruments.
#[derive(Clone)]
pub(crate) struct Metrics {
    request: Histogram<f64>,
    registrations: Counter<u64>,
    watchers: UpDownCounter<i64>,
}

impl Metrics {
    pub(crate) fn new(meter: &Meter) -> Self {
        Self {
            request: meter
                .f64_histogram(REQUEST_DURATION)
                .with_unit("s")
                .with_description("Duration of REST requests")
                .build(),
            registrations: meter
                .u64_counter(REGISTRATIONS)
                .with_description("Registrations of schemas by outcome")
                .build(),
            watchers: meter.i64_up_down_counter(WATCHERS).with_description("Open Watch streams").build(),
        }
    }

    pub(crate) fn request(&self, route: &str, status: u16, seconds: f64) {
        let attributes = [KeyValue::new("route", route.to_owned()), KeyValue::new("status", i64::from(status))];
        self.request.record(seconds, &attributes);
    }

    pub(crate) fn registration(&self, outcome: &'static str) {
        self.registrations.add(1, &[KeyValue::new("outcome", outcome)]);
    }

    /// Counts a stream until what is returned is dropped.
    pub(crate) fn watcher(&self) -> Watching {
        self.watchers.add(1, &[]);
        Watching(self.watchers.clone())
    }
}

/// One open stream.
pub(crate) struct Watching(UpDownCounter<i64>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.add(-1, &[]);
    }
}
