//! Every slot accounted for: what becomes of each moment of a schedule.
//!
//! ```text
//! moments after the cursor, up to now
//!    |-- not due --------------------------------------> dst-gap, dst-fold
//!    |-- missed --catch-up--> skipped, coalesced
//!    |              |
//!    '-- on time ---+--overlap--> suppressed
//!                       |
//!                       '-------> fired, caught-up: a run
//! ```
//!
//! A DAG's schedule under one binding is a flow. Its [`Cursor`] is the moment up to which all are accounted for;
//! [`account`] says what becomes of those after it, and where the cursor is then. It reads no clock and no database: who
//! calls it holds the flow's row, and writes slots, runs and cursor in that same transaction. So a moment is accounted for
//! once, whatever many replicas think, and none is left out: it has a row, or is in the range of one (`slots/model.rs`).

mod backlog;
mod cursor;
mod ledger;
mod line;
#[cfg(test)]
mod model;
mod slot;
#[cfg(test)]
mod tests;

pub use cursor::{Coalescing, Cursor};
pub use slot::{Reason, Slot};

use jiff::{SignedDuration, Timestamp};

use crate::{
    document::ScheduleSpec,
    render::Interval,
    schedule::{Moment, Timetable},
    state::RunKind,
    store::RunId,
};

/// A moment that is looked at earlier than this after it is on time; any other is missed. Longer than another replica
/// takes to go on where one has stopped, and shorter than a minute: of a cron pattern, one moment at most is on time.
pub const GRACE: SignedDuration = SignedDuration::from_secs(30);

/// A DAG's schedule under one binding.
#[derive(Clone, Copy, Debug)]
pub struct Flow<'a> {
    /// When it is due.
    pub timetable: &'a Timetable,
    /// What that was read from.
    pub spec: &'a ScheduleSpec,
    /// Up to where its moments are accounted for.
    pub cursor: Cursor,
    /// When it was resumed last: moments up to then were missed, however short ago they are.
    pub resumed: Option<Timestamp>,
}

/// The scheduled runs of a flow that have not ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Those that have started, also where they were told to end.
    pub running: Vec<RunId>,
    /// Those that have not, whatever they wait for.
    pub queued: Vec<Queued>,
}

/// A run that has not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queued {
    /// The run.
    pub run: RunId,
    /// Its slot.
    pub at: Timestamp,
}

/// How much is done in one call, and so in one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Moments that are looked at, and so the greatest number of slots.
    pub moments: usize,
    /// Runs that are made.
    pub runs: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { moments: 10_000, runs: 250 }
    }
}

/// What became of the moments after a cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// All of them, in their order.
    pub slots: Vec<Slot>,
    /// The runs of those that run, in the order of their slots. They are added queued.
    pub runs: Vec<Run>,
    /// Queued runs that are dropped. Their slots are suppressed from then on.
    pub replaced: Vec<Replaced>,
    /// Running runs that are told to end.
    pub cancelled: Vec<RunId>,
    /// Where the cursor is now.
    pub cursor: Cursor,
    /// When to ask again.
    pub next: Next,
    /// When something is due again, for people; none where the schedule has ended.
    pub due: Option<Timestamp>,
}

/// The run of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its slot; also what makes its [`key`].
    pub at: Timestamp,
    /// The data that it is about. It ends at the slot and is not empty, or it is that instant alone.
    pub interval: Interval,
    /// The beginning of that, as in Airflow.
    pub logical_at: Timestamp,
    /// Its slot was missed.
    pub caught_up: bool,
    /// What it waits for before it starts.
    pub gate: Gate,
    /// Of a flow's queued runs, the one whose rank is lowest is the first to start.
    pub rank: i64,
}

/// What a run waits for before it starts, besides its DAG's own limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Nothing.
    Open,
    /// That of the flow's caught-up runs fewer than this are running.
    Fewer(u32),
    /// That no scheduled run of the flow is running.
    Alone,
}

/// A queued run that is dropped for a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// The run.
    pub run: RunId,
    /// Its slot.
    pub at: Timestamp,
    /// Why, for its slot.
    pub reason: Reason,
}

/// When to ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// At once, in another transaction: the budget was too small. Until then caught-up runs are not started, so that those
    /// that are to come first are there.
    Now,
    /// When the next moment is, whether anything is due then or not: that a tick was passed over is told on the day.
    At(Timestamp),
    /// Never: the schedule has ended.
    Never,
}

/// What becomes of the moments after a flow's cursor, up to `now`.
///
/// `live` may be empty where the flow's overlap is `allow` or `buffer-all`: it decides nothing then. Should the clock have
/// been set back behind the cursor, nothing happens until it is past it again.
pub fn account(flow: &Flow<'_>, live: &Live, now: Timestamp, budget: Budget) -> Account {
    let most = budget.moments.max(1);
    // One more than that, to know whether there is more.
    let moments: Vec<Moment> = flow.moments_until(now).take(most.saturating_add(1)).collect();
    let backlog = backlog::Backlog::new(flow, now, |until| match moments.get(most) {
        Some(_) => flow.timetable.due_until(until),
        None => moments.iter().rev().find(|it| it.due.is_some() && it.at <= until).map(|it| it.at),
    });
    let mut ledger = ledger::Ledger::new(*flow, backlog, live);
    let total = moments.len();
    let mut done = 0;
    for moment in moments.into_iter().take(most) {
        if ledger.runs() >= budget.runs.max(1) {
            break;
        }
        ledger.enter(moment);
        done += 1;
    }
    ledger.close(done < total)
}

/// What makes a run the run that it is. As in Airflow 3 it names the moment at which the run is due: another than those of
/// all other slots of the flow, even where its schedule is changed. Logical dates are not: that of a daily run is that of
/// an hourly one.
pub fn key(kind: RunKind, at: Timestamp) -> String {
    format!("{}__{at}", kind.as_str())
}

impl Flow<'_> {
    /// What comes after the cursor, up to an instant.
    fn moments_until(&self, instant: Timestamp) -> impl Iterator<Item = Moment> {
        let next = move |after: Timestamp| self.timetable.moment_after(after).filter(|moment| moment.at <= instant);
        std::iter::successors(next(self.cursor.at), move |moment| next(moment.at))
    }
}
