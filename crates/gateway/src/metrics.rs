//! What the gateway measures.

use std::{sync::Arc, time::Duration};

use millrace_core::Code;
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram, Meter, UpDownCounter},
};

use crate::{Answer, Error, Outcome};

/// Events that are durable in Kafka, by `pipeline`.
pub const ACCEPTED: &str = "gateway_events_accepted_total";
/// Events that were refused, by `pipeline` and `code`.
pub const REJECTED: &str = "gateway_events_rejected_total";
/// Events whose fate the gateway could not tell, by `pipeline`.
pub const UNKNOWN: &str = "gateway_events_unknown_total";
/// Whole requests that were refused, by `protocol`, `code` and `reason`.
pub const REFUSED: &str = "gateway_requests_refused_total";
/// From the head of a request (a batch, in a stream) to its answer, by `protocol` and `outcome`. Unit: seconds.
pub const REQUEST_SECONDS: &str = "gateway_request_seconds";
/// Bytes of events as they were sent, decompressed, by `pipeline`.
pub const RECEIVED_BYTES: &str = "gateway_received_bytes_total";
/// Requests under way, by `protocol`; a stream is one.
pub const IN_FLIGHT: &str = "gateway_requests_in_flight";
/// Look-ups of API keys in Postgres, by `outcome`: `found`, `unknown`, `failed`. The cache answers the others.
pub const KEY_LOOKUPS: &str = "gateway_key_lookups_total";

/// How a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    Grpc,
    Stream,
}

impl Protocol {
    fn label(self) -> KeyValue {
        KeyValue::new(
            "protocol",
            match self {
                Self::Http => "http",
                Self::Grpc => "grpc",
                Self::Stream => "grpc_stream",
            },
        )
    }
}

/// The instruments; cheap to clone.
#[derive(Clone)]
pub(crate) struct Metrics {
    accepted: Counter<u64>,
    rejected: Counter<u64>,
    unknown: Counter<u64>,
    refused: Counter<u64>,
    seconds: Histogram<f64>,
    bytes: Counter<u64>,
    in_flight: UpDownCounter<i64>,
    lookups: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new(meter: &Meter) -> Self {
        Self {
            accepted: meter.u64_counter(ACCEPTED).build(),
            rejected: meter.u64_counter(REJECTED).build(),
            unknown: meter.u64_counter(UNKNOWN).build(),
            refused: meter.u64_counter(REFUSED).build(),
            seconds: meter.f64_histogram(REQUEST_SECONDS).with_unit("s").build(),
            bytes: meter.u64_counter(RECEIVED_BYTES).with_unit("By").build(),
            in_flight: meter.i64_up_down_counter(IN_FLIGHT).build(),
            lookups: meter.u64_counter(KEY_LOOKUPS).build(),
        }
    }

    /// Counts what became of a batch: few additions, however many events.
    pub(crate) fn answered(&self, pipeline: &Arc<str>, answers: &[Answer], bytes: usize) {
        let pipeline = KeyValue::new("pipeline", Arc::clone(pipeline));
        let labels = std::slice::from_ref(&pipeline);
        let accepted = answers.iter().filter(|answer| answer.outcome == Outcome::Accepted).count();
        self.accepted.add(accepted as u64, labels);
        self.bytes.add(bytes as u64, labels);
        if accepted == answers.len() {
            return;
        }
        for answer in answers {
            match &answer.outcome {
                Outcome::Accepted => {}
                Outcome::Unknown(_) => self.unknown.add(1, labels),
                Outcome::Rejected(why) => self.rejected.add(1, &[pipeline.clone(), code(why.code)]),
            }
        }
    }

    /// Counts a refused request.
    pub(crate) fn refused(&self, protocol: Protocol, error: &Error) {
        self.refused.add(1, &[protocol.label(), code(error.code()), KeyValue::new("reason", error.tag())]);
    }

    /// Records how long a request took.
    pub(crate) fn took(&self, protocol: Protocol, outcome: &'static str, time: Duration) {
        self.seconds.record(time.as_secs_f64(), &[protocol.label(), KeyValue::new("outcome", outcome)]);
    }

    /// Counts a look-up in Postgres.
    pub(crate) fn key_lookup(&self, outcome: &'static str) {
        self.lookups.add(1, &[KeyValue::new("outcome", outcome)]);
    }

    /// Counts a request as under way until the guard is dropped.
    pub(crate) fn begin(&self, protocol: Protocol) -> InFlight {
        self.in_flight.add(1, &[protocol.label()]);
        InFlight { counter: self.in_flight.clone(), protocol }
    }
}

fn code(code: Code) -> KeyValue {
    KeyValue::new("code", code.as_str())
}

/// A request under way.
pub(crate) struct InFlight {
    counter: UpDownCounter<i64>,
    protocol: Protocol,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.counter.add(-1, &[self.protocol.label()]);
    }
}
