use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use millrace_postgres::{Pool, check, migrate};
use millrace_runtime::{ConfigError, Ready, Shutdown, tls};
use tokio::net::TcpListener;

use crate::serve::{MIGRATIONS, ModelStore, Options, Parts, SCHEMA, serve};

/// Keeps the schemas of all records.
#[derive(Debug, clap::Parser)]
#[command(name = "millrace-registry", version)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Serves REST (Confluent's API) and gRPC.
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
    #[command(flatten)]
    tls: tls::Args,
    /// Where the REST API is served.
    #[arg(long, env = "MILLRACE_HTTP_ADDR", default_value = "127.0.0.1:8081", value_name = "ADDR")]
    http_addr: SocketAddr,
    /// Where gRPC is served.
    #[arg(long, env = "MILLRACE_GRPC_ADDR", default_value = "127.0.0.1:8082", value_name = "ADDR")]
    grpc_addr: SocketAddr,
    /// The error code of an incompatible schema: 409 (Confluent up to 7.9; what most clients know) or 40901 (8.0 and later).
    #[arg(
        long,
        env = "MILLRACE_REGISTRY_INCOMPATIBLE_CODE",
        default_value = "409",
        value_name = "CODE",
        value_parser = incompatible_code
    )]
    incompatible_code: u32,
    #[command(flatten)]
    aws: millrace_aws::Args,
    /// Where the bundles of models are kept. Without it there are no models here.
    #[arg(long, env = "MILLRACE_MODEL_STORE", value_name = "s3://BUCKET/PREFIX")]
    model_store: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Migrate {
    #[command(flatten)]
    runtime: millrace_runtime::Args,
    #[command(flatten)]
    postgres: millrace_postgres::Args,
}

/// The budget of requests that have begun.
const DRAIN: Duration = Duration::from_secs(20);
/// The pause between two looks at a database that is away.
const PAUSE: Duration = Duration::from_secs(1);

fn incompatible_code(text: &str) -> Result<u32, String> {
    match text {
        "409" => Ok(409),
        "40901" => Ok(40_901),
        _ => Err("expected 409 or 40901".to_owned()),
    }
}

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
        let Self { runtime, postgres, tls, http_addr, grpc_addr, incompatible_code, aws, model_store } = self;
        let models = model_store.map(|uri| ModelStore::parse(aws.client().objects(), &uri)).transpose();
        let models = models.map_err(|fault| ConfigError::new(format!("--model-store: {fault}")))?;
        let pool = postgres.pool()?;
        let tls = tls.server()?;
        let mut process = runtime.start("registry").await?;
        let parts = Parts {
            http: bind(http_addr).await?,
            grpc: bind(grpc_addr).await?,
            tls,
            pool: pool.clone(),
            meter: process.meter(),
            options: Options { incompatible_code },
            models,
        };
        tracing::info!(http = %parts.http.local_addr()?, grpc = %parts.grpc.local_addr()?, "listening");
        let ready = process.readiness("database");
        process.spawn("database", Duration::from_secs(1), |shutdown| follow_database(pool, ready, shutdown));
        process.spawn("serve", DRAIN, |shutdown| serve(parts, shutdown));
        process.run_until_signal().await
    }
}

impl Migrate {
    async fn run(self) -> anyhow::Result<()> {
        let Self { runtime, postgres } = self;
        let pool = postgres.pool()?;
        let _process = runtime.start("registry").await?; // for its logs
        let applied = migrate(&pool, SCHEMA, MIGRATIONS).await.context("migrate the database")?;
        tracing::info!(applied, "database is up to date");
        Ok(())
    }
}

async fn bind(addr: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(addr).await.with_context(|| format!("listen on {addr}"))
}

/// Ready once the database was there and of the right version; from then on ids that are known are served even while it is away.
async fn follow_database(pool: Pool, ready: Ready, shutdown: Shutdown) -> anyhow::Result<()> {
    loop {
        match check(&pool, SCHEMA, MIGRATIONS).await {
            Ok(()) => break,
            Err(error) if error.is_retriable() => tracing::warn!(%error, "waiting for the database"),
            Err(error) => return Err(error.into()),
        }
        tokio::select! {
            () = shutdown.wait() => return Ok(()),
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
    ready.set(true);
    shutdown.wait().await;
    Ok(())
}
