use jiff::{SignedDuration, Timestamp};
use millrace_core::Span;

use super::{Group, MAX_EVENTS};
use crate::document::Together;

/// When events that go together are complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// When there are so many.
    pub count: usize,
    /// When it is time.
    pub end: End,
}

/// Until when events can join a group, without that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// For ever.
    Never,
    /// So long after the first.
    After(SignedDuration),
    /// To the end of the stretch of time that the first is in.
    Window(SignedDuration),
    /// Until none has come for so long, and to `max` after the first.
    Quiet {
        /// That long.
        pause: SignedDuration,
        /// At the latest.
        max: SignedDuration,
    },
}

impl Rule {
    /// Each event by itself.
    pub const EACH: Self = Self { count: 1, end: End::Never };

    /// As a document says it; `None`: each event by itself. It has been checked.
    pub fn new(together: Option<&Together>) -> Self {
        let Some(Together { count, window, debounce, max, by: _ }) = together else { return Self::EACH };
        let end = match (window, debounce, max) {
            (Some(window), _, _) => End::Window(length(*window)),
            (None, Some(pause), max) => {
                End::Quiet { pause: length(*pause), max: max.map_or(SignedDuration::MAX, length) }
            }
            (None, None, Some(max)) => End::After(length(*max)),
            (None, None, None) => End::Never,
        };
        Self { count: count.map_or(MAX_EVENTS, |count| (count as usize).clamp(1, MAX_EVENTS)), end }
    }

    /// When a group is complete if nothing joins it until then; none: it waits for events.
    pub fn due(&self, group: &Group) -> Option<Timestamp> {
        match self.end {
            End::Never => None,
            End::After(max) => Some(after(group.first_at, max)),
            End::Window(length) => Some(after(start(group.first_at, length), length)),
            End::Quiet { pause, max } => Some(after(group.last_at, pause).min(after(group.first_at, max))),
        }
    }

    /// The stretch of time that a group's events are of, where there is one.
    pub fn window(&self, group: &Group) -> Option<(Timestamp, Timestamp)> {
        let End::Window(length) = self.end else { return None };
        let start = start(group.first_at, length);
        Some((start, after(start, length)))
    }
}

/// The beginning of the stretch that an instant is in.
fn start(at: Timestamp, length: SignedDuration) -> Timestamp {
    let (at, length) = (at.as_microsecond(), i64::try_from(length.as_micros()).unwrap_or(i64::MAX).max(1));
    Timestamp::from_microsecond(at - at.rem_euclid(length)).unwrap_or(Timestamp::MIN)
}

fn after(at: Timestamp, length: SignedDuration) -> Timestamp {
    at.checked_add(length).unwrap_or(Timestamp::MAX)
}

fn length(span: Span) -> SignedDuration {
    SignedDuration::from_millis(i64::try_from(span.as_millis()).unwrap_or(i64::MAX))
}
