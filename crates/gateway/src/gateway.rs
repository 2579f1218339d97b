//! The gateway itself, whatever the protocol: a batch in, one answer per event out.
//!
//! ```text
//! Batch --prepare: route, plan, rate, check and encode--> Sealed --publish: Kafka, bounded wait--> [Answer]
//! ```
//!
//! A spool that outlives an outage of Kafka has its place in [`Gateway::publish`]: it would take the records of a
//! `Sealed` batch when the brokers do not acknowledge in time, durably, and let go of each on the broker's
//! acknowledgement only. Until then those events are answered as unknown, and nothing is called accepted.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use millrace_kafka::producer::{Producer, Sent};
use tokio::time::Instant;
use tracing::{error, info};

use crate::{
    Answer, Error, Incoming, Limits, Outcome, Rejection, Result,
    admission::Admission,
    keys::Key,
    metrics::Metrics,
    prepare::{Prepared, Receipt, prepare},
    routes::{Route, Routes, SchemaName},
};

/// What requests are answered with; shared by all of them.
pub(crate) struct Gateway {
    pub(crate) routes: Routes,
    pub(crate) producer: Producer,
    pub(crate) admission: Admission,
    pub(crate) metrics: Metrics,
    pub(crate) limits: Arc<Limits>,
}

/// The schema of a batch: named, or sent along.
pub(crate) enum Writer {
    Named(SchemaName),
    Sent(millrace_schema::Schema),
}

/// What came in, read and not yet looked at: no more events than a batch may have.
pub(crate) struct Batch {
    pub(crate) pipeline: String,
    pub(crate) writer: Writer,
    pub(crate) events: Vec<Incoming>,
    pub(crate) traceparent: Bytes,
}

/// Checked and encoded: all that is left is to hand it to Kafka.
pub(crate) struct Sealed {
    route: Arc<Route>,
    key: Arc<Key>,
    prepared: Prepared,
    bytes: usize,
}

impl Batch {
    /// Bytes of its events.
    pub(crate) fn bytes(&self) -> usize {
        self.events.iter().map(|event| event.payload.len()).sum()
    }
}

impl Gateway {
    /// The pipeline, when the key may publish to it; the answer does not tell apart what is missing and what is hidden.
    pub(crate) fn route(&self, key: &Key, pipeline: &str) -> Result<&Arc<Route>> {
        let route = self.routes.get(pipeline).filter(|_| key.may_publish_to(pipeline));
        route.ok_or_else(|| Error::PipelineUnknown(pipeline.to_owned()))
    }

    /// Checks and encodes. Nothing of a batch that is refused here was sent.
    pub(crate) async fn prepare(&self, key: &Arc<Key>, batch: Batch) -> Result<Sealed> {
        let bytes = batch.bytes();
        let Batch { pipeline, writer, events, traceparent } = batch;
        let route = Arc::clone(self.route(key, &pipeline)?);
        let plan = match writer {
            Writer::Named(name) => route.plan(name).await?,
            Writer::Sent(schema) => route.plan_of(&schema).await?,
        };
        let prepared = prepare(events, &plan, &Receipt::now(traceparent), self.limits.max_event_bytes);
        Ok(Sealed { route, key: Arc::clone(key), prepared, bytes })
    }

    /// Publishes, and answers when the fate of each record is known, or at `deadline`: what Kafka has not acknowledged by
    /// then may be written or not.
    pub(crate) async fn publish(&self, sealed: Sealed, deadline: Instant) -> Vec<Answer> {
        let Sealed { route, key, prepared, bytes } = sealed;
        let Prepared { records, mut answers, pending } = prepared;
        if !records.is_empty() {
            let sent = tokio::time::timeout_at(deadline, self.producer.send_all(records)).await;
            match sent {
                Ok(results) => {
                    for (index, result) in pending.into_iter().zip(results) {
                        answers[index].outcome = outcome(result);
                    }
                }
                Err(_elapsed) => {
                    for index in pending {
                        answers[index].outcome = Outcome::Unknown("Kafka did not acknowledge it in time".to_owned());
                    }
                }
            }
        }
        self.metrics.answered(route.name(), &answers, bytes);
        log(&route, &key, &answers);
        answers
    }

    /// When a request that began now has to be answered at the latest, where the client says how long it waits.
    pub(crate) fn deadline(&self, patience: Option<Duration>) -> Instant {
        let most = self.limits.publish_timeout();
        Instant::now() + patience.map_or(most, |patience| most.min(patience.mul_f64(PATIENCE)))
    }
}

/// The part of a client's patience that may be spent on waiting: the answer has a way to go.
const PATIENCE: f64 = 0.9;

fn outcome(sent: Sent) -> Outcome {
    match sent {
        Ok(_) => Outcome::Accepted,
        Err((record, millrace_kafka::Error::TooLarge { .. })) => Outcome::Rejected(Rejection {
            code: millrace_core::Code::TooLarge,
            path: String::new(),
            message: format!("event of {} bytes is over what the brokers take", record.size()),
        }),
        // Whatever else it is, the client can only do one thing: the same again, with the same id.
        Err((_, error)) => Outcome::Unknown(error.to_string()),
    }
}

/// One line for a request with events that were not accepted, with the first of them.
fn log(route: &Route, key: &Key, answers: &[Answer]) {
    let bad = || answers.iter().filter(|answer| answer.outcome != Outcome::Accepted);
    let Some(first) = bad().next() else { return };
    let (pipeline, key, correlation_id, events) = (&**route.name(), key.id, &first.correlation_id, answers.len());
    match &first.outcome {
        Outcome::Accepted => {}
        Outcome::Rejected(Rejection { code, path, message }) => {
            let rejected = bad().count();
            info!(pipeline, %key, correlation_id, events, rejected, %code, path, detail = message, "events rejected");
        }
        Outcome::Unknown(message) => {
            let unknown = bad().filter(|answer| answer.outcome.is_unknown()).count();
            error!(pipeline, %key, correlation_id, events, unknown, detail = message, "events not acknowledged by Kafka");
        }
    }
}
