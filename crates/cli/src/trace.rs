//! `millrace trace`: where an event has been.
//!
//! ```text
//! Postgres: row, verdict row, notifications --> when it was received --> the stretch of each topic to look through
//! ```

use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use millrace_core::{Span, header};
use millrace_kafka::{
    Reader,
    reader::{Found, From, Query},
};
use millrace_postgres::{Client, types::ToSql};
use millrace_schema::client as registry;
use serde::Serialize;
use serde_json::Value;

use crate::{Output, decode, tail::ago};

/// How much earlier than its receipt a record of the event can be: clocks differ.
const SLACK: Duration = Duration::from_secs(5);

/// Shows every stage that an event went through, with its time and its place.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The event's id.
    event_id: String,
    /// The pipeline.
    #[arg(long, short, env = "MILLRACE_PIPELINE", default_value = "mail-trust")]
    pipeline: String,
    /// How far back to look in Kafka for an event that is not in Postgres.
    #[arg(long, default_value = "1h")]
    since: Span,
    #[command(flatten)]
    kafka: millrace_kafka::Args,
    #[command(flatten)]
    postgres: millrace_postgres::Args,
    #[command(flatten)]
    registry: registry::Args,
}

/// One stage of the way.
#[derive(Clone, Debug, Serialize)]
struct Stage {
    #[serde(rename = "stage")]
    name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Timestamp>,
    /// Topic, partition and offset, or table and key.
    place: String,
    detail: String,
}

#[derive(Debug, Serialize)]
struct Trace {
    event_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    stages: Vec<Stage>,
}

impl Args {
    pub(crate) async fn run(self, output: Output) -> anyhow::Result<()> {
        let mut trace = Trace { event_id: self.event_id.clone(), correlation_id: None, stages: Vec::new() };
        let received = match self.rows(&mut trace).await {
            Ok(received) => received,
            Err(error) => {
                eprintln!("Postgres was left out: {error:#}");
                None
            }
        };
        let from = received.unwrap_or_else(|| ago(Duration::from(self.since)));
        let from = from.checked_sub(SLACK).unwrap_or(from);
        self.records(from, &mut trace).await?;
        if trace.stages.is_empty() {
            bail!(
                "event {} was not found in Postgres nor in the last {} of the topics of {} (`--since` looks further back)",
                self.event_id,
                self.since,
                self.pipeline
            );
        }
        trace.stages.sort_by_key(|stage| stage.time);
        output.value(&trace, |trace| {
            let head = format!("event {}", trace.event_id);
            let correlation = trace.correlation_id.as_ref().map(|id| format!("\ncorrelation {id}")).unwrap_or_default();
            let lines = trace.stages.iter().map(|Stage { name, time, place, detail }| {
                let time = time.map_or_else(|| "-".to_owned(), |at| format!("{at:.3}"));
                format!("\n{time:<25} {name:<10} {place:<40} {detail}")
            });
            head + &correlation + &lines.collect::<String>()
        })
    }

    /// What Postgres knows. Returns when the event was received, if it does.
    async fn rows(&self, trace: &mut Trace) -> anyhow::Result<Option<Timestamp>> {
        let client = self.postgres.pool()?.get().await?;
        let mut received = None;
        let tables = "SELECT table_name::text FROM information_schema.columns \
             WHERE table_schema = 'pipeline' AND column_name = 'event_id' ORDER BY 1";
        for table in client.query(tables, &[]).await? {
            let table: String = table.get(0);
            let sql = format!("SELECT to_jsonb(t) FROM pipeline.\"{table}\" t WHERE event_id = $1");
            for row in client.query(&sql, &[&self.event_id]).await? {
                let row: Value = row.get(0);
                if row["pipeline"].as_str().is_some_and(|pipeline| pipeline != self.pipeline) {
                    continue;
                }
                received = received.or(time(&row, "received_at"));
                trace.correlation_id = trace.correlation_id.take().or_else(|| text(&row, "correlation_id"));
                trace.stages.push(stored(&table, &self.event_id, &row));
            }
        }
        self.notifications(&client, trace).await?;
        Ok(received)
    }

