//! What the scheduler answers, as it is printed: for programs as it is serialized, for people by the functions here.

use anyhow::Context;
use jiff::{SignedDuration, Timestamp, Unit};
use millrace_proto::{
    json,
    scheduler::v1::{self as proto, RunState, TaskState},
};
use serde::Serialize;
use serde_json::{Map, Value};

use super::args::Name;

/// A DAG, for one binding where it has some.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Dag {
    #[serde(flatten)]
    pub name: Name,
    pub hash: String,
    pub paused: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub schedule: String,
    pub next_at: Option<Timestamp>,
    pub tasks: u32,
    pub running: u32,
    pub queued: u32,
    pub last_run: Option<Run>,
}

impl From<proto::Dag> for Dag {
    fn from(dag: proto::Dag) -> Self {
        let proto::Dag { r#ref, hash, paused, schedule, next_at, tasks, running, queued, last_run } = dag;
        Self {
            name: r#ref.into(),
            hash,
            paused,
            schedule,
            next_at: time(next_at),
            tasks,
            running,
            queued,
            last_run: last_run.map(Run::from),
        }
    }
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Run {
    pub id: i64,
    #[serde(flatten)]
    pub name: Name,
    pub key: String,
    pub kind: String,
    pub state: String,
    pub logical_date: Option<Timestamp>,
    pub interval_start: Option<Timestamp>,
    pub interval_end: Option<Timestamp>,
    pub queued_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub hash: String,
    pub params: Map<String, Value>,
    pub tasks_left: u32,
}

impl From<proto::Run> for Run {
    fn from(run: proto::Run) -> Self {
        Self {
            id: run.id,
            name: run.r#ref.into(),
            key: run.key,
            kind: run.kind,
            state: word(run.state, RunState::as_str_name, "RUN_"),
            logical_date: time(run.logical_date),
            interval_start: time(run.interval_start),
            interval_end: time(run.interval_end),
            queued_at: time(run.queued_at),
            started_at: time(run.started_at),
            ended_at: time(run.ended_at),
            hash: run.hash,
            params: json::from_struct(run.params.unwrap_or_default()),
            tasks_left: run.tasks_left,
        }
    }
}

impl Run {
    /// The heads of [`Run::cells`].
    pub(super) const HEAD: [&'static str; 7] = ["RUN", "DAG", "KEY", "STATE", "LOGICAL DATE", "STARTED", "TOOK"];

    pub(super) fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.name.to_string(),
            self.key.clone(),
            self.state.clone(),
            shown(self.logical_date),
            shown(self.started_at),
            self.took().map(length).unwrap_or_default(),
        ]
    }

    /// From its start to its end, or until now while it runs.
    pub(super) fn took(&self) -> Option<SignedDuration> {
        Some(self.ended_at.unwrap_or_else(Timestamp::now).duration_since(self.started_at?))
    }

    /// `run 17 of hourly/acme: failed, after 3m 12s`.
    pub(super) fn sentence(&self) -> String {
        let after = self.ended_at.and(self.took()).map(|took| format!(", after {}", length(took))).unwrap_or_default();
        format!("run {} of {}: {}{after}", self.id, self.name, self.state)
    }
}

/// A task of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Task {
    pub name: String,
    pub state: String,
    pub attempts: u32,
    pub due_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    pub output: Option<Value>,
    /// Of a mapped task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<Items>,
}

/// The items of a mapped task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Items {
    pub total: u32,
    pub left: u32,
    pub failed: u32,
}

impl From<proto::Task> for Task {
    fn from(task: proto::Task) -> Self {
        let proto::Task { name, state, attempts, due_at, ended_at, error, output, items, items_left, items_failed } =
            task;
        let is_mapped = items > 0 || state == TaskState::TaskMapped as i32;
        Self {
            name,
            state: task_state(state),
            attempts,
            due_at: time(due_at),
            ended_at: time(ended_at),
            error,
            output: output.map(json::from_value),
            items: is_mapped.then_some(Items { total: items, left: items_left, failed: items_failed }),
        }
    }
}

