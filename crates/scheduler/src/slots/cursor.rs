use jiff::{SignedDuration, Timestamp};

use crate::{
    document::{Catchup, CatchupPolicy},
    schedule::Timetable,
};

/// The finest that a moment can be, and well within what a database keeps of an instant.
const STEP: SignedDuration = SignedDuration::from_millis(1);

/// Up to where a flow's moments are accounted for. The database keeps it and gives it back as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Moments up to here are, this one as well.
    pub at: Timestamp,
    /// Moments that have been coalesced into one that the cursor has not come to: the budget was too small.
    pub coalescing: Option<Coalescing>,
}

/// Moments that have been coalesced into one that is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coalescing {
    /// Where the data interval of its run begins.
    pub since: Timestamp,
    /// The moment whose run does their work.
    pub into: Timestamp,
}

impl Cursor {
    /// Everything up to an instant is accounted for: of a flow whose schedule is changed, once `account` has been asked
    /// about the old one up to then.
    pub fn new(at: Timestamp) -> Self {
        Self { at, coalescing: None }
    }

    /// Of a flow that is new at an instant. From before that it has only what its catch-up is to run, of a schedule whose
    /// start has passed: a flow that was not there has missed nothing.
    pub fn first(timetable: &Timetable, catchup: &Catchup, now: Timestamp) -> Self {
        let from = timetable.start().filter(|start| *start <= now).and_then(|start| match catchup.policy {
            CatchupPolicy::None => None,
            CatchupPolicy::Last => timetable.due_until(now),
            CatchupPolicy::All | CatchupPolicy::Coalesce => {
                Some(catchup.window.map_or(start, |window| start.max(before(now, window))))
            }
        });
        // Its moments are those after the cursor.
        Self::new(from.and_then(|from| from.checked_sub(STEP).ok()).unwrap_or(now))
    }
}

/// So much before an instant.
pub(super) fn before(instant: Timestamp, span: millrace_core::Span) -> Timestamp {
    let span = SignedDuration::from_millis(i64::try_from(span.as_millis()).unwrap_or(i64::MAX));
    instant.checked_sub(span).unwrap_or(Timestamp::MIN)
}
