//! `millrace-scorer stream`: the wiring.

use std::{path::PathBuf, sync::Arc, thread, time::Duration};

use anyhow::Context as _;
use millrace_core::{Pipeline, pipeline::Scoring};
use millrace_kafka::{
    Admin, Lane,
    lane::{self, Gate, LaneConfig, Limits},
};
use millrace_runtime::{ConfigError, Process};
use millrace_schema::client;
use tokio::runtime::Handle;

use crate::{lookup::Remote, metrics::Metrics, models::Model, scorer::Scorer};

/// Scores events as they arrive.
#[derive(clap::Args)]
pub struct Stream {
    #[command(flatten)]
    runtime: millrace_runtime::Args,
    #[command(flatten)]
    kafka: millrace_kafka::Args,
    #[command(flatten)]
    registry: client::Args,
    /// Pipeline documents: files or folders.
    #[arg(long, env = "MILLRACE_PIPELINES", value_name = "PATH", value_delimiter = ',', required = true, num_args = 1..)]
    pipelines: Vec<PathBuf>,
    /// The folder of the model bundles: DIR/<model>/ is one.
    #[arg(long, env = "MILLRACE_MODELS", value_name = "DIR")]
    models: PathBuf,
    /// Lanes per pipeline: each is a thread and a member of the group. The default is one per core.
    #[arg(long, env = "MILLRACE_LANES", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    lanes: Option<u16>,
    #[command(flatten)]
    limits: lane::Args,
}

/// A pipeline with its model.
struct Scored {
    pipeline: Pipeline,
    model: Arc<Model>,
}

impl Stream {
    /// Scores until a signal ends it.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { runtime, kafka, registry, pipelines, models, lanes, limits } = self;
        let client = kafka.client()?;
        let scored = load(&pipelines, &models)?;
        let registry = client::Client::new(&registry).map_err(|error| ConfigError::new(error.to_string()))?;
        let lanes = lanes.map_or_else(cores, usize::from);

        let mut process = runtime.start("scorer").await?;
        let admin = Admin::new(&client).context("make the admin client")?;
        let gate = Gate::new(process.readiness("lanes"), lanes * scored.len());
        for Scored { pipeline, model } in scored {
            for index in 0..lanes {
                let subject = format!("{}-value", pipeline.scores_topic());
                let lookup = Remote::new(Handle::current(), registry.clone(), admin.clone(), subject);
                let metrics = Metrics::new(&process.meter(), pipeline.name(), model.current().name());
                let scorer = Scorer::new(&pipeline, Arc::clone(&model), Box::new(lookup), metrics)?;
                let config = lane_config(&pipeline, &process, index, limits.limits());
                let lane = Lane::new(&client, config, scorer, process.meter()).on_ready(gate.pass());
                process.spawn_thread(lane.name(), lane::BUDGET, move |shutdown| lane.run(shutdown));
            }
            let (meter, name) = (process.meter(), format!("model {}", model.current().name()));
            process.spawn(name, Duration::from_secs(5), move |shutdown| model.watch(meter, shutdown));
        }
        process.run_until_signal().await
    }
}

fn load(paths: &[PathBuf], models: &std::path::Path) -> anyhow::Result<Vec<Scored>> {
    let mut scored = Vec::new();
    let mut faults = Vec::new();
    for pipeline in Pipeline::load_all(paths)? {
        let Some(Scoring { model, shadow, never, .. }) = &pipeline.spec.scoring else { continue };
        if !shadow.is_empty() {
            tracing::warn!(pipeline = pipeline.name(), "models under `shadow` are not scored yet");
        }
        match Model::load(models, model, never) {
            Ok(model) => scored.push(Scored { model: Arc::new(model), pipeline }),
            Err(error) => faults.push(format!("pipeline {}: {error}", pipeline.name())),
        }
    }
    ConfigError::check(faults)?;
    if scored.is_empty() {
        Err(ConfigError::new("--pipelines: no pipeline has `scoring`, so there is nothing to do"))?;
    }
    Ok(scored)
}

fn lane_config(pipeline: &Pipeline, process: &Process, index: usize, limits: Limits) -> LaneConfig {
    LaneConfig {
        service: "scorer",
        pipeline: pipeline.name().to_owned(),
        group: pipeline.group("scorer"),
        topics: vec![pipeline.events_topic()],
        dead_topic: pipeline.dead_topic(),
        instance_id: process.instance_id().to_owned(),
        index,
        limits,
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
