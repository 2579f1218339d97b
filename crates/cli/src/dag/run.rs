//! `millrace dag run`.

use anyhow::{Context, bail};
use jiff::Timestamp;
use millrace_proto::scheduler::v1::{GetRunResponse, RunState, StartRunRequest, TaskState};
use serde::Serialize;

use super::{
    Scheduler,
    args::{Name, Params, moment, timestamp},
    follow::follow,
    view::{Run, RunWithTasks, Task},
};
use crate::Output;

/// Starts a run by hand. The same key again gives the same run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The DAG, with its binding where it has some.
    #[arg(value_name = "DAG[/BINDING]")]
    dag: Name,
    #[command(flatten)]
    params: Params,
    /// What makes it the run that it is: with a key, doing it again is safe. Without one it gets one of its own.
    #[arg(long)]
    key: Option<String>,
    /// The moment that it is about, for templates: 2026-11-21 (in UTC), or a moment with a zone or an offset. Without it: now.
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    logical_date: Option<Timestamp>,
    /// Follow it until it has ended, and end with 1 when it did not succeed.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    scheduler: Scheduler,
}

/// The run, as it began or as it ended.
#[derive(Clone, Debug, Serialize)]
struct Started {
    #[serde(flatten)]
    run: Run,
    /// There was a run of this key already.
    existed: bool,
    /// Of a run that was waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks: Option<Vec<Task>>,
}

impl Args {
    pub(super) async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { dag, params, key, logical_date, wait, scheduler } = self;
        let request = StartRunRequest {
            r#ref: Some(dag.into()),
            key: key.unwrap_or_default(),
            params: params.read()?,
            logical_date: logical_date.map(timestamp),
        };
        let mut client = scheduler.client()?;
        let begun = scheduler.answer(client.start_run(request).await)?;
        let run = Run::from(begun.run.context("the scheduler's answer has no run")?);
        let started = Started { run, existed: begun.existed, tasks: None };
        if !wait {
            return output.value(&started, text);
        }
        eprintln!("{}", text(&started));
        let ended = follow(&mut client, started.run.id).await?;
        let verdict = verdict(&ended);
        let RunWithTasks { run, tasks } = RunWithTasks::new(ended)?;
        output.value(&Started { run, tasks: Some(tasks), ..started }, |started| started.run.sentence())?;
        verdict
    }
}

/// A run that is begun; one that was there already says so.
fn text(Started { run, existed, .. }: &Started) -> String {
    let already = if *existed { "; it was there already" } else { "" };
    format!("{}{already}", run.sentence())
}

/// A failure of the command where the run has not succeeded, with the tasks that are to blame.
fn verdict(ended: &GetRunResponse) -> anyhow::Result<()> {
    let (id, state) = ended.run.as_ref().map_or((0, RunState::Unspecified), |run| (run.id, run.state()));
    let failed = ended.tasks.iter().filter(|task| task.state() == TaskState::TaskFailed);
    let failed: Vec<&str> = failed.map(|task| task.name.as_str()).collect();
    match state {
        RunState::RunSucceeded => Ok(()),
        RunState::RunCancelled => bail!("run {id} was cancelled"),
        _ if failed.is_empty() => bail!("run {id} has failed"),
        _ => bail!("run {id} has failed at {}; `millrace dag logs {id}` shows the ends of the logs", failed.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use millrace_proto::scheduler::v1 as proto;

    use super::*;
    use crate::dag::view::tests::run;

    #[test]
    fn only_success_is_success() {
        let ended = |state| GetRunResponse { run: Some(run(17, state)), tasks: Vec::new() };
        assert!(verdict(&ended(RunState::RunSucceeded)).is_ok());
        for (state, said) in
            [(RunState::RunFailed, "run 17 has failed"), (RunState::RunCancelled, "run 17 was cancelled")]
        {
            assert_eq!(verdict(&ended(state)).unwrap_err().to_string(), said);
        }
    }

    #[test]
    fn a_failure_names_the_tasks_to_blame() {
        let task = |name: &str, state: TaskState| proto::Task {
            name: name.to_owned(),
            state: state as i32,
            ..proto::Task::default()
        };
        let tasks = vec![
            task("extract", TaskState::TaskSucceeded),
            task("score", TaskState::TaskFailed),
            task("load", TaskState::TaskUpstreamFailed),
        ];
        let said = verdict(&GetRunResponse { run: Some(run(17, RunState::RunFailed)), tasks }).unwrap_err();
        assert!(said.to_string().starts_with("run 17 has failed at score; "), "{said}");
    }

    #[test]
    fn a_run_that_was_there_says_so() {
        let run = Run::from(run(17, RunState::RunSucceeded));
        let started = Started { run, existed: true, tasks: None };
        assert_eq!(text(&started), "run 17 of hourly/acme: succeeded, after 3m 12s; it was there already");
        let value = serde_json::to_value(&started).unwrap();
        assert_eq!((&value["id"], &value["existed"]), (&17.into(), &true.into()));
        assert!(value.get("tasks").is_none());
    }
}
