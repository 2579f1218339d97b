//! `millrace dev`: the local stack, with the demo in it.
//!
//! ```text
//! up: Kafka + Postgres -> registry -> pipeline applied, model trained, key made -> the other services -> .millrace/env
//!       --detach: a keeper in the background, and done       else: the demo's load and batches, and a live table until Ctrl-C
//! inbox: files of mail as a partner delivers them
//! down, status, logs: by the stack's folder                  exec: a program with the stack's addresses
//! ```

mod demo;
mod detach;
mod exec;
mod inbox;
mod load;
mod logs;
mod metrics;
mod screen;
mod signals;
mod status;
mod up;
mod webhooks;

use std::path::PathBuf;

use clap::Subcommand;
use millrace_devstack as devstack;

use crate::Output;

/// What to do with the local stack.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start Kafka, Postgres and all services, and show mail events on their way through.
    Up(up::Args),
    /// Stop everything that `up` has started, also what a crash has left.
    Down(Place),
    /// Show which parts run, where, and how far behind they are.
    Status(Place),
    /// Print the log of a part.
    Logs(logs::Args),
    /// Deliver made-up files of mail to an inbox of the batch path, as a partner would.
    Inbox(inbox::Args),
    /// Run a program with the stack's addresses in its environment.
    Exec(exec::Args),
}

/// Where a stack lives.
#[derive(Clone, Debug, clap::Args)]
pub struct Place {
    /// The stack's folder: data, logs, addresses.
    #[arg(long, value_name = "DIR", env = "MILLRACE_DIR", default_value = ".millrace")]
    dir: PathBuf,
}

impl Command {
    /// Does it.
    pub async fn run(self, output: Output) -> anyhow::Result<()> {
        match self {
            Self::Up(args) => args.run(output).await,
            Self::Down(Place { dir }) => down(&dir, output).await,
            Self::Status(Place { dir }) => status::show(&dir, output).await,
            Self::Logs(args) => args.run(output).await,
            Self::Inbox(args) => args.run(output).await,
            Self::Exec(args) => args.run().await,
        }
    }
}

async fn down(dir: &std::path::Path, output: Output) -> anyhow::Result<()> {
    let was_running = devstack::down(dir).await?;
    output.value(&serde_json::json!({ "stopped": was_running }), |_| {
        let what = if was_running { "stopped the stack in" } else { "nothing runs in" };
        format!("{what} {}", dir.display())
    })
}
