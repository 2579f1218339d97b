//! What the alerter measures.

use std::time::Duration;

use millrace_core::pipeline::Rule;
use millrace_policy::Judgement;
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Histogram, Meter},
};

/// The names, with unit and meaning.
pub mod names {
    /// Verdicts, by `pipeline`, `rule` and `action`. A transaction that is aborted and done again counts twice.
    pub const VERDICTS: &str = "alerter_verdicts_total";
    /// Rules that failed to evaluate (`null > 3`) and so did not match, by `pipeline` and `rule`.
    pub const RULE_ERRORS: &str = "alerter_rule_errors_total";
    /// From an event's receipt at the gateway to its verdict, by `pipeline`. Unit: seconds.
    pub const VERDICT_AGE: &str = "alerter_verdict_age_seconds";
    /// Verdicts that raised an alert and were noted, by `pipeline` and `alert`.
    pub const ALERT_EVENTS: &str = "alerter_alert_events_total";
    /// Signals that were noted, by `kind` and `state`.
    pub const SIGNALS: &str = "alerter_signals_total";
    /// Records of verdicts and signals that were dead-lettered, by `code`.
    pub const NOTIFY_DEAD: &str = "alerter_notify_dead_letters_total";
    /// Tries to store a batch that failed and were made again, by `error`.
    pub const STORE_RETRIES: &str = "alerter_store_retries_total";
    /// Notifications that were written to the log, by `receiver` and `reason`: `firing`, `repeat`, `resolved`.
    pub const NOTIFICATIONS: &str = "alerter_notifications_total";
    /// Attempts to deliver, by `receiver` and `outcome`: `delivered`, `retried`, `failed` (given up), `disabled`.
    pub const DELIVERIES: &str = "alerter_deliveries_total";
    /// How long an attempt took, by `receiver`. Unit: seconds.
    pub const DELIVERY_SECONDS: &str = "alerter_delivery_seconds";
    /// From a notification's writing to its delivery, by `receiver`. Unit: seconds.
    pub const NOTIFICATION_AGE: &str = "alerter_notification_age_seconds";
    /// Notifications that wait to be delivered, by `receiver`.
    pub const PENDING: &str = "alerter_pending_notifications";

    /// All of them.
    pub const ALL: [&str; 12] = [
        VERDICTS,
        RULE_ERRORS,
        VERDICT_AGE,
        ALERT_EVENTS,
        SIGNALS,
        NOTIFY_DEAD,
        STORE_RETRIES,
        NOTIFICATIONS,
        DELIVERIES,
        DELIVERY_SECONDS,
        NOTIFICATION_AGE,
        PENDING,
    ];
}

/// What a lane of the judge counts. It adds up a batch and tells it at once.
pub(crate) struct JudgeMetrics {
    rules: Vec<OfRule>,
    age_labels: [KeyValue; 1],
    verdicts: Counter<u64>,
    errors: Counter<u64>,
    age: Histogram<f64>,
}

struct OfRule {
    matched: u64,
    errored: u64,
    /// pipeline, rule, action
    labels: [KeyValue; 3],
}

impl JudgeMetrics {
    pub(crate) fn new(meter: &Meter, pipeline: &str, rules: &[Rule]) -> Self {
        let pipeline = KeyValue::new("pipeline", pipeline.to_owned());
        let of = |rule: &Rule| {
            let (name, action) =
                (KeyValue::new("rule", rule.name.clone()), KeyValue::new("action", rule.action.as_str()));
            OfRule { matched: 0, errored: 0, labels: [pipeline.clone(), name, action] }
        };
        Self {
            rules: rules.iter().map(of).collect(),
            age_labels: [pipeline.clone()],
            verdicts: meter.u64_counter(names::VERDICTS).build(),
            errors: meter.u64_counter(names::RULE_ERRORS).build(),
            age: meter.f64_histogram(names::VERDICT_AGE).with_unit("s").build(),
        }
    }

