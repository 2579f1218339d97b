//! How the stack does: rates from the services' own metrics, lag from Kafka.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use millrace_core::{Pipeline, Source};
use millrace_devstack::{self as devstack, Part, Ports};
use millrace_kafka::Admin;
use serde::Serialize;

use super::metrics::{Histogram, Samples};
use crate::Output;

/// A counter of a service's metrics page.
struct Counter {
    name: &'static str,
    part: Part,
    metric: &'static str,
    labels: &'static [(&'static str, &'static str)],
}

/// The way of an event, in its order.
const FLOW: [Counter; 4] = [
    Counter { name: "accepted", part: Part::Gateway, metric: "gateway_events_accepted_total", labels: &[] },
    Counter {
        name: "scored",
        part: Part::Scorer,
        metric: "kafka_lane_records_total",
        labels: &[("service", "scorer")],
    },
    Counter {
        name: "stored",
        part: Part::Importer,
        metric: "importer_stored_rows_total",
        labels: &[("feed", "scores")],
    },
    Counter {
        name: "quarantined",
        part: Part::Alerter,
        metric: "alerter_verdicts_total",
        labels: &[("action", "quarantine")],
    },
];

/// From a record's receipt at the gateway to its verdict.
const AGE: &str = "alerter_verdict_age_seconds";

/// Who reads what: its name here, the service's name in its group's id, and the end of the topic's name.
const READERS: [(&str, &str, &str); 4] = [
    ("scorer", "scorer", "events"),
    ("importer", "importer-scores", "scores"),
    ("judge", "judge", "scores"),
    ("notify", "notify", "verdicts"),
];

/// Records that each reader has yet to read; none where that is not known.
type Lags = Vec<(&'static str, Option<u64>)>;

/// Rates and quantiles are over this stretch.
const WINDOW: Duration = Duration::from_secs(10);

/// A service that does not answer in this time is looked at again the next time.
const PATIENCE: Duration = Duration::from_millis(800);

/// How often the lag is asked for: it takes the brokers some work.
const LAG_EVERY: Duration = Duration::from_secs(2);

/// One counter at a moment. What is not known is none.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) name: &'static str,
    pub(super) per_second: Option<f64>,
    pub(super) total: Option<f64>,
}

/// Everything that the table shows.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) flow: Vec<Flow>,
    pub(super) lags: Lags,
    /// From receipt to verdict in seconds: p50, p95, p99.
    pub(super) age: [Option<f64>; 3],
}

impl Figures {
    /// Of all readers; none as soon as one is not known.
    pub(super) fn lag(&self) -> Option<f64> {
        let total: Option<u64> = self.lags.iter().map(|lag| lag.1).sum();
        total.map(|total| total as f64)
    }
}

/// One look at all services.
struct Look {
    at: Instant,
    counters: Vec<Option<f64>>,
    age: Histogram,
}

/// Looks again and again, and remembers what was.
pub(super) struct Watch {
    ports: Ports,
    pipeline: Pipeline,
    admin: Admin,
    looks: VecDeque<Look>,
    lags: Option<(Instant, Lags)>,
}

impl Watch {
    pub(super) fn new(env: &[(String, String)], ports: Ports) -> anyhow::Result<Self> {
        let brokers = env.iter().find(|(name, _)| name == "KAFKA_BOOTSTRAP_SERVERS").map(|(_, brokers)| brokers);
        let brokers = brokers.context("the stack has no Kafka")?;
        let pipeline = Pipeline::parse(&Source::parse("mail-trust.yaml", millrace_demo::PIPELINE)?)?;
        let admin = Admin::new(&millrace_kafka::Args::plaintext(brokers).client()?)?;
        Ok(Self { ports, pipeline, admin, looks: VecDeque::new(), lags: None })
    }

