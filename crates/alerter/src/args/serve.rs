//! `millrace-alerter serve`: the wiring.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::ValueEnum;
use millrace_core::{Pipeline, Span, record::SIGNALS_TOPIC};
use millrace_kafka::{
    Lane,
    lane::{self, Gate, LaneConfig},
};
use millrace_policy::Policy;
use millrace_runtime::{ConfigError, Optional, Process};
use millrace_schema::client;
use tokio::runtime::Handle;

use super::tellers::Tellers;
use crate::{
    deliver::schedule,
    judge::{Judge, Remote},
};

/// How long the start waits for the newest event schema, to tell a policy's faults at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// One of the two things that an alerter does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Loop {
    /// Scores to verdicts, by the pipelines' policies.
    Judge,
    /// Verdicts and signals to Postgres and to webhooks.
    Notify,
}

/// Judges scores and sends notifications.
#[derive(clap::Args)]
pub(super) struct Serve {
    #[command(flatten)]
    runtime: millrace_runtime::Args,
    #[command(flatten)]
    kafka: millrace_kafka::Args,
    #[command(flatten)]
    registry: client::Args,
    /// Needed by the loop `notify`.
    #[command(flatten)]
    postgres: Optional<millrace_postgres::Args>,
    /// Pipeline documents: files or folders.
    #[arg(long, env = "MILLRACE_PIPELINES", value_name = "PATH", value_delimiter = ',', required = true, num_args = 1..)]
    pipelines: Vec<PathBuf>,
    /// What this instance does.
    #[arg(
        long,
        env = "MILLRACE_LOOPS",
        value_name = "LOOP",
        value_enum,
        value_delimiter = ',',
        default_value = "judge,notify"
    )]
    loops: Vec<Loop>,
    #[command(flatten)]
    lanes: LaneArgs,
    #[command(flatten)]
    notifying: Notifying,
}

/// How the judge works.
#[derive(clap::Args)]
#[command(next_help_heading = "Judge")]
struct LaneArgs {
    /// Lanes per pipeline: each is a thread and a member of the group.
    #[arg(long, env = "MILLRACE_JUDGE_LANES", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    lanes: u16,
    #[command(flatten)]
    limits: lane::Args,
}

/// How people are told. A receiver `ops-hook` of a document is given by MILLRACE_RECEIVER_OPS_HOOK_URL and
/// MILLRACE_RECEIVER_OPS_HOOK_SECRET, or by files that these name with `_FILE` behind.
#[derive(clap::Args)]
#[command(next_help_heading = "Notifications")]
pub(super) struct Notifying {
    /// The topic of signals; of several installations on the same brokers each has its own.
    #[arg(long, env = "MILLRACE_SIGNALS_TOPIC", value_name = "TOPIC", default_value = SIGNALS_TOPIC)]
    pub(super) signals_topic: String,
    /// Receivers of signals that name none.
    #[arg(long, env = "MILLRACE_SIGNAL_RECEIVERS", value_name = "NAME", value_delimiter = ',')]
    pub(super) signal_receivers: Vec<String>,
    /// How soon a signal that goes on is told again.
    #[arg(long, env = "MILLRACE_SIGNAL_REPEAT", value_name = "SPAN", default_value = "4h")]
    pub(super) signal_repeat: Span,
    /// Lets webhooks go to private addresses, such as services of the same cluster.
    #[arg(long, env = "MILLRACE_ALLOW_PRIVATE_RECEIVERS", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    pub(super) allow_private_receivers: bool,
    /// The pauses after the first, second, .. attempt of a webhook; after the last comes one more attempt.
    #[arg(long, env = "MILLRACE_RETRY_SCHEDULE", value_name = "SPAN,..", value_delimiter = ',', default_values_t = schedule::STANDARD)]
    pub(super) retry_schedule: Vec<Span>,
    /// How long a webhook's receiver may take to answer.
    #[arg(long, env = "MILLRACE_DELIVERY_TIMEOUT", value_name = "SPAN", default_value = "15s")]
    pub(super) delivery_timeout: Span,
    /// How long resolved alerts and the log of their notifications are kept.
    #[arg(long, env = "MILLRACE_ALERT_RETENTION", value_name = "SPAN", default_value = "90d")]
    pub(super) alert_retention: Span,
}

