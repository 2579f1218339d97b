//! What an engine measures.

use jiff::Timestamp;
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Histogram, Meter},
};

use crate::{
    state::TaskState,
    store::{Finished, Launch},
};

/// Attempts that were launched.
pub(crate) const LAUNCHED: &str = "scheduler_attempts_launched_total";
/// Attempts that have ended, by `outcome`: what their tasks are then; `ready` is tried again.
pub(crate) const ENDED: &str = "scheduler_attempts_ended_total";
/// Runs that have ended, by `state`.
pub(crate) const RUNS: &str = "scheduler_runs_ended_total";
/// Attempts that are carried out.
pub(crate) const LIVE: &str = "scheduler_attempts";
/// From the moment at which a task could be launched to the one at which it was. Unit: seconds.
pub(crate) const DELAY: &str = "scheduler_launch_delay_seconds";
/// Attempts that were taken over from instances that are gone.
pub(crate) const ADOPTED: &str = "scheduler_attempts_adopted_total";
/// Reports that were refused: their attempts were not alive any more.
pub(crate) const REFUSED: &str = "scheduler_reports_refused_total";

/// The instruments of an engine.
#[derive(Clone)]
pub struct Metrics {
    launched: Counter<u64>,
    ended: Counter<u64>,
    runs: Counter<u64>,
    live: Gauge<u64>,
    delay: Histogram<f64>,
    adopted: Counter<u64>,
    refused: Counter<u64>,
}

impl Metrics {
    /// Instruments of `meter`.
    pub fn new(meter: &Meter) -> Self {
        Self {
            launched: meter.u64_counter(LAUNCHED).build(),
            ended: meter.u64_counter(ENDED).build(),
            runs: meter.u64_counter(RUNS).build(),
            live: meter.u64_gauge(LIVE).build(),
            delay: meter.f64_histogram(DELAY).with_unit("s").build(),
            adopted: meter.u64_counter(ADOPTED).build(),
            refused: meter.u64_counter(REFUSED).build(),
        }
    }

    pub(super) fn launched(&self, launches: &[Launch]) {
        self.launched.add(launches.len() as u64, &[]);
        for Launch { launched_at, due_at, .. } in launches {
            self.delay.record(seconds(due_at.unwrap_or(*launched_at), *launched_at), &[]);
        }
    }

    pub(super) fn adopted(&self, attempts: usize) {
        self.adopted.add(attempts as u64, &[]);
    }

    pub(super) fn live(&self, attempts: usize) {
        self.live.record(attempts as u64, &[]);
    }

    pub(super) fn finished(&self, reports: usize, finished: &Finished) {
        self.refused.add((reports - finished.accepted.len().min(reports)) as u64, &[]);
        for done in &finished.accepted {
            self.ended.add(1, &[KeyValue::new("outcome", label(done.state))]);
        }
        for (_, state) in &finished.ended {
            self.runs.add(1, &[KeyValue::new("state", state.as_str())]);
        }
    }
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

fn label(state: TaskState) -> &'static str {
    state.as_str()
}
