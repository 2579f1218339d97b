//! When a DAG is due: cron in a time zone, with a policy for the days on which clocks are changed.
//!
//! ```text
//! civil ticks of the pattern --(zone: stretches of one offset)--> Moment: one instant, at most one tick due
//!        02:30 is not there  --Gap-->  due when the clock has gone forward, or passed over
//!        01:30 is there twice --Fold--> due the first time, the second, or both times
//! ```
//!
//! Every civil tick of the pattern appears in exactly one moment (in a fold: in one for each time that it is there), so
//! that nothing is left out without a trace. Moments are strictly increasing, and so are those that are due: intervals
//! between them are never empty. `schedule/walk.rs` holds all of it against a walk over every minute.

mod calendar;
mod every;
mod pattern;
#[cfg(test)]
mod tests;
mod timetable;
#[cfg(test)]
mod walk;

pub use calendar::Calendar;
pub use every::Every;
pub use pattern::{Pattern, PatternError};
pub use timetable::{ScheduleFault, Timetable};

use jiff::{Timestamp, civil::DateTime, tz::Offset};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of a tick whose time of day is left out because clocks go forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Gap {
    /// Due at the moment at which clocks go forward: once, however many ticks were left out.
    RunAfter,
    /// Passed over.
    Skip,
}

/// What becomes of a tick whose time of day comes twice because clocks go back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fold {
    /// Due the first time.
    First,
    /// Due the second time.
    Second,
    /// Due both times.
    Both,
}

/// One tick of the pattern, at one time that a clock on the wall shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// What the clock on the wall shows; in a gap, what it would have shown.
    pub civil: DateTime,
    /// The zone's distance from UTC: of a gap, the one before it.
    pub offset: Offset,
    /// What clocks do at that time.
    pub clock: Clock,
}

/// What clocks do at the time of a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// They go on.
    Steady,
    /// They leave this time out.
    Gap,
    /// They show this time for the first of two times.
    FoldFirst,
    /// They show this time for the second of two times.
    FoldSecond,
}

/// An instant at which something is due, or was passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When.
    pub at: Timestamp,
    /// The tick that is due.
    pub due: Option<Tick>,
    /// Ticks that are not, by policy or because another tick of this moment stands for them.
    pub passed_over: Vec<Tick>,
}

impl Moment {
    /// The first that is due after an instant, of those that follow each other by `next`.
    fn first_due(instant: Timestamp, next: impl Fn(Timestamp) -> Option<Self>) -> Option<Self> {
        std::iter::successors(next(instant), |moment| next(moment.at)).find(|moment| moment.due.is_some())
    }

    /// Of a schedule that knows no clock on the wall.
    fn plain(at: Timestamp) -> Self {
        let tick = Tick { civil: Offset::UTC.to_datetime(at), offset: Offset::UTC, clock: Clock::Steady };
        Self { at, due: Some(tick), passed_over: Vec::new() }
    }
}
