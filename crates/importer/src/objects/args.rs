//! `millrace-importer objects`: the wiring.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context as _;
use millrace_core::{Pipeline, Span};
use millrace_postgres::Pool;
use millrace_runtime::{ConfigError, Process, Shutdown};
use millrace_schema::client;
use tokio::sync::{self, Semaphore};

use super::{
    import::Import,
    message::{Desk, Settings, UNIT},
    reception,
    route::Routes,
};
use crate::{
    error::Result,
    metrics::{Metrics, ObjectMetrics},
    patience::Waiting,
    plans::Plans,
};

/// What may pass until all that has begun is in, or given back.
const BUDGET: Duration = Duration::from_secs(25);

/// Stores files of scores that S3 tells of through SQS.
#[derive(clap::Args)]
pub(crate) struct Objects {
    #[command(flatten)]
    runtime: millrace_runtime::Args,
    #[command(flatten)]
    aws: millrace_aws::Args,
    #[command(flatten)]
    database: millrace_postgres::Args,
    #[command(flatten)]
    registry: client::Args,
    /// Pipeline documents: files or folders.
    #[arg(long, env = "MILLRACE_PIPELINES", value_name = "PATH", value_delimiter = ',', required = true, num_args = 1..)]
    pipelines: Vec<PathBuf>,
    /// The bucket of the files; whose one is, its key says: `batch.scores` of the documents.
    #[arg(long, env = "MILLRACE_BATCH_BUCKET", value_name = "BUCKET")]
    bucket: String,
    /// The queue of S3's notifications: as they are, wrapped by SNS, or by EventBridge.
    #[arg(long, env = "MILLRACE_IMPORT_QUEUE_URL", value_name = "URL")]
    queue_url: String,
    /// The queue of messages that cannot be done, each with its reason. Without it they come again and again.
    #[arg(long, env = "MILLRACE_IMPORT_DEAD_QUEUE_URL", value_name = "URL")]
    dead_queue_url: Option<String>,
    /// How often a message that fails for a reason of its own is received before it is a dead letter.
    #[arg(long, env = "MILLRACE_IMPORT_RECEIVES", value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    receives: u32,
    /// How long such a message waits after the first failure; then twice as long each time, 15 minutes at most.
    #[arg(long, env = "MILLRACE_IMPORT_PAUSE", value_name = "SPAN", default_value = "30s")]
    pause: Span,
    /// Messages at once; each takes a connection to Postgres.
    #[arg(long, env = "MILLRACE_IMPORT_MESSAGES", value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=100))]
    messages: u16,
    /// Bytes of objects at once, by their sizes in S3; a larger one is alone.
    #[arg(long, env = "MILLRACE_IMPORT_BYTES", value_name = "BYTES", default_value_t = 1 << 30, value_parser = clap::value_parser!(u64).range(1 << 20..=1 << 40))]
    bytes: u64,
}

/// Messages are hidden for so long at least, whatever the queue says.
const SHORTEST: Duration = Duration::from_secs(3);

/// What the imports of all pipelines share.
struct Parts {
    objects: millrace_aws::Objects,
    pool: Pool,
    registry: client::Client,
}

impl Objects {
    /// Stores until a signal ends it.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let Self { runtime, aws, database, registry, pipelines, bucket, queue_url, dead_queue_url, .. } = &self;
        let routes = Routes::new(bucket.clone(), &Pipeline::load_all(pipelines)?)?;
        let aws = aws.client();
        let parts = Parts {
            objects: aws.objects(),
            // One for each message, one that makes tables, and one to look.
            pool: database.clone().with_room(usize::from(self.messages) + 2).pool()?,
            registry: client::Client::new(registry).map_err(|error| ConfigError::new(error.to_string()))?,
        };
        let mut process = runtime.clone().start("importer").await?;
        let waiting = Waiting {
            metrics: Metrics::new(&process.meter(), "", "objects"),
            ready: process.readiness("objects"),
            shutdown: process.shutdown(),
        };
        let Some(visibility) = begin(&parts.pool, &aws.queue(queue_url), &waiting).await? else {
            return process.run_until_signal().await;
        };
        let all_bytes = u32::try_from(self.bytes / UNIT).unwrap_or(u32::MAX);
        let desk = Desk {
            queue: aws.queue(queue_url),
            dead: dead_queue_url.as_ref().map(|url| aws.queue(url)),
            imports: imports(&routes, &parts, &process),
            routes,
            bytes: Arc::new(Semaphore::new(all_bytes as usize)),
            all_bytes,
            settings: Settings {
                receives: self.receives,
                pause: self.pause.into(),
                visibility: visibility.max(SHORTEST),
            },
            waiting,
            metrics: ObjectMetrics::new(&process.meter()),
        };
        let (desk, most) = (Arc::new(desk), usize::from(self.messages));
        process.spawn("objects", BUDGET, move |shutdown: Shutdown| async move {
            reception::run(desk, most, shutdown).await.context("import objects")
        });
        process.run_until_signal().await
    }
}

/// Waits until database and queue are there: how long the queue hides messages. None at shutdown.
async fn begin(pool: &Pool, queue: &millrace_aws::Queue, waiting: &Waiting) -> Result<Option<Duration>> {
    let mut patience = waiting.patience("begin");
    loop {
        let begun = async {
            millrace_postgres::check(pool, crate::SCHEMA, crate::MIGRATIONS).await?;
            Ok(queue.visibility().await?)
        };
        match begun.await {
            Ok(visibility) => {
                patience.done();
                return Ok(Some(visibility));
            }
            Err(error) => {
                if !patience.after(error).await? {
                    return Ok(None);
                }
            }
        }
    }
}

fn imports(routes: &Routes, parts: &Parts, process: &Process) -> Vec<Import> {
    let idle = Arc::<Mutex<_>>::default();
    let import = |route: &super::route::Route| Import {
        route: route.clone(),
        objects: parts.objects.clone(),
        pool: parts.pool.clone(),
        plans: sync::Mutex::new(Plans::new(Arc::clone(&route.feed), parts.registry.clone(), parts.pool.clone())),
        metrics: Metrics::new(&process.meter(), &route.feed.pipeline, route.feed.name),
        idle: Arc::clone(&idle),
    };
    routes.all().iter().map(import).collect()
}