impl Task {
    /// The heads of [`Task::cells`].
    pub(super) const HEAD: [&'static str; 5] = ["TASK", "STATE", "ATTEMPTS", "ENDED", "DETAIL"];

    pub(super) fn cells(&self) -> Vec<String> {
        let Self { name, state, attempts, ended_at, .. } = self;
        vec![name.clone(), state.clone(), attempts.to_string(), shown(*ended_at), self.detail()]
    }

    /// What there is to say beside its state: items, when it is tried again, why it failed.
    pub(super) fn detail(&self) -> String {
        let items = self.items.map(|Items { total, left, failed }| {
            let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
            format!("{} of {total} items done{failed}", total.saturating_sub(left))
        });
        // Of a task that waits for the first time, when it is due says nothing; of one that is tried again it does.
        let waits = self.attempts > 0 && ["waiting", "ready"].contains(&self.state.as_str());
        let due = self.due_at.filter(|_| waits).map(|at| format!("due again at {at:.0}"));
        let error = Some(one_line(&self.error)).filter(|error| !error.is_empty());
        [items, due, error].into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

/// A run with its tasks.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RunWithTasks {
    #[serde(flatten)]
    pub run: Run,
    pub tasks: Vec<Task>,
}

impl RunWithTasks {
    pub(super) fn new(answer: proto::GetRunResponse) -> anyhow::Result<Self> {
        let run = answer.run.context("the scheduler's answer has no run")?.into();
        Ok(Self { run, tasks: answer.tasks.into_iter().map(Task::from).collect() })
    }
}

/// A task's state in a word.
pub(super) fn task_state(state: i32) -> String {
    word(state, TaskState::as_str_name, "TASK_")
}

/// `RUN_SUCCEEDED` as people say it; of a newer scheduler's states at least the number.
pub(super) fn word<E: TryFrom<i32>>(value: i32, name: fn(&E) -> &'static str, prefix: &str) -> String {
    let Ok(known) = E::try_from(value) else { return format!("unknown ({value})") };
    let name = name(&known);
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase()
}

/// A moment, where there is one.
pub(super) fn time(at: Option<prost_types::Timestamp>) -> Option<Timestamp> {
    at.and_then(|at| Timestamp::new(at.seconds, at.nanos).ok())
}

/// A moment in a table.
pub(super) fn shown(at: Option<Timestamp>) -> String {
    at.map(|at| format!("{at:.0}")).unwrap_or_default()
}

/// A length of time as people say it: `3m 12s`; below ten seconds with its milliseconds.
pub(super) fn length(time: SignedDuration) -> String {
    let unit = if time.as_secs() < 10 { Unit::Millisecond } else { Unit::Second };
    format!("{:#}", time.round(unit).unwrap_or(time))
}

/// What others wrote, in a cell or at the end of a line.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::{dag::args::timestamp, output::table};

    /// A moment as it travels.
    pub(in crate::dag) fn at(text: &str) -> prost_types::Timestamp {
        timestamp(text.parse().unwrap())
    }

    /// A run that took 3 minutes and 12 seconds.
    pub(in crate::dag) fn run(id: i64, state: RunState) -> proto::Run {
        proto::Run {
            id,
            r#ref: Some(proto::DagRef { dag: "hourly".to_owned(), binding: "acme".to_owned() }),
            key: "scheduled__2026-11-21T10:00:00Z".to_owned(),
            kind: "scheduled".to_owned(),
            state: state as i32,
            logical_date: Some(at("2026-11-21T10:00:00Z")),
            queued_at: Some(at("2026-11-21T10:00:01Z")),
            started_at: Some(at("2026-11-21T10:00:02Z")),
            ended_at: Some(at("2026-11-21T10:03:14.4Z")),
            hash: "0a1b".to_owned(),
            ..proto::Run::default()
        }
    }

    #[test]
    fn a_run_is_a_row_a_sentence_and_json() {
        let run = Run::from(proto::Run {
            params: Some(json::to_struct(json!({ "limit": 10 }).as_object().unwrap())),
            ..run(17, RunState::RunFailed)
        });
        let expected = "\
RUN  DAG          KEY                              STATE   LOGICAL DATE          STARTED               TOOK
17   hourly/acme  scheduled__2026-11-21T10:00:00Z  failed  2026-11-21T10:00:00Z  2026-11-21T10:00:02Z  3m 12s
";
        assert_eq!(table(&Run::HEAD, &[run.cells()]), expected);
        assert_eq!(run.sentence(), "run 17 of hourly/acme: failed, after 3m 12s");
        let value = serde_json::to_value(&run).unwrap();
        assert_eq!(value["dag"], "hourly");
        assert_eq!(value["binding"], "acme");
        assert_eq!(value["ended_at"], "2026-11-21T10:03:14.4Z");
        assert_eq!(value["params"], json!({ "limit": 10 }));
    }

    #[test]
    fn a_run_that_has_not_ended_says_only_its_state() {
        let run = Run::from(proto::Run { ended_at: None, ..run(17, RunState::RunRunning) });
        assert_eq!(run.sentence(), "run 17 of hourly/acme: running");
        assert!(run.took().is_some());
        let run = Run { started_at: None, ..run };
        assert_eq!(run.took(), None);
    }

    #[test]
    fn a_task_says_what_its_state_does_not() {
        let detail = |task: proto::Task| Task::from(task).detail();
        let mapped = TaskState::TaskMapped as i32;
        let task = proto::Task { state: mapped, items: 10, items_left: 4, items_failed: 1, ..proto::Task::default() };
        assert_eq!(detail(task), "6 of 10 items done, 1 failed");
        let ready = proto::Task {
            state: TaskState::TaskReady as i32,
            due_at: Some(at("2026-11-21T10:00:00Z")),
            ..proto::Task::default()
        };
        assert_eq!(detail(ready.clone()), "");
        let again = proto::Task { attempts: 1, error: "exit code 3:\n  no disk".to_owned(), ..ready };
        assert_eq!(detail(again), "due again at 2026-11-21T10:00:00Z; exit code 3: no disk");
    }

    #[test]
    fn states_are_words_and_unknown_ones_are_numbers() {
        assert_eq!(task_state(TaskState::TaskUpstreamFailed as i32), "upstream_failed");
        assert_eq!(task_state(99), "unknown (99)");
    }

    #[test]
    fn lengths_are_as_fine_as_they_are_short() {
        for (millis, expected) in [(0, "0s"), (820, "820ms"), (12_345, "12s"), (192_400, "3m 12s"), (3_600_000, "1h")] {
            assert_eq!(length(SignedDuration::from_millis(millis)), expected);
        }
    }
}
