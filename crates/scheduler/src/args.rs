use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use millrace_core::record::SIGNALS_TOPIC;
use millrace_kafka::Admin;
use millrace_postgres::{Pool, check, migrate};
use millrace_runtime::{ConfigError, Shutdown, grpc, tls};
use millrace_schema::client;
use tokio::net::TcpListener;

use crate::{
    Teller,
    apply::Abilities,
    engine::{self, Engine, Metrics},
    exec::{Executors, Processes, Secrets},
    folder,
    service::Service,
    store::{MIGRATIONS, SCHEMA, Store},
};

/// Runs workflows: graphs of tasks, on a schedule, by events or by hand.
#[derive(Debug, Parser)]
#[command(name = "millrace-scheduler", version)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Serves gRPC, fires schedules and carries tasks out.
    Serve(Box<Serve>),
    /// Brings the database to this version, then ends.
    Migrate(Migrate),
}

#[derive(Debug, clap::Args)]
struct Serve {
    #[command(flatten)]
    runtime: millrace_runtime::Args,
    #[command(flatten)]
    postgres: millrace_postgres::Args,
    /// For signals of deadlines.
    #[command(flatten)]
    kafka: Option<millrace_kafka::Args>,
    #[command(flatten)]
    registry: Option<client::Args>,
    #[command(flatten)]
    tls: tls::Args,
    #[command(flatten)]
    aws: millrace_aws::Args,
    #[command(flatten)]
    work: Work,
    /// The topic of signals; of several installations on the same brokers each has its own.
    #[arg(long, env = "MILLRACE_SIGNALS_TOPIC", value_name = "TOPIC", default_value = SIGNALS_TOPIC)]
    signals_topic: String,
    /// Where gRPC is served.
    #[arg(long, env = "MILLRACE_GRPC_ADDR", default_value = "127.0.0.1:8084", value_name = "ADDR")]
    grpc_addr: SocketAddr,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Work")]
struct Work {
    /// Where process tasks keep what they do; on a volume that outlives this process, so that they are found again.
    #[arg(
        long,
        env = "MILLRACE_SCHEDULER_FOLDER",
        default_value = "/var/lib/millrace/scheduler",
        value_name = "FOLDER"
    )]
    folder: PathBuf,
    /// Secrets that documents name, one a file. Those that are not here are looked for as MILLRACE_SECRET_<NAME>.
    #[arg(long, env = "MILLRACE_SCHEDULER_SECRETS", value_name = "FOLDER")]
    secrets: Option<PathBuf>,
    /// Documents that are applied, and again when they change: a Git checkout, a ConfigMap.
    #[arg(long, env = "MILLRACE_SCHEDULER_DOCUMENTS", value_name = "FOLDER")]
    documents: Option<PathBuf>,
    /// How many tasks run here at once; those that only wait are not counted.
    #[arg(long, env = "MILLRACE_SCHEDULER_PARALLELISM", default_value_t = 64, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    parallelism: u32,
    /// How many of them may be of backfills; half, where it is not said.
    #[arg(long, env = "MILLRACE_SCHEDULER_BACKGROUND", value_name = "N")]
    background: Option<u32>,
    /// How long a scheduler that says nothing keeps its tasks before others take over.
    #[arg(long, env = "MILLRACE_SCHEDULER_LEASE", default_value = "10s", value_name = "TIME")]
    lease: millrace_core::Span,
    /// How long what has ended is kept: runs, attempts with the ends of their logs, slots.
    #[arg(long, env = "MILLRACE_SCHEDULER_HISTORY", default_value = "400d", value_name = "TIME")]
    history: millrace_core::Span,
    /// How long a process task goes on without a scheduler before it ends itself; the same everywhere.
    #[arg(long, env = "MILLRACE_SCHEDULER_FENCE", default_value = "1m", value_name = "TIME")]
    fence: millrace_core::Span,
}

#[derive(Debug, clap::Args)]
struct Migrate {
    #[command(flatten)]
    runtime: millrace_runtime::Args,
    #[command(flatten)]
    postgres: millrace_postgres::Args,
}

/// The budget of what has begun: calls of tasks, and calls of ours.
const DRAIN: Duration = Duration::from_secs(20);
/// The pause between two looks at a database that is away.
const PAUSE: Duration = Duration::from_secs(1);
/// The shortest lease: others must have time to renew theirs.
const SHORTEST: Duration = Duration::from_secs(1);
/// How long what process tasks have left is kept.
const KEPT: Duration = Duration::from_hours(72);
/// How often the database is kept in order.
const HOUSEKEEPING: Duration = Duration::from_hours(1);
/// How often that is looked at.
const SWEEP: Duration = Duration::from_mins(10);

impl Args {
    /// Does what the command line says.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Serve(args) => args.run().await,
            Command::Migrate(args) => args.run().await,
        }
    }
}

