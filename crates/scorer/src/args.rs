//! The command line.

use crate::{batch::Batch, stream::Stream, train::Train, wrap::Wrap};

/// Scores events as they arrive or from files, and trains the models that do it.
#[derive(clap::Parser)]
#[command(name = "millrace-scorer", version, about)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Scores events from Kafka to Kafka, exactly once.
    Stream(Box<Stream>),
    /// Scores files of events, from S3 or local ones.
    Batch(Box<Batch>),
    /// Makes a model bundle from labelled Avro files.
    Train(Box<Train>),
    /// Makes a model bundle around a model that was trained elsewhere.
    Wrap(Box<Wrap>),
}

impl Args {
    /// Does what the command line says.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Stream(stream) => stream.run().await,
            Command::Batch(batch) => batch.run().await,
            // Hours of computing: not on a thread that others wait for.
            Command::Train(train) => tokio::task::spawn_blocking(move || train.run()).await?,
            Command::Wrap(wrap) => tokio::task::spawn_blocking(move || wrap.run()).await?,
        }
    }
}
