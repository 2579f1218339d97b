use jiff::{
    SignedDuration, Timestamp,
    civil::DateTime,
    tz::{Offset, TimeZone},
};

use super::{Clock, Fold, Gap, Moment, Pattern, Tick};

/// How far back the last due moment is looked for: a pattern that names the 29th of February on a Monday comes every
/// 28 years.
const FARTHEST: SignedDuration = SignedDuration::from_hours(24 * 366 * 41);
/// The first look back: short, as every due moment of it is gone through.
const NEAREST: SignedDuration = SignedDuration::from_mins(5);

/// A pattern in a time zone.
#[derive(Clone, Debug)]
pub struct Calendar {
    pattern: Pattern,
    zone: TimeZone,
    gap: Gap,
    fold: Fold,
}

/// A stretch of time in which the zone keeps its distance from UTC. Its neighbours' distances tell what its ends are.
struct Stretch {
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    offset: Offset,
    before: Offset,
    after: Offset,
}

impl Calendar {
    /// Of a pattern in a zone. Without a policy a job that names one time of day is run once a day, whatever clocks do;
    /// any other goes by the time that passes: nothing is made up for in a gap, and a fold is two hours.
    pub fn new(pattern: Pattern, zone: TimeZone, gap: Option<Gap>, fold: Option<Fold>) -> Self {
        let (usual_gap, usual_fold) =
            if pattern.names_one_time() { (Gap::RunAfter, Fold::First) } else { (Gap::Skip, Fold::Both) };
        Self { pattern, zone, gap: gap.unwrap_or(usual_gap), fold: fold.unwrap_or(usual_fold) }
    }

    /// The first moment after an instant, whether anything is due or not; none when the pattern has no match left.
    pub fn moment_after(&self, instant: Timestamp) -> Option<Moment> {
        let mut from = next_second(instant)?;
        loop {
            let stretch = self.stretch(from);
            // None at all is none in any stretch, of which there are thousands.
            let next = self.pattern.at_or_after(stretch.offset.to_datetime(from))?;
            if let Some(moment) = self.moment_in(&stretch, from, next) {
                return Some(moment);
            }
            from = stretch.end?;
        }
    }

    /// The first due moment after an instant.
    pub fn due_after(&self, instant: Timestamp) -> Option<Moment> {
        Moment::first_due(instant, |instant| self.moment_after(instant))
    }

    /// The last due moment before an instant.
    pub fn due_before(&self, instant: Timestamp) -> Option<Moment> {
        let mut span = NEAREST;
        loop {
            let start = instant.checked_sub(span).unwrap_or(Timestamp::MIN);
            let moments = std::iter::successors(self.due_after(start), |moment| self.due_after(moment.at));
            match moments.take_while(|moment| moment.at < instant).last() {
                Some(moment) => return Some(moment),
                None if span >= FARTHEST => return None,
                None => span = (span * 8).min(FARTHEST),
            }
        }
    }

    fn stretch(&self, instant: Timestamp) -> Stretch {
        let offset = self.zone.to_offset(instant);
        // `preceding` leaves out a transition at the very instant.
        let start = next_second(instant).and_then(|next| self.zone.preceding(next).next()).map(|it| it.timestamp());
        let end = self.zone.following(instant).next().map(|it| it.timestamp());
        let before = start.and_then(|start| start.checked_sub(SignedDuration::from_nanos(1)).ok());
        Stretch {
            start,
            end,
            offset,
            before: before.map_or(offset, |before| self.zone.to_offset(before)),
            after: end.map_or(offset, |end| self.zone.to_offset(end)),
        }
    }

    /// The first moment of a stretch at or after `from`, where the pattern matches `next`.
    fn moment_in(&self, stretch: &Stretch, from: Timestamp, next: DateTime) -> Option<Moment> {
        let natural = stretch.tick(next);
        let missing = if stretch.start == Some(from) { self.missing(stretch, from) } else { Vec::new() };
        match natural {
            Some((at, tick)) if missing.is_empty() || at == from => {
                let (due, mut passed_over) = if self.is_due(&tick) { (Some(tick), missing) } else { (None, missing) };
                if due.is_none() {
                    passed_over.push(tick);
                }
                Some(Moment { at, due, passed_over })
            }
            _ if missing.is_empty() => None,
            _ => {
                let mut passed_over = missing;
                // The one that is nearest stands for all.
                let due = if self.gap == Gap::RunAfter { passed_over.pop() } else { None };
                Some(Moment { at: from, due, passed_over })
            }
        }
    }

    /// The ticks that were left out when clocks went forward at the start of a stretch.
    fn missing(&self, stretch: &Stretch, start: Timestamp) -> Vec<Tick> {
        let offset = stretch.before;
        let (mut civil, end) = (offset.to_datetime(start), stretch.offset.to_datetime(start));
        let mut ticks = Vec::new();
        while civil < end {
            match self.pattern.at_or_after(civil) {
                Some(found) if found < end => {
                    ticks.push(Tick { civil: found, offset, clock: Clock::Gap });
                    civil = later(found);
                }
                _ => break,
            }
        }
        ticks
    }

    fn is_due(&self, tick: &Tick) -> bool {
        match tick.clock {
            Clock::Steady => true,
            Clock::FoldFirst => self.fold != Fold::Second,
            Clock::FoldSecond => self.fold != Fold::First,
            Clock::Gap => self.gap == Gap::RunAfter,
        }
    }
}

impl Stretch {
    /// A match as a tick, if a clock on the wall shows it in this self.
    fn tick(&self, civil: DateTime) -> Option<(Timestamp, Tick)> {
        let offset = self.offset;
        let at = offset.to_timestamp(civil).ok()?;
        if self.end.is_some_and(|end| at >= end) {
            return None;
        }
        let shown_before = self.start.is_some_and(|start| civil < self.before.to_datetime(start));
        let shown_again = self.end.is_some_and(|end| civil >= self.after.to_datetime(end));
        let clock = match (shown_before, shown_again) {
            (true, _) => Clock::FoldSecond,
            (false, true) => Clock::FoldFirst,
            (false, false) => Clock::Steady,
        };
        Some((at, Tick { civil, offset, clock }))
    }
}

/// The first whole second after an instant: nothing is finer than that.
fn next_second(instant: Timestamp) -> Option<Timestamp> {
    // Towards zero, so that before 1970 it is in the future already.
    let second = instant.as_second();
    let second = if instant.subsec_nanosecond() < 0 { second } else { second + 1 };
    Timestamp::from_second(second).ok()
}

fn later(civil: DateTime) -> DateTime {
    civil.saturating_add(SignedDuration::from_secs(1))
}