    /// Who was told, where the alerter's tables are there.
    async fn notifications(&self, client: &Client, trace: &mut Trace) -> anyhow::Result<()> {
        let there = client.query_one("SELECT to_regclass('alerter.notifications') IS NOT NULL", &[]).await?;
        if !there.get::<_, bool>(0) {
            return Ok(());
        }
        let sql = "SELECT to_jsonb(n) FROM alerter.notifications n \
             JOIN alerter.alert_events e ON e.alert_id = n.alert_id WHERE e.event_id = $1";
        let parameter: &(dyn ToSql + Sync) = &self.event_id;
        for row in client.query(sql, &[parameter]).await? {
            let row: Value = row.get(0);
            let detail = format!(
                "{}, {} attempts",
                text(&row, "state").unwrap_or_default(),
                row["attempts"].as_i64().unwrap_or_default()
            );
            let place =
                format!("{} {}", text(&row, "receiver").unwrap_or_default(), text(&row, "id").unwrap_or_default());
            trace.stages.push(Stage { name: "notified", time: time(&row, "updated_at"), place, detail });
        }
        Ok(())
    }

    /// What the topics hold: the first record of the event in each, and every dead letter.
    async fn records(&self, from: Timestamp, trace: &mut Trace) -> anyhow::Result<()> {
        let registry = registry::Client::new(&self.registry)?;
        let mut partition = None;
        for (stage, suffix) in [("received", "events"), ("scored", "scores"), ("judged", "verdicts"), ("dead", "dead")]
        {
            let topic = format!("{}.{suffix}", self.pipeline);
            // An event keeps its partition's number all the way; a dead letter goes anywhere.
            let wanted = if suffix == "dead" { None } else { partition };
            for found in self.find(&topic, wanted, from, suffix == "dead").await? {
                partition = partition.or(Some(found.partition));
                let id = found.record.headers.text(header::CORRELATION_ID).map(str::to_owned);
                trace.correlation_id = trace.correlation_id.take().or(id);
                let shown = decode::show(&registry, found).await;
                let detail = detail(stage, &shown);
                let at = match stage {
                    "scored" => shown.value.as_ref().and_then(|value| time(value, "scored_at")),
                    "judged" => shown.value.as_ref().and_then(|value| time(value, "judged_at")),
                    _ => None,
                };
                let place = format!("{}/{}/{}", shown.topic, shown.partition, shown.offset);
                trace.stages.push(Stage { name: stage, time: at.or(shown.time), place, detail });
            }
        }
        Ok(())
    }

    async fn find(
        &self,
        topic: &str,
        partition: Option<i32>,
        from: Timestamp,
        all: bool,
    ) -> anyhow::Result<Vec<Found>> {
        let query =
            Query { topic: topic.to_owned(), partition, from: From::Time(from.as_millisecond()), follow: false };
        let mut reader = Reader::open(&self.kafka.client()?, query).with_context(|| format!("read {topic}"))?;
        let mut found = Vec::new();
        while let Some(next) = reader.next().await {
            let next = next.with_context(|| format!("read {topic}"))?;
            if next.record.headers.text(header::EVENT_ID) == Some(&self.event_id) {
                found.push(next);
                if !all {
                    break;
                }
            }
        }
        Ok(found)
    }
}

fn stored(table: &str, event_id: &str, row: &Value) -> Stage {
    let place = format!("pipeline.{table} {event_id}");
    let detail = match text(row, "action") {
        Some(action) => format!("verdict {action}, rule {}", text(row, "rule").unwrap_or_default()),
        None => format!("row of {}", text(row, "source").unwrap_or_default()),
    };
    Stage { name: "stored", time: time(row, "imported_at"), place, detail }
}

fn detail(stage: &str, shown: &decode::Shown) -> String {
    let header = |name: &str| shown.headers.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    match (&shown.value, stage) {
        (_, "dead") => {
            format!("{}: {}: {}", header(header::dead::STAGE), header(header::dead::CODE), header(header::dead::REASON))
        }
        (None, _) => shown.fault.clone().unwrap_or_default(),
        (Some(value), "scored") => format!(
            "score {:.4} by {} {}",
            value["score"].as_f64().unwrap_or_default(),
            text(value, "model").unwrap_or_default(),
            text(value, "model_version").unwrap_or_default()
        ),
        (Some(value), "judged") => {
            format!("{}, rule {}", text(value, "action").unwrap_or_default(), text(value, "rule").unwrap_or_default())
        }
        (Some(_), _) => format!("received-at {}", header(header::RECEIVED_AT)),
    }
}

fn text(value: &Value, field: &str) -> Option<String> {
    value.get(field).and_then(Value::as_str).map(str::to_owned)
}

fn time(value: &Value, field: &str) -> Option<Timestamp> {
    value.get(field)?.as_str()?.parse().ok()
}
