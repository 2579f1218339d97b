//! `millrace-scorer batch`: files of events in, files of their scores out.
//!
//! ```text
//! inputs --find--> Item (object, part): this shard's, by the hash of its name
//!                    |
//!        Desk (thread): read blocks --tasks--> Worker (thread): open, validate, score, pack
//!             ^   |                                 |
//!             |   +--window, in the blocks' order <-+
//!             +------ write: upload, or a file under another name; at the end it is there whole, or never
//! ```
//!
//! Promises: the scores are those of the stream, by the same code (`rows.rs`); an output's name is a function of the
//! input's version, so that a rerun replaces and never doubles; what is wrong with one object is no matter to the others.

mod error;
mod find;
mod item;
mod job;
mod location;
mod object;
mod progress;
mod retry;
mod sink;
mod source;
mod worker;

use std::{path::PathBuf, sync::Arc, thread};

use anyhow::bail;
use jiff::Timestamp;
use millrace_core::{
    Pipeline,
    pipeline::{Batch as Prefixes, Scoring},
};
use millrace_runtime::{ConfigError, Process};
use millrace_schema::container::Limits;
use tokio::{runtime::Handle, task::spawn_blocking};

pub use self::{
    error::Error,
    job::{Failure, Output, Summary},
};
use self::{
    find::{Choice, Found},
    item::Shard,
    job::{Job, Storage},
    location::{Destination, Location},
    progress::Progress,
};
use crate::{event::id_field, metrics::BatchMetrics, models};

/// Failures that are told at the end; all of them are in the log and in the summary.
const TOLD: usize = 20;

/// Scores files of events: the same scores as the stream's.
#[derive(clap::Args)]
pub struct Batch {
    #[command(flatten)]
    runtime: millrace_runtime::Args,
    #[command(flatten)]
    aws: millrace_aws::Args,
    /// The pipeline document.
    #[arg(long, env = "MILLRACE_PIPELINE", value_name = "FILE")]
    pipeline: PathBuf,
    /// The folder of the model bundles: DIR/<model>/ is one.
    #[arg(long, env = "MILLRACE_MODELS", value_name = "DIR")]
    models: PathBuf,
    /// The bucket of the document's `batch`: its `inbox` is the input where there is no other, its `scores` the destination.
    #[arg(long, env = "MILLRACE_BATCH_BUCKET", value_name = "BUCKET")]
    bucket: Option<String>,
    /// Where scores go: s3://bucket/prefix/ or a local folder.
    #[arg(long, value_name = "DEST")]
    to: Option<Location>,
    #[command(flatten)]
    select: SelectArgs,
    #[command(flatten)]
    work: WorkArgs,
    /// Avro container files: s3://bucket/key, s3://bucket/prefix/ (all below it), a local file, a local folder (its *.avro).
    #[arg(value_name = "INPUT", help_heading = "Input")]
    inputs: Vec<Location>,
}

/// Which objects, and which of them here.
#[derive(Clone, Copy, clap::Args)]
#[command(next_help_heading = "Selection")]
struct SelectArgs {
    /// Only objects that were written from this instant on (RFC 3339).
    #[arg(long, value_name = "TIME")]
    modified_since: Option<Timestamp>,
    /// Only objects that were written before this instant (RFC 3339).
    #[arg(long, value_name = "TIME")]
    modified_before: Option<Timestamp>,
    /// Which of the shards this is, from 0. In an Indexed Job Kubernetes says it.
    #[arg(long, env = "JOB_COMPLETION_INDEX", value_name = "I")]
    shard: Option<u64>,
    /// How many processes share the work, each with its own --shard.
    #[arg(long, env = "MILLRACE_BATCH_SHARDS", value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u64).range(1..=10_000))]
    shards: u64,
}

/// How much at once.
#[derive(Clone, Copy, clap::Args)]
#[command(next_help_heading = "Work")]
struct WorkArgs {
    /// Threads that score. The default is one per core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Objects that are open at once.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    objects: u16,
    /// Bytes of a part: an object that is larger becomes several outputs. Names hold part and number of parts, so a rerun must
    /// have the same.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30, value_parser = clap::value_parser!(u64).range(1024..))]
    part_size: u64,
    /// Bytes of a block of events at most, compressed or not: a larger one is refused.
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 20,
        value_parser = clap::value_parser!(u64).range(1024..=1 << 30))]
    max_block: u64,
}

impl Batch {
    /// Scores, prints the summary as JSON, and fails where an object failed.
    pub async fn run(self) -> anyhow::Result<()> {
        let summary = Box::pin(self.score()).await?;
        println!("{}", serde_json::to_string(&summary)?);
        let Summary { objects, failed, undone, failures, .. } = &summary;
        if *failed > 0 {
            let mut told: Vec<String> =
                failures.iter().take(TOLD).map(|failure| format!("{}: {}", failure.input, failure.reason)).collect();
            if failures.len() > TOLD {
                told.push(format!("and {} more", failures.len() - TOLD));
            }
            bail!("{failed} of {} objects have no scores\n{}", objects + failed + undone, told.join("\n"));
        }
        if *undone > 0 {
            bail!(
                "stopped by a signal: {objects} of {} objects are scored; the same command scores all",
                objects + undone
            );
        }
        Ok(())
    }

