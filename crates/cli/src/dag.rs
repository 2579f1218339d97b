//! `millrace dag`: workflows, by way of the scheduler.
//!
//! ```text
//! files --documents--> apply, plan --------------------+
//! args: names, moments, parameters                     |--> scheduler (gRPC) --view--> tables and sentences, or JSON
//!   run, backfill, clear, cancel, pause, pool, event --+
//!   list, show, runs, why, logs, slots, events, pools --+
//! ```

mod apply;
mod args;
mod backfill;
mod clear;
mod consent;
mod documents;
mod events;
mod follow;
mod list;
mod logs;
mod pools;
mod run;
mod runs;
mod show;
mod slots;
mod view;
mod why;

use std::error::Error;

use anyhow::Context;
use clap::Subcommand;
use millrace_proto::scheduler::v1::scheduler_service_client::SchedulerServiceClient;
use tonic::{Response, Status, transport::Channel};

use crate::{
    Output,
    connect::{self, anonymous},
};

/// What an answer may weigh, in bytes: a thousand attempts with the ends of their logs.
const MAX_ANSWER: usize = 256 << 20;

/// The scheduler's service, as a client has it.
type Client = SchedulerServiceClient<Channel>;

/// Where the scheduler is.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Scheduler {
    /// The scheduler's gRPC address.
    #[arg(long, env = "MILLRACE_SCHEDULER_GRPC", value_name = "ADDRESS")]
    scheduler_url: String,
}

impl Scheduler {
    fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::new(anonymous(&self.scheduler_url)?).max_decoding_message_size(MAX_ANSWER))
    }

    /// What a call answered, or why it did not; where nothing came of it on the way, where that was.
    fn answer<T>(&self, result: Result<Response<T>, Status>) -> anyhow::Result<T> {
        let was_answered = result.as_ref().map_or_else(|status| status.source().is_none(), |_| true);
        let answered = connect::answer(result);
        if was_answered {
            answered
        } else {
            answered.with_context(|| format!("reach the scheduler at {}", self.scheduler_url))
        }
    }
}

/// What to do with workflows.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check documents together and put them in force: all of them or none.
    Apply(apply::Apply),
    /// Check documents together and say what `apply` would change.
    Plan(apply::Plan),
    /// List DAGs, each once for each binding.
    List(list::Args),
    /// Show a DAG with its tasks, next moments and last runs, or a run with its tasks.
    Show(show::Args),
    /// Start a run by hand. The same key again gives the same run.
    Run(Box<run::Args>),
    /// List runs, newest first.
    Runs(runs::Args),
    /// Tell a run to end: what runs is told to end, what waits is cancelled.
    Cancel(runs::Cancel),
    /// Run moments of the past in the background. Says first which ones that are.
    Backfill(Box<backfill::Args>),
    /// Run tasks of a run that has ended again, with what comes after them. Says first which ones that are.
    Clear(clear::Args),
    /// Stop a DAG's schedule and its triggers. Runs that are there go on; events wait.
    Pause(list::Pause),
    /// Let a paused DAG's schedule and its triggers go on.
    Resume(list::Pause),
    /// Say what a run, or a DAG, waits for.
    Why(why::Args),
    /// Print the ends of the logs of a run's attempts, oldest first.
    Logs(logs::Args),
    /// List the moments of a DAG's schedule and what became of each, newest first.
    Slots(slots::Args),
    /// Record an event, which may start runs. The same id again changes nothing.
    Event(events::Record),
    /// List events and what became of each, those that were recorded last first.
    Events(events::Args),
    /// List pools and what is in use of them.
    Pools(pools::Args),
    /// Make a pool, or change its size.
    Pool(pools::Set),
}

impl Command {
    pub(crate) async fn run(self, output: Output) -> anyhow::Result<()> {
        match self {
            Self::Apply(args) => args.run(output).await,
            Self::Plan(args) => args.run(output).await,
            Self::List(args) => args.run(output).await,
            Self::Show(args) => args.run(output).await,
            Self::Run(args) => args.run(output).await,
            Self::Runs(args) => args.run(output).await,
            Self::Cancel(args) => args.run(output).await,
            Self::Backfill(args) => args.run(output).await,
            Self::Clear(args) => args.run(output).await,
            Self::Pause(args) => args.set(true, output).await,
            Self::Resume(args) => args.set(false, output).await,
            Self::Why(args) => args.run(output).await,
            Self::Logs(args) => args.run(output).await,
            Self::Slots(args) => args.run(output).await,
            Self::Event(args) => args.run(output).await,
            Self::Events(args) => args.run(output).await,
            Self::Pools(args) => args.run(output).await,
            Self::Pool(args) => args.run(output).await,
        }
    }
}
