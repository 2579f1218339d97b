use jiff::Timestamp;

use super::{
    Account, Coalescing, Cursor, Flow, Live, Next, Run, Slot,
    backlog::{Backlog, Verdict},
    line::Line,
    slot::Reason,
};
use crate::{
    document::{Interval as Spans, Order},
    render::Interval,
    schedule::Moment,
    state::SlotState,
};

/// Larger than any moment in milliseconds, twice.
const LATEST: i64 = 1 << 60;

/// Enters moments one after the other.
pub(super) struct Ledger<'a> {
    flow: Flow<'a>,
    backlog: Backlog,
    line: Line,
    /// The last moment that was due, whatever became of it: where the next one's interval begins.
    previous: Option<Timestamp>,
    cursor: Cursor,
    slots: Vec<Slot>,
    runs: Vec<Run>,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(flow: Flow<'a>, backlog: Backlog, live: &Live) -> Self {
        let line = Line::new(flow.spec.overlap, live, backlog.newest());
        Self { flow, backlog, line, previous: None, cursor: flow.cursor, slots: Vec::new(), runs: Vec::new() }
    }

    /// How many runs there are to be.
    pub(super) fn runs(&self) -> usize {
        self.runs.len()
    }

    pub(super) fn enter(&mut self, moment: Moment) {
        let at = moment.at;
        self.cursor.at = at;
        let (state, reason) = match moment.due {
            Some(_) => self.due(at),
            None => (Slot::not_due(&moment), None),
        };
        if let Some(slot) = Slot::new(moment, state, reason) {
            slot.push_to(&mut self.slots);
        }
    }

    /// `more`: moments are left.
    pub(super) fn close(self, more: bool) -> Account {
        let Self { flow, line, cursor, slots, runs, .. } = self;
        let following = flow.timetable.moment_after(cursor.at);
        let next = match &following {
            Some(_) if more => Next::Now,
            Some(moment) => Next::At(moment.at),
            None => Next::Never,
        };
        let due = following.and_then(|it| if it.due.is_some() { Some(it) } else { flow.timetable.due_after(it.at) });
        let due = due.map(|moment| moment.at);
        Account { slots, runs, replaced: line.replaced, cancelled: line.cancelled, cursor, next, due }
    }

    fn due(&mut self, at: Timestamp) -> (SlotState, Option<Reason>) {
        let verdict = self.backlog.verdict(at, self.cursor.coalescing);
        let became = match verdict {
            Verdict::OnTime => self.run(at, false),
            Verdict::CaughtUp => self.run(at, true),
            Verdict::Coalesced(into) => {
                let since = self.cursor.coalescing.map_or_else(|| self.tick_before(at), |it| it.since);
                self.cursor.coalescing = Some(Coalescing { since, into });
                (SlotState::Coalesced, Some(Reason::Into(into)))
            }
            Verdict::Skipped(reason) => (SlotState::Skipped, Some(reason)),
        };
        self.previous = Some(at);
        became
    }

    fn run(&mut self, at: Timestamp, caught_up: bool) -> (SlotState, Option<Reason>) {
        let coalesced = self.cursor.coalescing.take();
        if let Err(reason) = self.line.admit(at) {
            return (SlotState::Suppressed, Some(reason));
        }
        let start = match self.flow.spec.interval {
            Spans::None => at,
            Spans::Previous => coalesced.map_or_else(|| self.tick_before(at), |it| it.since),
        };
        let catchup = self.flow.spec.catchup;
        let at_once = catchup.max_parallel.filter(|_| caught_up);
        let millis = at.as_millisecond();
        let newest_first = caught_up && catchup.order == Order::NewestFirst;
        self.runs.push(Run {
            at,
            interval: Interval { start, end: at },
            logical_at: start,
            caught_up,
            gate: self.line.gate(at_once),
            rank: if newest_first { LATEST - millis } else { millis },
        });
        (if caught_up { SlotState::CaughtUp } else { SlotState::Fired }, None)
    }

    /// The beginning of the interval of a moment. A schedule that was never due before has none: then it is empty.
    fn tick_before(&self, at: Timestamp) -> Timestamp {
        self.previous.or_else(|| self.flow.timetable.tick_before(at)).unwrap_or(at)
    }
}
