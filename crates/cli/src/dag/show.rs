//! `millrace dag show`: a DAG with all that it is, or a run with its tasks.

use anyhow::Context;
use jiff::Timestamp;
use millrace_proto::scheduler::v1::{DagRef, GetDagRequest, GetRunRequest, ListRunsRequest};
use serde::Serialize;
use serde_json::Value;

use super::{
    Scheduler,
    args::{Name, Target},
    view::{self, Dag, Run, RunWithTasks, Task},
};
use crate::{Output, output::table};

/// How many of its last runs a DAG is shown with.
const RUNS: u32 = 10;

/// What a task can do; the field of the document that says it.
const ACTIONS: [&str; 8] = ["noop", "sleep", "process", "http", "grpc", "service", "job", "wait"];

/// Shows a DAG with its tasks, next moments and last runs, or a run with its tasks.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The DAG, with its binding where it has some, or the run's number.
    #[arg(value_name = "DAG[/BINDING]|RUN")]
    target: Target,
    #[command(flatten)]
    scheduler: Scheduler,
}

/// A DAG with all that it is.
#[derive(Clone, Debug, Serialize)]
struct Whole {
    #[serde(flatten)]
    dag: Dag,
    /// The document in force.
    document: Value,
    /// The tasks, in an order in which they can run.
    order: Vec<String>,
    next: Vec<Timestamp>,
    /// The newest first.
    runs: Vec<Run>,
}

impl Args {
    pub(super) async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { target, scheduler } = self;
        match target {
            Target::Run(run) => {
                let found = scheduler.answer(scheduler.client()?.get_run(GetRunRequest { run }).await)?;
                output.value(&RunWithTasks::new(found)?, run_text)
            }
            Target::Dag(name) => output.value(&whole(name, &scheduler).await?, dag_text),
        }
    }
}

