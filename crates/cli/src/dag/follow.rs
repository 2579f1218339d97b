//! Following a run until it has ended.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use millrace_proto::scheduler::v1::{GetRunRequest, GetRunResponse, Run, RunState, Task, TaskState};
use tokio::time::{Instant, sleep};

use super::{Client, view};
use crate::connect::{explain, is_retriable};

/// How often the run is looked at.
const POLL: Duration = Duration::from_millis(500);

/// How long the scheduler may be away: it may be started anew meanwhile, and the run goes on after that.
const PATIENCE: Duration = Duration::from_mins(2);

/// Looks at a run until it has ended, and tells on standard error what becomes of its tasks.
pub(super) async fn follow(client: &mut Client, run: i64) -> anyhow::Result<GetRunResponse> {
    let mut told = Told::default();
    let mut answered = Instant::now();
    let mut is_away = false;
    loop {
        match client.get_run(GetRunRequest { run }).await {
            Ok(answer) => {
                let now = answer.into_inner();
                (answered, is_away) = (Instant::now(), false);
                for line in told.news(&now.tasks) {
                    eprintln!("{:.0}  {line}", Timestamp::now());
                }
                if now.run.as_ref().is_none_or(has_ended) {
                    return Ok(now);
                }
            }
            Err(status) if is_retriable(&status) && answered.elapsed() < PATIENCE => {
                if !std::mem::replace(&mut is_away, true) {
                    eprintln!("{}; trying again", explain(&status));
                }
            }
            Err(status) => return Err(explain(&status).context(format!("follow run {run}"))),
        }
        sleep(POLL).await;
    }
}

pub(super) fn has_ended(run: &Run) -> bool {
    matches!(run.state(), RunState::RunSucceeded | RunState::RunFailed | RunState::RunCancelled)
}

/// What was told of each task: its state, and which attempt that was.
#[derive(Debug, Default)]
struct Told(BTreeMap<String, (i32, u32)>);

impl Told {
    /// A line for each task that is not as it was. One that waits for the first time is no news.
    fn news(&mut self, tasks: &[Task]) -> Vec<String> {
        let mut lines = Vec::new();
        for task in tasks {
            let now = (task.state, task.attempts);
            let before = self.0.insert(task.name.clone(), now);
            if before == Some(now) || (before.is_none() && task.state() == TaskState::TaskWaiting) {
                continue;
            }
            lines.push(line(task));
        }
        lines
    }
}

/// `score  failed, attempt 2: exit code 3`.
fn line(task: &Task) -> String {
    let attempt = if task.attempts > 1 { format!(", attempt {}", task.attempts) } else { String::new() };
    let shown = view::Task::from(task.clone());
    let detail = Some(shown.detail()).filter(|detail| !detail.is_empty());
    let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
    format!("{}  {}{attempt}{detail}", shown.name, shown.state)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(name: &str, state: TaskState, attempts: u32) -> Task {
        Task { name: name.to_owned(), state: state as i32, attempts, ..Task::default() }
    }

    #[test]
    fn each_transition_is_told_once() {
        use TaskState::{TaskActive, TaskFailed, TaskReady, TaskSucceeded, TaskWaiting};
        let mut told = Told::default();
        let mut news = |tasks: &[Task]| told.news(tasks);
        let begin = [task("extract", TaskActive, 1), task("score", TaskWaiting, 0)];
        assert_eq!(news(&begin), ["extract  active"]);
        assert_eq!(news(&begin), Vec::<String>::new());
        let next = [task("extract", TaskSucceeded, 1), task("score", TaskReady, 0)];
        assert_eq!(news(&next), ["extract  succeeded", "score  ready"]);
        // An attempt that began and ended between two looks is told as well.
        assert_eq!(news(&[task("score", TaskReady, 1)]), ["score  ready"]);
        let failed = Task { error: "exit code 3".to_owned(), ..task("score", TaskFailed, 2) };
        assert_eq!(news(&[failed]), ["score  failed, attempt 2: exit code 3"]);
    }

    #[test]
    fn a_run_ends_in_three_ways() {
        let ended = |state: RunState| has_ended(&Run { state: state as i32, ..Run::default() });
        for state in [RunState::RunSucceeded, RunState::RunFailed, RunState::RunCancelled] {
            assert!(ended(state), "{state:?}");
        }
        for state in [RunState::Unspecified, RunState::RunQueued, RunState::RunRunning] {
            assert!(!ended(state), "{state:?}");
        }
    }
}
