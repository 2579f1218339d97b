//! `millrace dag logs`.

use jiff::Timestamp;
use millrace_proto::scheduler::v1::{self as proto, ListAttemptsRequest};
use serde::Serialize;

use super::{Scheduler, view};
use crate::Output;

/// As many as the scheduler gives at once.
const MOST: u32 = 1_000;

/// Prints the ends of the logs of a run's attempts, oldest first.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The run's number, as `runs` shows it.
    run: i64,
    /// Only of this task.
    task: Option<String>,
    /// Only of this item of a mapped task, from 0.
    #[arg(long, requires = "task")]
    item: Option<u32>,
    /// Only of this attempt, from 1.
    #[arg(long)]
    attempt: Option<u32>,
    /// How many attempts at most: the newest.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST)))]
    limit: u32,
    #[command(flatten)]
    scheduler: Scheduler,
}

/// An attempt, with the end of its log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Attempt {
    task: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<u32>,
    #[serde(rename = "attempt")]
    number: u32,
    token: i64,
    instance: String,
    launched_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    outcome: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    error: String,
    log: String,
}

impl From<proto::Attempt> for Attempt {
    fn from(sent: proto::Attempt) -> Self {
        let proto::Attempt { task, item, attempt, token, instance, launched_at, ended_at, outcome, error, log } = sent;
        Self {
            task,
            item,
            number: attempt,
            token,
            instance,
            launched_at: view::time(launched_at),
            ended_at: view::time(ended_at),
            outcome: view::task_state(outcome),
            error,
            log,
        }
    }
}

impl Args {
    pub(super) async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { run, task, item, attempt, limit, scheduler } = self;
        // One attempt is looked for among all that there are.
        let request = ListAttemptsRequest {
            run,
            task: task.unwrap_or_default(),
            item,
            limit: if attempt.is_some() { MOST } else { limit },
        };
        let listed = scheduler.answer(scheduler.client()?.list_attempts(request).await)?;
        let attempts = choose(listed.attempts, attempt, limit as usize);
        output.value(&attempts, |attempts| text(run, attempts))
    }
}

/// The attempts of that number, or all of them; the oldest first, so that a terminal ends with the newest.
fn choose(sent: Vec<proto::Attempt>, number: Option<u32>, limit: usize) -> Vec<Attempt> {
    let mut attempts: Vec<Attempt> = sent.into_iter().map(Attempt::from).collect();
    attempts.retain(|attempt| number.is_none_or(|number| attempt.number == number));
    attempts.sort_by_key(|attempt| (attempt.launched_at, attempt.token));
    attempts.split_off(attempts.len().saturating_sub(limit))
}

fn text(run: i64, attempts: &[Attempt]) -> String {
    if attempts.is_empty() {
        return format!("run {run} has no such attempt");
    }
    attempts.iter().map(one).collect::<Vec<_>>().join("\n\n")
}

/// A head, the log as it was written, and how it ended.
fn one(attempt: &Attempt) -> String {
    let Attempt { task, item, number, instance, launched_at, ended_at, outcome, error, log, .. } = attempt;
    let item = item.map(|item| format!("[{item}]")).unwrap_or_default();
    let until = ended_at.map(|at| format!(" to {at:.0}")).unwrap_or_default();
    let mut text = format!("== {task}{item}, attempt {number}: {outcome}, {}{until}", view::shown(*launched_at));
    if !instance.is_empty() {
        text += &format!(", on {instance}");
    }
    for part in [log.trim_end(), error.trim_end()].into_iter().filter(|part| !part.is_empty()) {
        text += &format!("\n{part}");
    }
    text
}

#[cfg(test)]
mod tests {
    use millrace_proto::scheduler::v1::TaskState;

    use super::*;
    use crate::dag::view::tests::at;

    fn attempt(number: u32, launched: &str, outcome: TaskState) -> proto::Attempt {
        proto::Attempt {
            task: "score".to_owned(),
            item: Some(3),
            attempt: number,
            token: i64::from(number),
            instance: "scheduler-0".to_owned(),
            launched_at: Some(at(launched)),
            outcome: outcome as i32,
            log: format!("line of {number}\n"),
            ..proto::Attempt::default()
        }
    }

    #[test]
    fn attempts_are_told_from_the_oldest_to_the_newest() {
        let failed = proto::Attempt {
            ended_at: Some(at("2026-11-21T10:01:00Z")),
            error: "exit code 3".to_owned(),
            ..attempt(1, "2026-11-21T10:00:00Z", TaskState::TaskFailed)
        };
        let newest_first = vec![attempt(2, "2026-11-21T10:02:00Z", TaskState::TaskActive), failed];
        let expected = "\
== score[3], attempt 1: failed, 2026-11-21T10:00:00Z to 2026-11-21T10:01:00Z, on scheduler-0
line of 1
exit code 3

== score[3], attempt 2: active, 2026-11-21T10:02:00Z, on scheduler-0
line of 2";
        assert_eq!(text(17, &choose(newest_first.clone(), None, 100)), expected);

        let numbers = |number, limit| -> Vec<u32> {
            choose(newest_first.clone(), number, limit).iter().map(|attempt| attempt.number).collect()
        };
        assert_eq!(numbers(Some(1), 100), [1]);
        assert_eq!(numbers(None, 1), [2], "the newest");
        assert_eq!(text(17, &choose(newest_first.clone(), Some(9), 100)), "run 17 has no such attempt");
    }
}
