//! The command line.

mod serve;
mod tellers;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use millrace_postgres::migrate;

use self::serve::Serve;
use crate::{MIGRATIONS, SCHEMA};

/// Decides about scored events, and tells whom it concerns.
#[derive(Parser)]
#[command(name = "millrace-alerter", version, about)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Judges scores and sends notifications.
    Serve(Box<Serve>),
    /// Brings the Postgres schema `alerter` up to date.
    Migrate(Box<Migrate>),
}

#[derive(clap::Args)]
struct Migrate {
    #[command(flatten)]
    runtime: millrace_runtime::Args,
    #[command(flatten)]
    postgres: millrace_postgres::Args,
}

impl Args {
    /// Does what the command line says.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Serve(serve) => serve.run().await,
            Command::Migrate(migrate) => migrate.run().await,
        }
    }
}

impl Migrate {
    async fn run(self) -> anyhow::Result<()> {
        let Self { runtime, postgres } = self;
        let pool = postgres.pool()?;
        let _process = runtime.start("alerter").await?; // for its logs
        let applied = migrate(&pool, SCHEMA, MIGRATIONS).await.context("migrate the database")?;
        tracing::info!(applied, "database is up to date");
        Ok(())
    }
}