    /// The figures of now: rates and quantiles are those of the last ten seconds.
    pub(super) async fn look(&mut self) -> Figures {
        let now = self.scrape().await;
        while self.looks.len() > 1 && now.at.duration_since(self.looks[1].at) >= WINDOW {
            self.looks.pop_front();
        }
        let lags = self.lags().await;
        let before = self.looks.front();
        let flow = FLOW.iter().enumerate().map(|(i, counter)| {
            let total = now.counters[i];
            let per_second = before.and_then(|before| {
                let seconds = now.at.duration_since(before.at).as_secs_f64();
                // A service that was started again counts from zero.
                Some((total? - before.counters[i]?).max(0.0) / seconds)
            });
            Flow { name: counter.name, per_second, total }
        });
        let age = before.map(|before| now.age.since(&before.age)).unwrap_or_default();
        let figures = Figures { flow: flow.collect(), lags, age: [0.5, 0.95, 0.99].map(|share| age.quantile(share)) };
        self.looks.push_back(now);
        figures
    }

    async fn scrape(&self) -> Look {
        let pages = futures::future::join_all(Part::SERVICES.map(|part| async move {
            let address = self.ports.admin(part)?;
            let (status, page) = devstack::http_get(address, "/metrics", PATIENCE).await.ok()?;
            (status == 200).then(|| Samples::parse(&page))
        }))
        .await;
        let page = |part: Part| {
            let at = Part::SERVICES.iter().position(|service| *service == part)?;
            pages[at].as_ref()
        };
        let counters = FLOW.iter().map(|c| page(c.part).map(|samples| samples.sum(c.metric, c.labels))).collect();
        let age = page(Part::Alerter).map(|samples| samples.histogram(AGE, &[])).unwrap_or_default();
        Look { at: Instant::now(), counters, age }
    }

    async fn lags(&mut self) -> Lags {
        if let Some((at, lags)) = &self.lags
            && at.elapsed() < LAG_EVERY
        {
            return lags.clone();
        }
        let lags = futures::future::join_all(READERS.map(|(reader, service, topic)| {
            let (group, topic) = (self.pipeline.group(service), format!("{}.{topic}", self.pipeline.name()));
            let admin = self.admin.clone();
            async move {
                let lag = tokio::time::timeout(PATIENCE, admin.lag(&group, &[topic])).await;
                (reader, lag.ok().and_then(Result::ok).and_then(|lag| lag.total()))
            }
        }))
        .await;
        self.lags = Some((Instant::now(), lags.clone()));
        lags
    }
}

#[derive(Serialize)]
struct Row {
    part: &'static str,
    pid: Option<u32>,
    ready: bool,
    addresses: Vec<SocketAddr>,
    /// Of what the part reads.
    lag: Option<u64>,
}

/// `millrace dev status`.
pub(super) async fn show(dir: &Path, output: Output) -> anyhow::Result<()> {
    let running = devstack::find(dir)?;
    let mut watch = Watch::new(&running.env, running.ports).ok();
    let lags = match &mut watch {
        Some(watch) => watch.lags().await,
        None => Vec::new(),
    };
    let mut rows = Vec::new();
    for part in Part::ALL {
        let pid = running.pid_of(part);
        let ready = match running.ports.admin(part) {
            Some(admin) => matches!(devstack::http_get(admin, "/readyz", PATIENCE).await, Ok((200, _))),
            None => pid.is_some(),
        };
        let readers = lags.iter().filter(|(reader, _)| reads(part, reader));
        let lag = readers.map(|(_, lag)| *lag).reduce(|a, b| Some(a? + b?)).flatten();
        rows.push(Row { part: part.name(), pid, ready, addresses: running.ports.of(part), lag });
    }
    output.rows(&rows, &["PART", "PID", "STATE", "LAG", "ADDRESSES"], |row| {
        let text = |value: Option<String>| value.unwrap_or_else(|| "-".into());
        let state = match (row.pid, row.ready) {
            (_, true) => "ready",
            (Some(_), false) => "not ready",
            (None, false) => "down",
        };
        let addresses: Vec<String> = row.addresses.iter().map(ToString::to_string).collect();
        let pid = text(row.pid.map(|pid| pid.to_string()));
        let lag = text(row.lag.map(|lag| lag.to_string()));
        vec![row.part.to_owned(), pid, state.to_owned(), lag, addresses.join(" ")]
    })
}

fn reads(part: Part, reader: &str) -> bool {
    match part {
        Part::Alerter => reader == "judge" || reader == "notify",
        _ => reader == part.name(),
    }
}
