use std::fmt;

use jiff::{Timestamp, civil::DateTime};
use millrace_core::Span;

use crate::{
    schedule::{Clock, Moment, Tick},
    state::{RunKind, SlotState},
    store::RunId,
};

/// What became of a moment of a schedule, or of several in a row of which the same became and that have no run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// When it was; of several, the first.
    pub at: Timestamp,
    /// The last of several; otherwise `at`.
    pub until: Timestamp,
    /// How many moments that is, all of those from `at` to `until`.
    pub count: u32,
    /// What became of it.
    pub state: SlotState,
    /// What a clock on the wall showed, or would have shown; of several, at the first.
    pub tick: Tick,
    /// Other ticks that were passed over at this moment, and for which it stands.
    pub passed_over: Vec<Tick>,
    /// Why it has no run of its own; none where the tick itself says it.
    pub reason: Option<Reason>,
}

/// Why a slot has no run of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Missed moments are not caught up.
    NoCatchup,
    /// It was missed longer ago than they are.
    OlderThan(Span),
    /// It was missed, and only the last one is caught up.
    NotTheLast,
    /// It was missed, and the run of this slot does its work.
    Into(Timestamp),
    /// This run had not ended.
    Overlaps(RunId),
    /// The run of this slot had not ended.
    OverlapsSlot(Timestamp),
    /// The run of this slot took its place before it had begun.
    ReplacedBy(Timestamp),
}

impl Slot {
    /// What became of a moment at which nothing is due.
    pub(super) fn not_due(moment: &Moment) -> SlotState {
        match moment.passed_over.last() {
            Some(Tick { clock: Clock::FoldFirst | Clock::FoldSecond, .. }) => SlotState::DstFold,
            _ => SlotState::DstGap,
        }
    }

    /// None of a moment without a tick: there are none.
    pub(super) fn new(moment: Moment, state: SlotState, reason: Option<Reason>) -> Option<Self> {
        let Moment { at, due, mut passed_over } = moment;
        let tick = due.or_else(|| passed_over.pop())?;
        Some(Self { at, until: at, count: 1, state, tick, passed_over, reason })
    }

    /// Enters it after others, in the row of the last one if it can be.
    pub(super) fn push_to(self, slots: &mut Vec<Self>) {
        match slots.last_mut() {
            Some(last) if last.goes_on_with(&self) => {
                last.until = self.until;
                last.count = last.count.saturating_add(self.count);
            }
            _ => slots.push(self),
        }
    }

    fn goes_on_with(&self, next: &Self) -> bool {
        let has_run = matches!(self.state, SlotState::Fired | SlotState::CaughtUp);
        // What clocks leave out is told tick by tick.
        let plain = |slot: &Self| slot.passed_over.is_empty() && slot.tick.clock != Clock::Gap;
        !has_run && self.state == next.state && self.reason == next.reason && plain(self) && plain(next)
    }

    /// Whether what it is about was due.
    pub fn is_due(&self) -> bool {
        !matches!(self.state, SlotState::DstGap | SlotState::DstFold)
    }

    /// The slot whose run does its work, if one does.
    pub fn runs_at(&self) -> Option<Timestamp> {
        match (self.state, self.reason) {
            (SlotState::Fired | SlotState::CaughtUp, _) => Some(self.at),
            (SlotState::Coalesced, Some(Reason::Into(into))) => Some(into),
            _ => None,
        }
    }

    /// What there is to say about it to a person: why it did not run by itself, and what clocks had to do with it.
    pub fn explanation(&self) -> Option<String> {
        let mut parts: Vec<String> = self.reason.iter().map(Reason::to_string).collect();
        let civil = self.tick.civil;
        match (self.tick.clock, self.is_due()) {
            (Clock::Gap, true) => parts.push(format!("in place of {civil}, which clocks leave out")),
            (Clock::Gap, false) => parts.push(format!("clocks leave {civil} out")),
            (Clock::FoldFirst, false) => parts.push(format!("clocks show {civil} twice, and this is the first time")),
            (Clock::FoldSecond, false) => parts.push(format!("clocks show {civil} twice, and this is the second time")),
            (Clock::Steady, _) | (Clock::FoldFirst | Clock::FoldSecond, true) => {}
        }
        parts.extend(self.left_out());
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// The other ticks, of which there may be one for each minute of an hour.
    fn left_out(&self) -> Option<String> {
        let civil: Vec<DateTime> = self.passed_over.iter().map(|tick| tick.civil).collect();
        match civil.as_slice() {
            [] => None,
            [one] => Some(format!("clocks also leave {one} out")),
            [first, .., last] => Some(format!("clocks also leave {} ticks out, {first} to {last}", civil.len())),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = |at: &Timestamp| super::key(RunKind::Scheduled, *at);
        match self {
            Self::NoCatchup => f.write_str("missed, and there is no catch-up"),
            Self::OlderThan(window) => write!(f, "missed more than {window} ago: the catch-up's window"),
            Self::NotTheLast => f.write_str("missed, and only the last one is caught up"),
            Self::Into(at) => write!(f, "missed, and coalesced into slot {at}"),
            Self::Overlaps(run) => write!(f, "run {} had not ended", run.0),
            Self::OverlapsSlot(at) => write!(f, "run {} had not ended", key(at)),
            Self::ReplacedBy(at) => write!(f, "replaced by run {} before it began", key(at)),
        }
    }
}
