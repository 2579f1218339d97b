//! The command line of Millrace.
//!
//! ```text
//! publish ----> gateway (gRPC)          keys ----> gateway (gRPC, admin token)
//! tail, dead -> Kafka                   pipeline -> registry, Kafka, Postgres
//! trace ------> Kafka and Postgres      dev -----> the local stack
//! dag --------> scheduler (gRPC)        lake ----> S3 and Kafka
//! import -----> SQS                     model ---> registry (gRPC)
//! ```
//!
//! Where things are comes from flags, else from the environment, else from `.millrace/env` of the local stack in this folder or
//! above it: after `millrace dev up` every command just works.

mod connect;
mod dag;
mod dead;
mod decode;
pub mod dev;
mod dotenv;
mod import;
mod keys;
mod lake;
mod model;
mod output;
pub mod pipeline;
mod publish;
mod tail;
mod trace;

use clap::{ArgMatches, Command, CommandFactory, FromArgMatches, Parser, Subcommand};

pub use output::{Format, Output};

/// Millrace: events in, scores and verdicts out.
#[derive(Debug, Parser)]
#[command(
    name = "millrace",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Cli {
    /// How results are printed.
    // Not MILLRACE_OUTPUT: in tasks of the scheduler that is the file for what they hand on.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, env = "MILLRACE_FORMAT")]
    output: Format,
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Send events from a file or from standard input.
    Publish(publish::Args),
    /// Show every stage that an event went through, with time and place.
    Trace(trace::Args),
    /// Print records of a topic as they come.
    Tail(tail::Args),
    /// Make, list and revoke API keys.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Check pipeline documents and make what they need.
    #[command(subcommand)]
    Pipeline(pipeline::Command),
    /// List dead letters, look into them, and send mended ones through again.
    #[command(subcommand)]
    Dead(dead::Command),
    /// See which files of scores could not be imported, and have them tried again.
    #[command(subcommand)]
    Import(import::Command),
    /// Prove that what is archived is complete, and remove what no archive names.
    #[command(subcommand)]
    Lake(lake::Command),
    /// Store models, and say which of them scores which pipeline.
    #[command(subcommand)]
    Model(model::Command),
    /// Put workflows in force, run them, and see why they do not run.
    #[command(subcommand)]
    Dag(dag::Command),
    /// Start, stop and inspect the local stack.
    #[command(subcommand)]
    Dev(dev::Command),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// The command line with the local stack's addresses as defaults.
#[derive(Debug)]
pub struct Args(Cli);

impl CommandFactory for Args {
    fn command() -> Command {
        dotenv::Defaults::find().apply(Cli::command())
    }

    fn command_for_update() -> Command {
        Self::command()
    }
}

impl FromArgMatches for Args {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Cli::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl Parser for Args {}

impl Args {
    /// Does what was asked.
    pub async fn run(self) -> anyhow::Result<()> {
        let Cli { output, command } = self.0;
        let output = Output::new(output);
        match command {
            Subcommands::Publish(args) => args.run(output).await,
            Subcommands::Trace(args) => args.run(output).await,
            Subcommands::Tail(args) => args.run(output).await,
            Subcommands::Keys(command) => command.run(output).await,
            Subcommands::Pipeline(command) => command.run(output).await,
            Subcommands::Dead(command) => command.run(output).await,
            Subcommands::Import(command) => command.run(output).await,
            Subcommands::Lake(command) => command.run(output).await,
            Subcommands::Model(command) => command.run(output).await,
            Subcommands::Dag(command) => command.run(output).await,
            Subcommands::Dev(command) => command.run(output).await,
            Subcommands::Completions { shell } => {
                clap_complete::generate(shell, &mut Cli::command(), "millrace", &mut std::io::stdout());
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
