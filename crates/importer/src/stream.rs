//! `millrace-importer stream`: the wiring.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use millrace_core::{Pipeline, Span};
use millrace_kafka::{Admin, Client, Producer, Source, producer::Config, source::SourceConfig};
use millrace_postgres::{Ledger, Pool};
use millrace_runtime::{ConfigError, Process, Shutdown};
use millrace_schema::client;

use crate::{
    feed::Feed,
    intake::{self, Intake},
    metrics::Metrics,
    patience::Waiting,
    plans::Plans,
    storer::{self, Storer},
};

/// What a feed may take to end: the batch that is being stored, and leaving the group.
const BUDGET: Duration = Duration::from_secs(20);
/// How often lag is measured.
const LAG: Duration = Duration::from_secs(10);

/// How many batches wait while a transaction is under way: together the next one.
const QUEUE: usize = 4;

/// Stores scores and verdicts as they arrive.
#[derive(clap::Args)]
pub struct Stream {
    #[command(flatten)]
    runtime: millrace_runtime::Args,
    #[command(flatten)]
    kafka: millrace_kafka::Args,
    #[command(flatten)]
    database: millrace_postgres::Args,
    #[command(flatten)]
    registry: client::Args,
    /// Pipeline documents: files or folders.
    #[arg(long, env = "MILLRACE_PIPELINES", value_name = "PATH", value_delimiter = ',', required = true, num_args = 1..)]
    pipelines: Vec<PathBuf>,
    /// Records of a transaction, about. More cost memory and bring little where a commit takes a few milliseconds.
    #[arg(long, env = "MILLRACE_IMPORT_RECORDS", value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch_records: u32,
    /// How long a batch that is not full waits for more records.
    #[arg(long, env = "MILLRACE_IMPORT_LINGER", value_name = "SPAN", default_value = "20ms")]
    batch_linger: Span,
}

/// What all feeds share.
#[derive(Clone)]
pub struct Parts {
    /// Kafka.
    pub kafka: Client,
    /// Postgres.
    pub pool: Pool,
    /// The schema registry.
    pub registry: client::Client,
    /// Records of a transaction, about.
    pub batch_records: usize,
    /// How long a batch that is not full waits for more records.
    pub batch_linger: Duration,
}

impl Stream {
    /// Stores until a signal ends it.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let Self { runtime, kafka, database, registry, pipelines, batch_records, batch_linger } = self;
        let feeds: Vec<Feed> = Pipeline::load_all(&pipelines)?.iter().flat_map(Feed::of).collect();
        if feeds.is_empty() {
            Err(ConfigError::new("--pipelines: no pipeline has `import`, so there is nothing to do"))?;
        }
        let parts = Parts {
            kafka: kafka.client()?,
            pool: database.pool()?,
            registry: client::Client::new(&registry).map_err(|error| ConfigError::new(error.to_string()))?,
            batch_records: batch_records as usize,
            batch_linger: batch_linger.into(),
        };
        let mut process = runtime.start("importer").await?;
        serve(&parts, feeds, &mut process)?;
        process.run_until_signal().await
    }
}

/// Starts the feeds in `process`.
pub fn serve(parts: &Parts, feeds: Vec<Feed>, process: &mut Process) -> anyhow::Result<()> {
    let producer = Producer::new(&parts.kafka, Config::new("importer-dead"), Some(&process.meter()))
        .context("make the producer of dead letters")?;
    let admin = Admin::new(&parts.kafka).context("make the admin client")?;
    for feed in feeds {
        let feed = Arc::new(feed);
        let metrics = Metrics::new(&process.meter(), &feed.pipeline, feed.name);
        let name = format!("{} {}", feed.pipeline, feed.name);
        let source = source(parts, &feed, process).with_context(|| format!("read {}", feed.topic))?;
        let ready = process.readiness(feed.name);
        let (parts, feed_of_lag, metrics_of_lag) = (parts.clone(), Arc::clone(&feed), metrics.clone());
        let producer = producer.clone();
        process.spawn(name.clone(), BUDGET, move |shutdown| async move {
            let waiting = Waiting { metrics, ready, shutdown };
            Ok(assemble(parts, feed, source, producer, waiting).run().await?)
        });
        let admin = admin.clone();
        process.spawn(format!("{name} lag"), Duration::from_secs(5), move |shutdown| {
            measure_lag(admin, feed_of_lag, metrics_of_lag, shutdown)
        });
    }
    Ok(())
}

fn source(parts: &Parts, feed: &Feed, process: &Process) -> millrace_kafka::Result<Source> {
    let config = SourceConfig {
        // Batches are of one partition; a transaction takes what is there of several.
        max_records: (parts.batch_records / QUEUE).max(1),
        linger: parts.batch_linger,
        queue: QUEUE,
        ..SourceConfig::new(format!("importer-{}", feed.name), feed.group.clone(), vec![feed.topic.clone()])
    };
    Source::new(&parts.kafka, config, Some(&process.meter()))
}

fn assemble(parts: Parts, feed: Arc<Feed>, source: Source, producer: Producer, waiting: Waiting) -> Intake {
    let Parts { pool, registry, batch_records, .. } = parts;
    let ledger = Ledger::new(crate::SCHEMA, feed.group.clone());
    let plans = Plans::new(Arc::clone(&feed), registry, pool.clone());
    let storer = Storer::new(storer::Parts {
        feed,
        pool: pool.clone(),
        ledger: ledger.clone(),
        producer,
        waiting: waiting.clone(),
    });
    Intake::new(intake::Parts { source, plans, pool, ledger, waiting, storer, max_records: batch_records })
}

async fn measure_lag(admin: Admin, feed: Arc<Feed>, metrics: Metrics, shutdown: Shutdown) -> anyhow::Result<()> {
    let topics = [feed.topic.clone()];
    loop {
        tokio::select! {
            () = shutdown.wait() => return Ok(()),
            () = tokio::time::sleep(LAG) => {}
        }
        match admin.lag(&feed.group, &topics).await {
            // What is not known is not measured: it is not 0.
            Ok(lag) => lag.total().into_iter().for_each(|records| metrics.lag(records)),
            Err(error) => tracing::debug!(%error, "lag is not known"),
        }
    }
}