impl Serve {
    async fn run(self) -> anyhow::Result<()> {
        let Self { runtime, postgres, kafka, registry, tls, aws, work, signals_topic, grpc_addr } = self;
        let pool = postgres.pool()?;
        let tls = tls.server()?;
        let lease = Duration::from(work.lease);
        if lease < SHORTEST {
            return Err(ConfigError::new(format!("--lease {}: at least 1s", work.lease)).into());
        }
        if Duration::from(work.fence) < lease {
            return Err(ConfigError::new(format!("--fence {}: at least --lease, {}", work.fence, work.lease)).into());
        }
        let processes = work.processes()?;
        let kafka = kafka.map(|kafka| kafka.client()).transpose()?;
        let mut process = runtime.start("scheduler").await?;
        let listener = TcpListener::bind(grpc_addr).await.with_context(|| format!("listen on {grpc_addr}"))?;
        tracing::info!(grpc = %listener.local_addr()?, "listening");
        let store = Store::new(pool.clone());
        let settings = engine::Settings {
            name: process.instance_id().to_owned(),
            lease,
            parallelism: work.parallelism as usize,
            background: work.background.unwrap_or(work.parallelism.div_ceil(2)) as usize,
            drain: DRAIN,
        };
        let mut executors = Executors::new(processes.clone(), &Secrets::new(work.secrets.clone()), store.clone())?
            .with_aws(&aws.client());
        if let Some(kafka) = &kafka {
            executors = executors.with_kafka(Admin::new(kafka)?);
        }
        let teller = match (&kafka, &registry) {
            (Some(kafka), Some(registry)) => {
                let registry = client::Client::new(registry).map_err(|error| ConfigError::new(error.to_string()))?;
                Some(Teller::new(kafka, registry, &signals_topic, &process.meter())?)
            }
            _ => None,
        };
        let abilities = Abilities { signals: teller.is_some(), topics: executors.has_kafka() };
        let service =
            Service::new(store.clone(), executors.grpc().clone(), abilities).with_executors(executors.clone());
        let engine = Arc::new(Engine::new(&store, executors, settings, Metrics::new(&process.meter())));
        let ready = process.readiness("database");
        process.spawn("serve", DRAIN, |shutdown| async move {
            let routes = tonic::service::Routes::new(service.server());
            grpc::serve(listener, tls, routes, millrace_proto::DESCRIPTORS, shutdown).await
        });
        process.spawn("work", DRAIN + PAUSE, |shutdown| async move {
            if !database_is_there(&pool, &shutdown).await? {
                return Ok(());
            }
            ready.set(true);
            let house = keep_house(store.clone(), work.history, shutdown.clone());
            let follow = async {
                if let Some(folder) = work.documents {
                    return folder::follow(folder, store.clone(), abilities, shutdown.clone()).await;
                }
                shutdown.wait().await;
                Ok(())
            };
            let tell = async {
                match teller {
                    Some(teller) => teller.run(store.clone(), shutdown.clone()).await,
                    None => Ok(()),
                }
            };
            let fire = engine::fire_schedules(store.clone(), shutdown.clone());
            let watch = engine::watch_deadlines(store.clone(), shutdown.clone());
            tokio::try_join!(engine.run(shutdown.clone()), fire, watch, tell, follow, house)?;
            Ok(())
        });
        process.spawn("sweep", PAUSE, |shutdown| sweep(processes, shutdown));
        process.run_until_signal().await
    }
}

impl Work {
    fn processes(&self) -> anyhow::Result<Processes> {
        let program = std::env::current_exe().context("find this program")?;
        let shim = program.with_file_name("millrace-shim");
        if !shim.is_file() {
            return Err(
                ConfigError::new(format!("{}: process tasks need it beside this program", shim.display())).into()
            );
        }
        let secrets = Secrets::new(self.secrets.clone());
        let processes = Processes::new(&self.folder.join("attempts"), shim, secrets, self.fence.into());
        Ok(processes.map_err(|error| ConfigError::new(format!("--folder: {error}")))?)
    }
}

impl Migrate {
    async fn run(self) -> anyhow::Result<()> {
        let Self { runtime, postgres } = self;
        let pool = postgres.pool()?;
        let _process = runtime.start("scheduler").await?; // for its logs
        let applied = migrate(&pool, SCHEMA, MIGRATIONS).await.context("migrate the database")?;
        tracing::info!(applied, "database is up to date");
        Ok(())
    }
}

/// Waits until the database is there and of the right version. False: the shutdown came first.
async fn database_is_there(pool: &Pool, shutdown: &Shutdown) -> anyhow::Result<bool> {
    loop {
        match check(pool, SCHEMA, MIGRATIONS).await {
            Ok(()) => return Ok(true),
            Err(error) if error.is_retriable() => tracing::warn!(%error, "waiting for the database"),
            Err(error) => return Err(error.into()),
        }
        tokio::select! {
            () = shutdown.wait() => return Ok(false),
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Makes room for history, and removes what is too old.
async fn keep_house(store: Store, history: millrace_core::Span, shutdown: Shutdown) -> anyhow::Result<()> {
    loop {
        let now = jiff::Timestamp::now();
        let oldest = now
            .checked_sub(jiff::SignedDuration::from_millis(history.as_millis() as i64))
            .unwrap_or(jiff::Timestamp::MIN);
        if let Err(error) = store.keep_house(now, oldest).await {
            tracing::warn!(%error, "cannot keep house, trying again");
        }
        tokio::select! {
            () = shutdown.wait() => return Ok(()),
            () = tokio::time::sleep(HOUSEKEEPING) => {}
        }
    }
}

/// Removes what process tasks have left.
async fn sweep(processes: Processes, shutdown: Shutdown) -> anyhow::Result<()> {
    loop {
        if let Err(error) = processes.sweep(KEPT).await {
            tracing::warn!(%error, "cannot remove what tasks have left");
        }
        tokio::select! {
            () = shutdown.wait() => return Ok(()),
            () = tokio::time::sleep(SWEEP) => {}
        }
    }
}