    /// Notes a verdict; `age` is in milliseconds.
    pub(crate) fn judged(&mut self, judgement: &Judgement<'_>, age: i64) {
        self.rules[judgement.rule].matched += 1;
        judgement.errored.iter().for_each(|&rule| self.rules[rule].errored += 1);
        // A clock that runs ahead elsewhere gives no negative ages.
        self.age.record(age.max(0) as f64 / 1000.0, &self.age_labels);
    }

    /// Tells what was noted since the last time.
    pub(crate) fn flush(&mut self) {
        for rule in &mut self.rules {
            if rule.matched > 0 {
                self.verdicts.add(std::mem::take(&mut rule.matched), &rule.labels);
            }
            if rule.errored > 0 {
                self.errors.add(std::mem::take(&mut rule.errored), &rule.labels[..2]);
            }
        }
    }
}

/// What the loop from verdicts and signals to Postgres counts.
#[derive(Clone)]
pub(crate) struct NotifyMetrics {
    events: Counter<u64>,
    signals: Counter<u64>,
    dead: Counter<u64>,
    retries: Counter<u64>,
}

impl NotifyMetrics {
    pub(crate) fn new(meter: &Meter) -> Self {
        Self {
            events: meter.u64_counter(names::ALERT_EVENTS).build(),
            signals: meter.u64_counter(names::SIGNALS).build(),
            dead: meter.u64_counter(names::NOTIFY_DEAD).build(),
            retries: meter.u64_counter(names::STORE_RETRIES).build(),
        }
    }

    pub(crate) fn events(&self, pipeline: &str, alert: &str, count: u64) {
        let labels = [KeyValue::new("pipeline", pipeline.to_owned()), KeyValue::new("alert", alert.to_owned())];
        self.events.add(count, &labels);
    }

    pub(crate) fn signal(&self, kind: &str, state: &'static str) {
        self.signals.add(1, &[KeyValue::new("kind", kind.to_owned()), KeyValue::new("state", state)]);
    }

    pub(crate) fn dead(&self, code: &'static str) {
        self.dead.add(1, &[KeyValue::new("code", code)]);
    }

    pub(crate) fn retried(&self, error: &'static str) {
        self.retries.add(1, &[KeyValue::new("error", error)]);
    }
}

/// What telling and delivering count.
#[derive(Clone)]
pub(crate) struct DeliveryMetrics {
    notifications: Counter<u64>,
    deliveries: Counter<u64>,
    seconds: Histogram<f64>,
    age: Histogram<f64>,
    pending: Gauge<u64>,
}

impl DeliveryMetrics {
    pub(crate) fn new(meter: &Meter) -> Self {
        Self {
            notifications: meter.u64_counter(names::NOTIFICATIONS).build(),
            deliveries: meter.u64_counter(names::DELIVERIES).build(),
            seconds: meter.f64_histogram(names::DELIVERY_SECONDS).with_unit("s").build(),
            age: meter.f64_histogram(names::NOTIFICATION_AGE).with_unit("s").build(),
            pending: meter.u64_gauge(names::PENDING).build(),
        }
    }

    pub(crate) fn told(&self, receiver: &str, reason: &'static str) {
        self.notifications.add(1, &[of(receiver), KeyValue::new("reason", reason)]);
    }

    pub(crate) fn attempted(&self, receiver: &str, outcome: &'static str, took: Duration) {
        self.deliveries.add(1, &[of(receiver), KeyValue::new("outcome", outcome)]);
        self.seconds.record(took.as_secs_f64(), &[of(receiver)]);
    }

    pub(crate) fn delivered(&self, receiver: &str, age: f64) {
        self.age.record(age.max(0.0), &[of(receiver)]);
    }

    pub(crate) fn pending(&self, receiver: &str, count: u64) {
        self.pending.record(count, &[of(receiver)]);
    }
}

fn of(receiver: &str) -> KeyValue {
    KeyValue::new("receiver", receiver.to_owned())
}