    /// Scores, and says what came of it.
    pub async fn score(self) -> anyhow::Result<Summary> {
        let Self { runtime, aws, pipeline, models, bucket, to, select, work, inputs } = self;
        let document = Pipeline::load(&pipeline)?;
        let Some(scoring) = &document.spec.scoring else {
            return Err(ConfigError::new(format!("{}: no `scoring`, so there is no model", pipeline.display())))?;
        };
        let bundle = load(&models, scoring)?;
        let (inputs, to) = places(&document, bucket.as_deref(), to, inputs)?;
        let choice = select.choice(&document, work.part_size)?;
        let objects = aws.client().objects();
        let id = id_field(&document)?;
        let job = Job {
            bundle,
            id,
            to,
            storage: Storage { objects: objects.clone(), runtime: Handle::current() },
            limits: Limits { block: work.max_block as usize, total: u64::MAX },
            threads: work.threads.map_or_else(cores, usize::from),
            objects: usize::from(work.objects),
            pipeline: document,
        };

        let process = runtime.start("scorer").await?;
        let shutdown = process.shutdown();
        let metrics = BatchMetrics::new(&process.meter(), job.pipeline.name(), job.bundle.name());
        let listed = async move {
            tokio::select! {
                found = choice.find(&objects, &inputs) => found,
                () = shutdown.wait() => bail!("stopped by a signal: nothing is scored; the same command scores all"),
            }
        };
        work_through(process, job, metrics, Box::pin(listed)).await
    }
}

async fn work_through(
    process: Process,
    job: Job,
    metrics: BatchMetrics,
    listed: impl Future<Output = anyhow::Result<Found>>,
) -> anyhow::Result<Summary> {
    let shutdown = process.shutdown();
    let all = async move {
        let found = listed.await?;
        if found.items.is_empty() {
            tracing::info!("nothing to do: no object of the inputs is this shard's, or of this interval");
        }
        let progress = Arc::new(Progress::new(metrics, &found.items));
        for failure in &found.failures {
            tracing::error!(input = failure.input, reason = failure.reason, "object has no scores");
            progress.failed(Error::Missing.tag());
        }
        let working = Arc::clone(&progress);
        let summary = spawn_blocking(move || job.run(found, &working, &shutdown));
        let summary = tokio::select! {
            summary = summary => summary?,
            never = progress.show() => match never {},
        };
        let Summary { objects, records, failed, undone, seconds, .. } = &summary;
        tracing::info!(objects, records, failed, undone, seconds, "batch done");
        Ok(summary)
    };
    process.run_job(all).await
}

/// The inputs and the destination, of which the document may know both.
fn places(
    document: &Pipeline,
    bucket: Option<&str>,
    to: Option<Location>,
    inputs: Vec<Location>,
) -> Result<(Vec<Location>, Destination), ConfigError> {
    let prefixes = |flag: &str| match (bucket, &document.spec.batch) {
        (Some(bucket), Some(Prefixes { inbox, scores })) => {
            let place = |key: &String| Location::S3 { bucket: bucket.to_owned(), key: key.clone() };
            Ok((place(inbox), place(scores)))
        }
        (None, _) => {
            Err(ConfigError::new(format!("{flag} is missing, and so is --bucket with the document's `batch`")))
        }
        (Some(_), None) => Err(ConfigError::new(format!("{flag} is missing, and the document has no `batch`"))),
    };
    let inputs = if inputs.is_empty() { vec![prefixes("INPUT")?.0] } else { inputs };
    let to = to.map_or_else(|| prefixes("--to").map(|(_, scores)| scores), Ok)?;
    let to = Destination::new(to, &inputs)?;
    Ok((inputs, to))
}

fn load(folder: &std::path::Path, scoring: &Scoring) -> Result<Arc<millrace_scoring::Bundle>, ConfigError> {
    models::load(folder, &scoring.model, &models::forbidden_fields(&scoring.never)?)
}

impl SelectArgs {
    fn choice(self, document: &Pipeline, part_size: u64) -> Result<Choice, ConfigError> {
        let Self { modified_since: since, modified_before: before, shard, shards: of } = self;
        let shard = match shard {
            Some(index) if index < of => Shard { index, of },
            Some(index) => {
                let fault = format!("--shard: {index} is not below the number of shards, --shards {of}");
                return Err(ConfigError::new(fault));
            }
            None if of == 1 => Shard { index: 0, of },
            None => return Err(ConfigError::new(format!("--shard is missing: which one of --shards {of} is this?"))),
        };
        let inbox = document.spec.batch.as_ref().map(|batch| batch.inbox.clone());
        Ok(Choice { since, before, shard, part_size, inbox })
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
