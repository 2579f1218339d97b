//! The command line, and the wiring behind it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context;
use clap::{Parser, Subcommand};
use millrace_core::Pipeline;
use millrace_kafka as kafka;
use millrace_postgres as postgres;
use millrace_runtime::{self as runtime, ConfigError, Secret, tls};
use millrace_schema::client;
use tokio::net::TcpListener;
use tracing::info;

use crate::{
    Limits, Listeners, Service, Settings,
    keys::{MIGRATIONS, SCHEMA},
};

/// How long requests that have begun may take after SIGTERM: the longest wait for Kafka, and some.
const DRAIN: Duration = Duration::from_secs(25);

/// Where the gateway's own flags stand in the help.
const GATEWAY: &str = "Gateway";

/// Takes events in over gRPC and HTTP.
#[derive(Debug, Parser)]
#[command(name = "millrace-gateway", version)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve events and, with an admin token, API keys.
    Serve(Box<Serve>),
    /// Bring the Postgres schema `gateway` to this version.
    Migrate(Box<Migrate>),
}

#[derive(Debug, clap::Args)]
struct Serve {
    #[command(flatten)]
    runtime: runtime::Args,
    #[command(flatten)]
    kafka: kafka::Args,
    #[command(flatten)]
    postgres: postgres::Args,
    #[command(flatten)]
    registry: client::Args,
    #[command(flatten)]
    tls: tls::Args,
    #[command(flatten)]
    limits: Limits,
    /// Pipeline documents: files or folders.
    #[arg(long, env = "MILLRACE_PIPELINES", help_heading = GATEWAY, required = true, num_args = 1.., value_delimiter = ',', value_name = "PATH")]
    pipelines: Vec<PathBuf>,
    /// Where HTTP is served.
    #[arg(long, env = "MILLRACE_HTTP_ADDR", help_heading = GATEWAY, default_value = "127.0.0.1:8080", value_name = "ADDR")]
    http_addr: SocketAddr,
    /// Where gRPC is served.
    #[arg(long, env = "MILLRACE_GRPC_ADDR", help_heading = GATEWAY, default_value = "127.0.0.1:9090", value_name = "ADDR")]
    grpc_addr: SocketAddr,
    /// The token for making and revoking API keys. Without one there is no key service.
    #[arg(long, env = "MILLRACE_ADMIN_TOKEN", help_heading = GATEWAY, hide_env_values = true, value_name = "TOKEN")]
    admin_token: Option<String>,
    /// The same, from a file that is read again when it changes.
    #[arg(long, env = "MILLRACE_ADMIN_TOKEN_FILE", help_heading = GATEWAY, value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Migrate {
    #[command(flatten)]
    runtime: runtime::Args,
    #[command(flatten)]
    postgres: postgres::Args,
}

impl Args {
    /// Does what the command line says, until it is done or told to stop.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Serve(serve) => serve.run().await,
            Command::Migrate(migrate) => migrate.run().await,
        }
    }
}

impl Serve {
    async fn run(self) -> anyhow::Result<()> {
        let Self {
            runtime,
            kafka,
            postgres,
            registry,
            tls,
            limits,
            pipelines,
            http_addr,
            grpc_addr,
            admin_token,
            admin_token_file,
        } = self;
        let pipelines = Pipeline::load_all(&pipelines)?;
        let admin_token = Secret::from_settings("--admin-token", admin_token.as_deref(), admin_token_file.as_deref())?;
        let (kafka, postgres, tls) = (kafka.client()?, postgres.pool()?, tls.server()?);
        let registry = client::Client::new(&registry).map_err(|error| ConfigError::new(error.to_string()))?;
        let mut process = runtime.start("gateway").await?;
        let names: Vec<&str> = pipelines.iter().map(Pipeline::name).collect();
        info!(?names, "pipelines");
        let meter = process.meter();
        let service = Service::new(Settings { pipelines, kafka, postgres, registry, admin_token, limits, tls, meter })?;
        let listeners = Listeners { http: bind(http_addr).await?, grpc: bind(grpc_addr).await? };
        info!(http_addr = %listeners.http.local_addr()?, grpc_addr = %listeners.grpc.local_addr()?, "listening");
        process.spawn("serve", DRAIN, |shutdown| service.serve(listeners, shutdown));
        process.run_until_signal().await
    }
}

async fn bind(addr: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(addr).await.with_context(|| format!("listen on {addr}"))
}

impl Migrate {
    async fn run(self) -> anyhow::Result<()> {
        let Self { runtime, postgres } = self;
        let process = runtime.start("gateway").await?;
        let pool = postgres.pool()?;
        postgres::migrate(&pool, SCHEMA, MIGRATIONS).await.context("migrate the gateway's database")?;
        drop(process);
        Ok(())
    }
}