async fn whole(name: Name, scheduler: &Scheduler) -> anyhow::Result<Whole> {
    let mut client = scheduler.client()?;
    let context = format!("the scheduler's document of {name} is not JSON");
    let r#ref = Some(DagRef::from(name));
    let found = scheduler.answer(client.get_dag(GetDagRequest { r#ref: r#ref.clone() }).await)?;
    let runs = ListRunsRequest { r#ref, limit: RUNS, ..ListRunsRequest::default() };
    let runs = scheduler.answer(client.list_runs(runs).await)?.runs;
    Ok(Whole {
        dag: found.dag.context("the scheduler's answer has no DAG")?.into(),
        document: serde_json::from_str(&found.document).context(context)?,
        order: found.tasks,
        next: found.next.into_iter().filter_map(|at| view::time(Some(at))).collect(),
        runs: runs.into_iter().map(Run::from).collect(),
    })
}

fn dag_text(whole: &Whole) -> String {
    let Whole { dag, document, order, next, runs } = whole;
    let spec = &document["spec"];
    let next: Vec<String> = next.iter().map(|at| format!("{at:.0}")).collect();
    let facts = [
        ("for", view::one_line(spec["description"].as_str().unwrap_or_default())),
        ("schedule", if dag.paused { format!("{} (paused)", dag.schedule) } else { dag.schedule.clone() }),
        ("next", next.join(", ")),
        ("params", params(&spec["params"])),
        ("triggers", triggers(&spec["triggers"])),
        ("deadlines", deadlines(&spec["deadlines"])),
        ("runs", format!("{} running, {} queued", dag.running, dag.queued)),
        ("hash", dag.hash.clone()),
    ];
    let tasks: Vec<Vec<String>> = order.iter().map(|name| task_cells(name, &spec["tasks"][name])).collect();
    let mut text = format!("{}\n{}\n{}", dag.name, lines(&facts), table(&["TASK", "DOES", "AFTER"], &tasks));
    if !runs.is_empty() {
        let runs: Vec<Vec<String>> = runs.iter().map(Run::cells).collect();
        text += &format!("\n{}", table(&Run::HEAD, &runs));
    }
    text.trim_end().to_owned()
}

fn run_text(RunWithTasks { run, tasks }: &RunWithTasks) -> String {
    let interval = run.interval_start.zip(run.interval_end).map(|(from, to)| format!("{from:.0} to {to:.0}"));
    let params = if run.params.is_empty() { String::new() } else { Value::Object(run.params.clone()).to_string() };
    let facts = [
        ("key", run.key.clone()),
        ("kind", run.kind.clone()),
        ("date", view::shown(run.logical_date)),
        ("interval", interval.unwrap_or_default()),
        ("params", params),
        ("started", view::shown(run.started_at)),
        ("hash", run.hash.clone()),
    ];
    let tasks: Vec<Vec<String>> = tasks.iter().map(Task::cells).collect();
    let text = format!("{}\n{}\n{}", run.sentence(), lines(&facts), table(&Task::HEAD, &tasks));
    text.trim_end().to_owned()
}

/// A line for each fact that there is.
fn lines(facts: &[(&str, String)]) -> String {
    let known = || facts.iter().filter(|(_, fact)| !fact.trim().is_empty());
    let width = known().map(|(name, _)| name.len()).max().unwrap_or_default();
    known().fold(String::new(), |lines, (name, fact)| lines + &format!("  {name:<width$}  {fact}\n"))
}

/// `limit = 10, day`: with their defaults, where they have some.
fn params(schemas: &Value) -> String {
    let of = |(name, schema): (&String, &Value)| match schema.get("default") {
        Some(default) => format!("{name} = {default}"),
        None => name.clone(),
    };
    schemas.as_object().into_iter().flatten().map(of).collect::<Vec<_>>().join(", ")
}

/// `arrived on s3-inbox, quiet on edits`.
fn triggers(triggers: &Value) -> String {
    let of = |(name, trigger): (&String, &Value)| format!("{name} on {}", trigger["source"].as_str().unwrap_or("?"));
    triggers.as_object().into_iter().flatten().map(of).collect::<Vec<_>>().join(", ")
}

/// `45m, score 30m after started`.
fn deadlines(deadlines: &Value) -> String {
    let of = |deadline: &Value| {
        let text = |field: &str| deadline[field].as_str();
        let task = text("task").map(|task| format!("{task} ")).unwrap_or_default();
        let after = text("after").map(|after| format!(" after {after}")).unwrap_or_default();
        format!("{task}{}{after}", text("within").unwrap_or("?"))
    };
    deadlines.as_array().into_iter().flatten().map(of).collect::<Vec<_>>().join(", ")
}

fn task_cells(name: &str, task: &Value) -> Vec<String> {
    let action = ACTIONS.into_iter().find(|action| task.get(action).is_some()).unwrap_or_default();
    let mapped = if task.get("forEach").is_some() { ", for each" } else { "" };
    let needs = task["needs"].as_array().into_iter().flatten().filter_map(Value::as_str);
    vec![name.to_owned(), format!("{action}{mapped}"), needs.collect::<Vec<_>>().join(", ")]
}

#[cfg(test)]
mod tests {
    use millrace_proto::scheduler::v1::{self as proto, RunState, TaskState};
    use serde_json::json;

    use super::*;
    use crate::dag::view::tests::{at, run};

    #[test]
    fn a_dag_is_shown_with_tasks_moments_and_runs() {
        let dag = proto::Dag {
            r#ref: run(17, RunState::RunFailed).r#ref,
            schedule: "5 * * * * UTC".to_owned(),
            hash: "0a1b".to_owned(),
            running: 1,
            ..proto::Dag::default()
        };
        let whole = Whole {
            dag: dag.into(),
            document: json!({ "spec": {
                "description": "Scores the hour's\n files.",
                "params": { "day": { "type": "string" }, "limit": { "default": 10 } },
                "triggers": { "arrived": { "source": "inbox" } },
                "deadlines": [{ "within": "45m" }, { "task": "score", "within": "30m", "after": "started" }],
                "tasks": {
                    "score": { "needs": ["extract", "model"], "service": {}, "forEach": {} },
                    "extract": { "process": {} },
                },
            } }),
            order: vec!["extract".to_owned(), "score".to_owned()],
            next: vec!["2026-11-21T11:05:00Z".parse().unwrap(), "2026-11-21T12:05:00Z".parse().unwrap()],
            runs: vec![run(17, RunState::RunFailed).into()],
        };
        let expected = "\
hourly/acme
  for        Scores the hour's files.
  schedule   5 * * * * UTC
  next       2026-11-21T11:05:00Z, 2026-11-21T12:05:00Z
  params     day, limit = 10
  triggers   arrived on inbox
  deadlines  45m, score 30m after started
  runs       1 running, 0 queued
  hash       0a1b

TASK     DOES               AFTER
extract  process
score    service, for each  extract, model

RUN  DAG          KEY                              STATE   LOGICAL DATE          STARTED               TOOK
17   hourly/acme  scheduled__2026-11-21T10:00:00Z  failed  2026-11-21T10:00:00Z  2026-11-21T10:00:02Z  3m 12s";
        assert_eq!(dag_text(&whole), expected);
        let value = serde_json::to_value(&whole).unwrap();
        assert_eq!(value["order"], json!(["extract", "score"]));
        assert_eq!(value["document"]["spec"]["params"]["limit"]["default"], 10);
        assert_eq!(value["runs"][0]["id"], 17);
    }

    #[test]
    fn a_run_is_shown_with_its_tasks() {
        let task = |name: &str, state, error: &str| proto::Task {
            name: name.to_owned(),
            state: state as i32,
            attempts: 1,
            ended_at: Some(at("2026-11-21T10:01:00Z")),
            error: error.to_owned(),
            ..proto::Task::default()
        };
        let found = proto::GetRunResponse {
            run: Some(run(17, RunState::RunFailed)),
            tasks: vec![
                task("extract", TaskState::TaskSucceeded, ""),
                task("score", TaskState::TaskFailed, "exit code 3"),
            ],
        };
        let expected = "\
run 17 of hourly/acme: failed, after 3m 12s
  key      scheduled__2026-11-21T10:00:00Z
  kind     scheduled
  date     2026-11-21T10:00:00Z
  started  2026-11-21T10:00:02Z
  hash     0a1b

TASK     STATE      ATTEMPTS  ENDED                 DETAIL
extract  succeeded  1         2026-11-21T10:01:00Z
score    failed     1         2026-11-21T10:01:00Z  exit code 3";
        assert_eq!(run_text(&RunWithTasks::new(found).unwrap()), expected);
    }
}
