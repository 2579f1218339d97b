//! What becomes of an attempt that has ended, by the task's own rules.

use std::time::Duration;

use serde_json::json;

use crate::{
    document::{Backoff, Jitter, Retry},
    exec::{End, Failure},
    plan::Planned,
    store::Outcome,
};

/// How long after an interruption a task is tried again. It was not its fault, but what ended it may do so at once again.
const AFTER_INTERRUPTION: Duration = Duration::from_secs(1);
const LONGEST_AFTER_INTERRUPTION: Duration = Duration::from_mins(1);

/// What is reported of an attempt of a task. `retries`: attempts before it that failed by their own fault. `chance`: from
/// 0 to 1, without 1.
pub(super) fn outcome(end: End, planned: &Planned, attempt: i32, retries: i32, chance: f64) -> Outcome {
    match end {
        End::Succeeded(output) => Outcome::Succeeded(output),
        End::Cancelled => Outcome::Cancelled,
        End::Interrupted(error) => {
            // What interrupts again and again is given more and more time.
            let before = (attempt - 1 - retries).clamp(0, 6) as u32;
            let retry_after = (AFTER_INTERRUPTION * 2_u32.pow(before)).min(LONGEST_AFTER_INTERRUPTION);
            Outcome::Interrupted { error, retry_after }
        }
        End::Failed(failure) => {
            let pause = pause(&failure, planned, attempt, retries, chance);
            let (retry_after, error) = match pause {
                Ok(pause) => (pause, failure.message),
                Err(problem) => (None, format!("{} (retry.unless: {problem})", failure.message)),
            };
            Outcome::Failed { error, retry_after }
        }
    }
}

/// How long until the next attempt; none: there is none.
fn pause(
    failure: &Failure,
    planned: &Planned,
    attempt: i32,
    retries: i32,
    chance: f64,
) -> Result<Option<Duration>, String> {
    let Some(Retry { max, backoff, .. }) = &planned.task.retry else { return Ok(None) };
    let retries = u32::try_from(retries).unwrap_or_default();
    if failure.permanent || retries >= *max {
        return Ok(None);
    }
    if let Some(unless) = &planned.unless {
        let (exit_code, code) = (json!(failure.exit_code), json!(failure.code));
        let (message, attempt) = (json!(failure.message), json!(attempt));
        let variables = [("exit_code", &exit_code), ("code", &code), ("message", &message), ("attempt", &attempt)];
        if unless.holds(&variables)? {
            return Ok(None);
        }
    }
    Ok(Some(backoff.pause(retries, chance)))
}

impl Backoff {
    /// The pause after so many failed tries before this one.
    fn pause(&self, retries: u32, chance: f64) -> Duration {
        let longest = Duration::from(self.max).as_secs_f64();
        let whole = Duration::from(self.initial).as_secs_f64() * self.factor.powi(retries.min(1_000) as i32);
        let whole = whole.min(longest);
        Duration::from_secs_f64(match self.jitter {
            Jitter::None => whole,
            Jitter::Full => whole * chance,
        })
    }
}

#[cfg(test)]
mod tests {
    use millrace_core::Span;

    use super::*;

    fn planned(retry: &str) -> Planned {
        use jiff::Timestamp;
        use millrace_core::Source;

        use crate::plan::{Plan, Templates};
        let text = format!(
            "apiVersion: millrace.dev/v1\nkind: Dag\nmetadata: {{name: d}}\nspec:\n  tasks:\n    t: {{noop: {{}}, retry: {retry}}}\n"
        );
        let source = Source::parse("dag.yaml", &text).unwrap();
        let mut plan = Plan::parse(&source, &Templates::default(), Timestamp::UNIX_EPOCH).unwrap();
        plan.tasks.remove(0)
    }

    fn failed(exit_code: i32) -> End {
        End::Failed(Failure { message: "no".to_owned(), exit_code: Some(exit_code), ..Failure::default() })
    }

    fn wait(outcome: &Outcome) -> Option<Duration> {
        match outcome {
            Outcome::Failed { retry_after, .. } => *retry_after,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pauses_grow_to_the_longest_and_then_end() {
        let task = planned("{max: 4, backoff: {initial: 10s, factor: 2, max: 30s, jitter: none}}");
        let pauses: Vec<_> = (0..6).map(|n| wait(&outcome(failed(1), &task, n + 1, n, 0.5))).collect();
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(pauses, [seconds(10), seconds(20), seconds(30), seconds(30), None, None]);
        let backoff = Backoff { initial: Span::seconds(10), ..Backoff::default() };
        assert_eq!(backoff.pause(0, 0.25), Duration::from_millis(2_500), "a part of it, by chance");
        assert!(backoff.pause(5_000, 0.999) <= Duration::from_mins(10), "no overflow");
    }

    #[test]
    fn some_failures_are_not_tried_again() {
        let task = planned("{max: 4, unless: 'exit_code == 42 || attempt > 2'}");
        assert!(wait(&outcome(failed(1), &task, 1, 0, 0.5)).is_some());
        assert_eq!(wait(&outcome(failed(42), &task, 1, 0, 0.5)), None);
        assert_eq!(wait(&outcome(failed(1), &task, 3, 0, 0.5)), None);
        let hopeless = End::Failed(Failure { permanent: true, ..Failure::default() });
        assert_eq!(wait(&outcome(hopeless, &planned("{max: 4}"), 1, 0, 0.5)), None);
    }

    #[test]
    fn an_interruption_does_not_count() {
        let gone = outcome(End::Interrupted("node drained".to_owned()), &planned("{max: 0}"), 9, 0, 0.5);
        assert!(matches!(gone, Outcome::Interrupted { .. }));
    }
}
