//! Starts a part again when it ends by itself, ever more slowly while that does not help.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// A part that ran so long was well: its next end is a new story.
const WELL: Duration = Duration::from_mins(1);

/// The history of one part's crashes.
#[derive(Debug)]
pub(crate) struct Backoff {
    started: Instant,
    starts: u32,
    last_reason: Option<String>,
}

/// What to do about a crash.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) wait: Duration,
    /// Whether a person has not read this reason yet.
    pub(crate) is_news: bool,
}

impl Backoff {
    pub(crate) fn new(now: Instant) -> Self {
        Self { started: now, starts: 0, last_reason: None }
    }

    pub(crate) fn crashed(&mut self, now: Instant, reason: &str) -> Verdict {
        if now.duration_since(self.started) >= WELL {
            self.starts = 0;
            self.last_reason = None;
        }
        let is_news = self.last_reason.as_deref() != Some(reason);
        self.last_reason = Some(reason.to_owned());
        let wait = FIRST.saturating_mul(2_u32.saturating_pow(self.starts)).min(LONGEST);
        self.starts += 1;
        Verdict { wait, is_news }
    }

    pub(crate) fn started(&mut self, now: Instant) {
        self.started = now;
    }

    /// How often it was started since it was last well.
    pub(crate) fn starts(&self) -> u32 {
        self.starts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_a_reason_is_news_once() {
        let now = Instant::now();
        let mut backoff = Backoff::new(now);
        let verdicts: Vec<Verdict> = (0..8).map(|_| backoff.crashed(now, "exit status: 1")).collect();
        assert_eq!(verdicts[0], Verdict { wait: FIRST, is_news: true });
        assert_eq!(verdicts[1], Verdict { wait: FIRST * 2, is_news: false });
        assert_eq!(verdicts[7].wait, LONGEST);
        assert!(backoff.crashed(now, "signal: 11").is_news);
    }

    #[test]
    fn a_part_that_was_well_for_a_while_begins_anew() {
        let now = Instant::now();
        let mut backoff = Backoff::new(now);
        backoff.crashed(now, "exit status: 1");
        backoff.crashed(now, "exit status: 1");
        backoff.started(now);
        assert_eq!(backoff.crashed(now + WELL, "exit status: 1"), Verdict { wait: FIRST, is_news: true });
        assert_eq!(backoff.starts(), 1);
    }
}
