use jiff::Timestamp;
use millrace_core::Span;

use super::{Coalescing, Flow, GRACE, Reason, cursor::before};
use crate::document::CatchupPolicy;

/// What a flow's catch-up makes of the moments that are due.
pub(super) struct Backlog {
    policy: CatchupPolicy,
    /// How far back missed moments are caught up, and where that begins.
    window: Option<(Span, Timestamp)>,
    /// Moments up to here were missed.
    missed: Timestamp,
    /// The last moment that is due.
    last: Option<Timestamp>,
    /// The last of those that were missed.
    last_missed: Option<Timestamp>,
}

/// What becomes of a moment that is due, should no other run be in its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    OnTime,
    CaughtUp,
    /// The run of a later one does its work.
    Coalesced(Timestamp),
    Skipped(Reason),
}

impl Backlog {
    /// At an instant. `due_until` gives the last moment after the cursor that is due at or before an instant.
    pub(super) fn new(flow: &Flow<'_>, now: Timestamp, due_until: impl Fn(Timestamp) -> Option<Timestamp>) -> Self {
        let catchup = flow.spec.catchup;
        let late = now.checked_sub(GRACE).unwrap_or(Timestamp::MIN);
        let missed = flow.resumed.map_or(late, |resumed| resumed.max(late));
        Self {
            policy: catchup.policy,
            window: catchup.window.map(|window| (window, before(now, window))),
            missed,
            last: due_until(now),
            last_missed: due_until(missed.min(now)),
        }
    }

    /// What becomes of a moment. Where others have been coalesced into it, it runs for them, whatever the policy is by
    /// now; into one that a changed schedule no longer has: the next one does.
    pub(super) fn verdict(&self, at: Timestamp, coalescing: Option<Coalescing>) -> Verdict {
        match coalescing {
            Some(Coalescing { into, .. }) if at < into => Verdict::Coalesced(into),
            Some(_) => Verdict::CaughtUp,
            None if at > self.missed => Verdict::OnTime,
            None => self.missed(at),
        }
    }

    fn missed(&self, at: Timestamp) -> Verdict {
        if self.policy == CatchupPolicy::None {
            return Verdict::Skipped(Reason::NoCatchup);
        }
        if let Some((window, oldest)) = self.window
            && at < oldest
        {
            return Verdict::Skipped(Reason::OlderThan(window));
        }
        let later = |last: Option<Timestamp>| last.filter(|last| *last > at);
        match self.policy {
            CatchupPolicy::Last if later(self.last).is_some() => Verdict::Skipped(Reason::NotTheLast),
            CatchupPolicy::Coalesce => later(self.last_missed).map_or(Verdict::CaughtUp, Verdict::Coalesced),
            _ => Verdict::CaughtUp,
        }
    }

    /// The last moment that is due, unless it is skipped: then no earlier one makes room for it.
    pub(super) fn newest(&self) -> Option<Timestamp> {
        self.last.filter(|last| !matches!(self.verdict(*last, None), Verdict::Skipped(_)))
    }
}
