//! `millrace-scorer stream`: the wiring.

use std::{path::PathBuf, sync::Arc, thread, time::Duration};

use anyhow::Context as _;
use millrace_core::{Pipeline, record::SIGNALS_TOPIC};
use millrace_kafka::{
    Admin, Client, Lane,
    lane::{self, Gate, LaneConfig, Limits},
};
use millrace_runtime::{ConfigError, Process};
use millrace_schema::client;
use tokio::runtime::Handle;

use crate::{
    event::id_field,
    lookup::Remote,
    metrics::{Metrics, ModelMetrics},
    models::{
        self, Model,
        args::{Source, Upkeep},
        follow::Follower,
        signals::{Alarm, Teller},
    },
    scorer::Scorer,
};

/// What has nothing to finish at a shutdown.
const QUICK: Duration = Duration::from_secs(5);

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
    #[command(flatten)]
    models: models::args::Args,
    /// The topic of signals, which tell of models that are refused; of several installations on the same brokers each has its
    /// own.
    #[arg(long, env = "MILLRACE_SIGNALS_TOPIC", value_name = "TOPIC", default_value = SIGNALS_TOPIC)]
    signals_topic: String,
    /// Lanes per pipeline: each is a thread and a member of the group. The default is one per core.
    #[arg(long, env = "MILLRACE_LANES", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    lanes: Option<u16>,
    #[command(flatten)]
    limits: lane::Args,
}

/// A pipeline with its model.
struct Scored {
    pipeline: Pipeline,
    /// The model's name.
    name: String,
    model: Arc<Model>,
    upkeep: Upkeep,
}

impl Stream {
    /// Scores until a signal ends it.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { runtime, kafka, registry, pipelines, models, signals_topic, lanes, limits } = self;
        let kafka = kafka.client()?;
        let scored = load(&pipelines, &models.source(&registry)?)?;
        let registry = client::Client::new(&registry).map_err(|error| ConfigError::new(error.to_string()))?;
        let lanes = lanes.map_or_else(cores, usize::from);

        let mut process = runtime.start("scorer").await?;
        let admin = Admin::new(&kafka).context("make the admin client")?;
        let (alarm, teller) = Teller::new(&kafka, registry.clone(), &signals_topic, process.meter())?;
        process.spawn("signals", QUICK, move |shutdown| teller.run(shutdown));
        let lanes_ready = Gate::new(process.readiness("lanes"), lanes * scored.len());
        let models_ready = Gate::new(process.readiness("models"), scored.len());
        let reach = Reach { kafka, registry, admin, limits: limits.limits() };
        for scored in scored {
            for index in 0..lanes {
                reach.lane(&mut process, &scored, index, lanes_ready.pass());
            }
            keep(&mut process, scored, alarm.clone(), models_ready.pass());
        }
        process.run_until_signal().await
    }
}

/// What lanes are made with.
struct Reach {
    kafka: Client,
    registry: client::Client,
    admin: Admin,
    limits: Limits,
}

impl Reach {
    fn lane(&self, process: &mut Process, scored: &Scored, index: usize, ready: impl Fn(bool) + Send + Sync + 'static) {
        let Scored { pipeline, name, model, .. } = scored;
        let config = lane_config(pipeline, process, index, self.limits);
        let subject = format!("{}-value", pipeline.scores_topic());
        let lookup = Remote::new(Handle::current(), self.registry.clone(), self.admin.clone(), subject);
        let metrics = Metrics::new(&process.meter(), pipeline.name(), name);
        let (kafka, meter, pipeline, model) =
            (self.kafka.clone(), process.meter(), pipeline.clone(), Arc::clone(model));
        process.spawn_thread(config.name(), lane::BUDGET, move |shutdown| {
            // Without a model it is no member of the group: others, which have one, get the partitions.
            if !model.wait(&shutdown) {
                return Ok(());
            }
            let scorer = Scorer::new(&pipeline, model, Box::new(lookup), metrics)?;
            Lane::new(&kafka, config, scorer, meter).on_ready(ready).run(shutdown)
        });
    }
}

/// Keeps a pipeline's model what it is said to be.
fn keep(process: &mut Process, scored: Scored, alarm: Alarm, ready: impl Fn(bool) + Send + Sync + 'static) {
    let Scored { pipeline, name, model, upkeep } = scored;
    let (task, meter) = (format!("model of {}", pipeline.name()), process.meter());
    match upkeep {
        Upkeep::Folder(folder) => {
            ready(true);
            process.spawn(task, QUICK, move |shutdown| folder.watch(model, meter, shutdown));
        }
        Upkeep::Registry { client, cache, never } => {
            let follower = Follower {
                pipeline: pipeline.name().to_owned(),
                expected: name,
                never,
                client,
                cache,
                model,
                alarm,
                metrics: ModelMetrics::new(&meter),
                ready: Box::new(ready),
            };
            process.spawn(task, QUICK, move |shutdown| follower.run(shutdown));
        }
    }
}

fn load(paths: &[PathBuf], source: &Source) -> anyhow::Result<Vec<Scored>> {
    let mut scored = Vec::new();
    let mut faults = Vec::new();
    for pipeline in Pipeline::load_all(paths)? {
        let Some(scoring) = pipeline.spec.scoring.clone() else { continue };
        if !scoring.shadow.is_empty() {
            tracing::warn!(pipeline = pipeline.name(), "models under `shadow` are not scored yet");
        }
        if let Err(error) = id_field(&pipeline) {
            faults.push(error.to_string());
        }
        match source.model(&pipeline, &scoring) {
            Ok((model, upkeep)) => scored.push(Scored { pipeline, name: scoring.model, model, upkeep }),
            Err(error) => faults.push(error.to_string()),
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
