//! `millrace-archiver serve`: the wiring.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use millrace_core::{Pipeline, Span};
use millrace_kafka::Admin;
use millrace_runtime::ConfigError;
use millrace_schema::client;

use crate::topic::Archived;

/// What a topic may take to end.
const BUDGET: Duration = Duration::from_secs(15);

/// Archives the topics of pipelines that have `lake`.
#[derive(clap::Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    runtime: millrace_runtime::Args,
    #[command(flatten)]
    kafka: millrace_kafka::Args,
    #[command(flatten)]
    aws: millrace_aws::Args,
    #[command(flatten)]
    registry: client::Args,
    /// Pipeline documents: files or folders.
    #[arg(long, env = "MILLRACE_PIPELINES", value_name = "PATH", value_delimiter = ',', required = true, num_args = 1..)]
    pipelines: Vec<PathBuf>,
    /// How much later than by its records a window ends by the clock, when no more of them come.
    #[arg(long, env = "MILLRACE_ARCHIVE_IDLE", value_name = "SPAN", default_value = "30s")]
    idle: Span,
    /// How late records may be: an hour is announced complete this much after all that came of it was archived.
    #[arg(long, env = "MILLRACE_ARCHIVE_LATENESS", value_name = "SPAN", default_value = "1m")]
    lateness: Span,
    /// The bucket of the lake.
    #[arg(long, env = "MILLRACE_LAKE_BUCKET", value_name = "BUCKET")]
    bucket: String,
}

impl Serve {
    /// Archives until a signal ends it.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let Self { runtime, kafka, aws, registry, pipelines, idle, lateness, bucket } = self;
        let pipelines = Pipeline::load_all(&pipelines)?;
        let lakes: Vec<_> = pipelines.iter().filter_map(|it| Some((it, it.spec.lake.clone()?))).collect();
        if lakes.is_empty() {
            Err(ConfigError::new("--pipelines: no pipeline has `lake`, so there is nothing to do"))?;
        }
        let kafka = kafka.client()?;
        let registry = client::Client::new(&registry).map_err(|error| ConfigError::new(error.to_string()))?;
        let objects = aws.client().objects();
        let mut process = runtime.start("archiver").await?;
        let admin = Admin::new(&kafka).context("make the admin client")?;
        for (pipeline, lake) in lakes {
            for (name, topic) in [("events", pipeline.events_topic()), ("scores", pipeline.scores_topic())] {
                let archived = Archived {
                    pipeline: pipeline.name().to_owned(),
                    group: pipeline.group(&format!("archiver-{name}")),
                    lake: lake.clone(),
                    bucket: bucket.clone(),
                    idle: idle.into(),
                    lateness: lateness.into(),
                    kafka: kafka.clone(),
                    admin: admin.clone(),
                    objects: objects.clone(),
                    registry: registry.clone(),
                    meter: process.meter(),
                    ready: process.readiness(name),
                    topic,
                };
                process.spawn(format!("{} {name}", pipeline.name()), BUDGET, move |shutdown| archived.run(shutdown));
            }
        }
        process.run_until_signal().await
    }
}
