//! The command line.

use crate::serve::Serve;

/// Brings what is in Kafka's topics to the lake: every offset once, with a proof.
#[derive(clap::Parser)]
#[command(name = "millrace-archiver", version, about)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Archives the topics of pipelines that have `lake`.
    Serve(Box<Serve>),
}

impl Args {
    /// Does what the command line says.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Serve(serve) => serve.run().await,
        }
    }
}
