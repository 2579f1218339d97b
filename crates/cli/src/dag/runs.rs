//! `millrace dag runs` and `cancel`.

use anyhow::Context;
use millrace_proto::scheduler::v1::{CancelRunRequest, ListRunsRequest, RunState};

use super::{Scheduler, args::Name, view::Run};
use crate::Output;

/// Lists runs, newest first.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only of this DAG, with its binding where it has some.
    #[arg(value_name = "DAG[/BINDING]")]
    dag: Option<Name>,
    /// Only those in this state. May be repeated.
    #[arg(long = "state", value_enum, value_name = "STATE")]
    states: Vec<State>,
    /// How many at most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
    /// Only those older than this run: the next page.
    #[arg(long, value_name = "RUN", default_value_t = 0, hide_default_value = true)]
    before: i64,
    #[command(flatten)]
    scheduler: Scheduler,
}

/// What a run can be.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum State {
    /// Waits to begin.
    Queued,
    /// Has begun.
    Running,
    /// Has ended well.
    Succeeded,
    /// Has ended otherwise.
    Failed,
    /// Was told to end.
    Cancelled,
}

impl From<State> for RunState {
    fn from(state: State) -> Self {
        match state {
            State::Queued => Self::RunQueued,
            State::Running => Self::RunRunning,
            State::Succeeded => Self::RunSucceeded,
            State::Failed => Self::RunFailed,
            State::Cancelled => Self::RunCancelled,
        }
    }
}

/// Tells a run to end: what runs is told to end, what waits is cancelled.
#[derive(Debug, clap::Args)]
pub(crate) struct Cancel {
    /// The run's number, as `runs` shows it.
    run: i64,
    #[command(flatten)]
    scheduler: Scheduler,
}

impl Args {
    pub(super) async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { dag, states, limit, before, scheduler } = self;
        let states = states.into_iter().map(|state| RunState::from(state) as i32).collect();
        let request = ListRunsRequest { r#ref: dag.map(Into::into), states, limit, before };
        let listed = scheduler.answer(scheduler.client()?.list_runs(request).await)?;
        let runs: Vec<Run> = listed.runs.into_iter().map(Run::from).collect();
        output.rows(&runs, &Run::HEAD, Run::cells)
    }
}

impl Cancel {
    pub(super) async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { run, scheduler } = self;
        let run = scheduler.answer(scheduler.client()?.cancel_run(CancelRunRequest { run }).await)?.run;
        let run = Run::from(run.context("the scheduler's answer has no run")?);
        output.value(&run, Run::sentence)
    }
}
