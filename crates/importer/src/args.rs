//! The command line.

use crate::{objects::Objects, stream::Stream};

/// Brings scores and verdicts from Kafka to Postgres, exactly once.
#[derive(clap::Parser)]
#[command(name = "millrace-importer", version, about)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Stores scores and verdicts as they arrive.
    Stream(Box<Stream>),
    /// Stores files of scores that S3 tells of through SQS.
    Objects(Box<Objects>),
    /// Brings the importer's own Postgres schema to the version of this binary.
    Migrate(Box<Migrate>),
}

#[derive(clap::Args)]
struct Migrate {
    #[command(flatten)]
    runtime: millrace_runtime::Args,
    #[command(flatten)]
    database: millrace_postgres::Args,
}

impl Args {
    /// Does what the command line says.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Stream(stream) => stream.run().await,
            Command::Objects(objects) => objects.run().await,
            Command::Migrate(migrate) => migrate.run().await,
        }
    }
}

impl Migrate {
    async fn run(self) -> anyhow::Result<()> {
        let Self { runtime, database } = self;
        let pool = database.pool()?;
        let _process = runtime.start("importer").await?;
        millrace_postgres::migrate(&pool, crate::SCHEMA, crate::MIGRATIONS).await?;
        Ok(())
    }
}
