//! `millrace tail`.

use std::time::Duration;

use anyhow::bail;
use jiff::Timestamp;
use millrace_core::{Span, record::SIGNALS_TOPIC};
use millrace_kafka::{
    Reader,
    reader::{From, Query},
};
use millrace_schema::client;

use crate::{
    Output,
    decode::{self, Shown},
};

/// Which records of a pipeline.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Stage {
    /// What clients sent.
    Events,
    /// Events with their scores.
    Scores,
    /// What was decided.
    Verdicts,
    /// What could not be processed.
    Dead,
    /// What Millrace says about itself.
    Signals,
}

/// Prints the records of a topic, decoded, as they come.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The pipeline.
    pipeline: String,
    /// Which of its records.
    #[arg(value_enum, default_value_t = Stage::Verdicts)]
    stage: Stage,
    /// Begin so long ago, for example 10m; `all` is the beginning of the topic. Without it: now.
    #[arg(long)]
    since: Option<String>,
    /// End after so many records.
    #[arg(long, short = 'n')]
    count: Option<u64>,
    /// End where the topic ends now, instead of waiting for more.
    #[arg(long)]
    no_follow: bool,
    #[command(flatten)]
    kafka: millrace_kafka::Args,
    #[command(flatten)]
    registry: client::Args,
}

impl Args {
    pub(crate) async fn run(self, output: Output) -> anyhow::Result<()> {
        let topic = match self.stage {
            Stage::Events => format!("{}.events", self.pipeline),
            Stage::Scores => format!("{}.scores", self.pipeline),
            Stage::Verdicts => format!("{}.verdicts", self.pipeline),
            Stage::Dead => format!("{}.dead", self.pipeline),
            Stage::Signals => SIGNALS_TOPIC.to_owned(),
        };
        let registry = client::Client::new(&self.registry)?;
        let query = Query { topic, partition: None, from: from(self.since.as_deref())?, follow: !self.no_follow };
        let mut reader = Reader::open(&self.kafka.client()?, query)?;
        let mut left = self.count.unwrap_or(u64::MAX);
        while left > 0 {
            let Some(found) = reader.next().await else { break };
            let shown = decode::show(&registry, found?).await;
            output.value(&shown, line)?;
            left -= 1;
        }
        Ok(())
    }
}

/// Where a reading begins: now, so long ago, or at the beginning.
pub(crate) fn from(since: Option<&str>) -> anyhow::Result<From> {
    match since {
        None => Ok(From::End),
        Some("all") => Ok(From::Beginning),
        Some(text) => match text.parse::<Span>() {
            Ok(span) => Ok(From::Time(ago(Duration::from(span)).as_millisecond())),
            Err(reason) => bail!("--since: {reason}, or `all`"),
        },
    }
}

/// So long ago, or at the beginning of time.
pub(crate) fn ago(span: Duration) -> Timestamp {
    Timestamp::now().checked_sub(span).unwrap_or(Timestamp::MIN)
}

fn line(shown: &Shown) -> String {
    let Shown { partition, offset, time, value, fault, headers, .. } = shown;
    let time = time.map(|at| format!("{at:.3}")).unwrap_or_default();
    let id = headers.get("event-id").and_then(|id| id.as_str()).unwrap_or("-");
    let what = match (value, fault) {
        (Some(value), _) => summary(value).unwrap_or_else(|| value.to_string()),
        (None, Some(fault)) => fault.clone(),
        (None, None) => "(tombstone)".to_owned(),
    };
    let died = headers.get("dead-reason").and_then(|reason| reason.as_str());
    let died = died.map(|reason| format!("  dead: {reason}")).unwrap_or_default();
    format!("{time}  {partition}/{offset}  {id}  {what}{died}")
}

/// Scores and verdicts in short; the whole is there with `--output json`.
fn summary(value: &serde_json::Value) -> Option<String> {
    let score = value.get("score")?.as_f64()?;
    if let Some(action) = value.get("action").and_then(|action| action.as_str()) {
        return Some(format!("{action:<10}  score {score:.4}  rule {}", value["rule"].as_str()?));
    }
    let reasons = value["reasons"].as_array()?.iter().filter_map(|reason| {
        let sign = if reason["contribution"].as_f64()? >= 0.0 { '+' } else { '-' };
        Some(format!("{sign}{}", reason["feature"].as_str()?))
    });
    Some(format!("score {score:.4}  {}", reasons.collect::<Vec<_>>().join(" ")))
}