impl Serve {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let Self { runtime, kafka, registry, postgres, pipelines, loops, lanes, notifying } = self;
        let kafka = kafka.client()?;
        let pipelines = Pipeline::load_all(&pipelines)?;
        let judged: Vec<Pipeline> = pipelines.into_iter().filter(|pipeline| !pipeline.spec.policy.is_empty()).collect();
        if judged.is_empty() {
            return Err(ConfigError::new("--pipelines: no pipeline has a `policy`, so there is nothing to do"))?;
        }
        let registry = client::Client::new(&registry).map_err(|error| ConfigError::new(error.to_string()))?;
        let tellers = if loops.contains(&Loop::Notify) {
            Some(Tellers::new(&kafka, &registry, postgres.0, &judged, notifying)?)
        } else {
            None
        };
        let mut process = runtime.start("alerter").await?;
        if let Some(tellers) = tellers {
            tellers.spawn(&mut process)?;
        }
        if loops.contains(&Loop::Judge) {
            lanes.spawn(&kafka, &registry, &judged, &mut process).await?;
        }
        process.run_until_signal().await
    }
}

impl LaneArgs {
    /// Begins to judge.
    async fn spawn(
        &self,
        kafka: &millrace_kafka::Client,
        registry: &client::Client,
        pipelines: &[Pipeline],
        process: &mut Process,
    ) -> anyhow::Result<()> {
        let policies = compile(registry, pipelines).await?;
        let gate = Gate::new(process.readiness("judge"), pipelines.len() * usize::from(self.lanes));
        for (pipeline, policy) in pipelines.iter().zip(policies) {
            for index in 0..usize::from(self.lanes) {
                let lookup = Box::new(Remote::new(Handle::current(), registry.clone(), pipeline));
                let judge = Judge::new(pipeline, policy.clone(), lookup, &process.meter());
                let config = self.config(pipeline, process.instance_id(), index);
                let lane = Lane::new(kafka, config, judge, process.meter()).on_ready(gate.pass());
                process.spawn_thread(lane.name(), lane::BUDGET, move |shutdown| lane.run(shutdown));
            }
        }
        Ok(())
    }

    fn config(&self, pipeline: &Pipeline, instance: &str, index: usize) -> LaneConfig {
        LaneConfig {
            service: "judge",
            pipeline: pipeline.name().to_owned(),
            group: pipeline.group("judge"),
            topics: vec![pipeline.scores_topic()],
            dead_topic: pipeline.dead_topic(),
            instance_id: instance.to_owned(),
            index,
            limits: self.limits.limits(),
        }
    }
}

/// Compiles the policies against the newest schemas, so that a fault ends the start. Where the registry, or the subject,
/// is not there yet, the judge compiles with the first score.
async fn compile(registry: &client::Client, pipelines: &[Pipeline]) -> anyhow::Result<Vec<Option<Arc<Policy>>>> {
    let mut policies = Vec::new();
    let mut faults = Vec::new();
    for pipeline in pipelines {
        let subject = &pipeline.spec.events.subject;
        let newest = match tokio::time::timeout(PATIENCE, registry.latest(subject)).await {
            Ok(Ok(newest)) => newest,
            Ok(Err(error)) => {
                tracing::warn!(pipeline = pipeline.name(), %error, "policy is checked with the first score");
                policies.push(None);
                continue;
            }
            Err(_) => {
                tracing::warn!(pipeline = pipeline.name(), "registry is slow, policy is checked with the first score");
                policies.push(None);
                continue;
            }
        };
        match Policy::compile(&pipeline.spec.policy, &pipeline.spec.alerts, &newest.schema) {
            Ok(policy) => policies.push(Some(Arc::new(policy))),
            Err(problems) => {
                faults.extend(problems.iter().map(|problem| format!("pipeline {}: {problem}", pipeline.name())));
            }
        }
    }
    ConfigError::check(faults).context("check the policies against the newest event schemas")?;
    Ok(policies)
}
