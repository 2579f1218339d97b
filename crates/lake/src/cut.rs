//! Where a window ends.

use jiff::{Timestamp, civil};
use millrace_core::pipeline::Roll;

/// Why a window has ended before a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// With it, it would be too large.
    Bytes,
    /// It is too much later than the first.
    Age,
    /// It is of a later hour.
    Hour,
}

/// Finds where windows end, in the offsets and times of records and nothing else. Whoever begins at a window's first record
/// finds the same end, however the records come to him.
#[derive(Clone, Debug)]
pub struct Cutter {
    bytes: u64,
    age_ms: i64,
    open: Option<Open>,
}

/// What is known of the window that has not ended.
#[derive(Clone, Copy, Debug)]
struct Open {
    bytes: u64,
    /// The time of its first record, in milliseconds since 1970.
    since: i64,
    hour: i64,
}

const HOUR_MS: i64 = 3_600_000;

impl Cutter {
    /// As the pipeline's document wants it.
    pub fn new(roll: &Roll) -> Self {
        let age_ms = i64::try_from(roll.age.as_millis()).unwrap_or(i64::MAX);
        Self { bytes: roll.bytes, age_ms, open: None }
    }

    /// Takes the next record, of that time (milliseconds since 1970) and size. When the window ends before it, says why: it is
    /// then the first of the next one. A record of an earlier hour than the window's ends nothing: it came late.
    pub fn add(&mut self, time_ms: i64, bytes: u64) -> Option<Cut> {
        let cut = self.open.and_then(|open| self.ends(&open, time_ms, bytes));
        match &mut self.open {
            Some(open) if cut.is_none() => open.bytes = open.bytes.saturating_add(bytes),
            open => *open = Some(Open { bytes, since: time_ms, hour: hour(time_ms) }),
        }
        cut
    }

    /// The window has ended for another reason: the next record is the first of one.
    pub fn end(&mut self) {
        self.open = None;
    }

    fn ends(&self, open: &Open, time_ms: i64, bytes: u64) -> Option<Cut> {
        if hour(time_ms) > open.hour {
            Some(Cut::Hour)
        } else if time_ms.saturating_sub(open.since) >= self.age_ms {
            Some(Cut::Age)
        } else if open.bytes.saturating_add(bytes) > self.bytes {
            Some(Cut::Bytes)
        } else {
            None
        }
    }
}

fn hour(time_ms: i64) -> i64 {
    time_ms.div_euclid(HOUR_MS)
}

/// The hour, in UTC, that a record time belongs to; of one that no calendar has, the first or the last.
pub fn hour_of(time_ms: i64) -> civil::DateTime {
    let bound = |at: Timestamp| at.to_zoned(jiff::tz::TimeZone::UTC).datetime();
    let start = hour(time_ms).checked_mul(HOUR_MS).and_then(|start| Timestamp::from_millisecond(start).ok());
    bound(start.unwrap_or(if time_ms < 0 { Timestamp::MIN } else { Timestamp::MAX }))
}

#[cfg(test)]
mod tests {
    use millrace_core::Span;
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn cutter(bytes: u64, minutes: u64) -> Cutter {
        Cutter::new(&Roll { bytes, age: Span::seconds(60 * minutes) })
    }

    /// The numbers of the records that windows begin with.
    fn firsts(mut cutter: Cutter, records: &[(i64, u64)]) -> Vec<usize> {
        let cut = |(number, (time, bytes)): (usize, &(i64, u64))| {
            let cut = cutter.add(*time, *bytes);
            (number == 0 || cut.is_some()).then_some(number)
        };
        records.iter().enumerate().filter_map(cut).collect()
    }

    #[test]
    fn a_window_ends_by_size_by_age_and_by_the_hour() {
        let minute = 60_000;
        let mut cutter = cutter(100, 15);
        assert_eq!(cutter.add(0, 60), None);
        assert_eq!(cutter.add(minute, 40), None);
        assert_eq!(cutter.add(2 * minute, 1), Some(Cut::Bytes));
        assert_eq!(cutter.add(17 * minute, 1), Some(Cut::Age));
        assert_eq!(cutter.add(60 * minute - 1, 1), Some(Cut::Age));
        assert_eq!(cutter.add(60 * minute, 1), Some(Cut::Hour));
        assert_eq!(cutter.add(59 * minute, 1), None, "late, and no reason to end");
        assert_eq!(cutter.add(61 * minute, 1), None);
        assert_eq!(cutter.add(61 * minute, 1_000), Some(Cut::Bytes));
        assert_eq!(cutter.add(62 * minute, 1), Some(Cut::Bytes), "one that is too large has a window of its own");
        cutter.end();
        assert_eq!(cutter.add(0, 1), None);
    }

    #[test]
    fn an_hour_is_that_of_utc_also_before_1970_and_beyond_all_calendars() {
        assert_eq!(hour_of(1_767_225_599_999).to_string(), "2025-12-31T23:00:00");
        assert_eq!(hour_of(-1).to_string(), "1969-12-31T23:00:00");
        assert_eq!(hour_of(i64::MIN), hour_of(i64::MIN + 1));
        assert!(hour_of(i64::MAX) > hour_of(0));
    }

    proptest! {
        /// Begun again at any window's first record, by whoever: the same windows from there on.
        #[test]
        fn whoever_begins_at_a_window_finds_the_same_ends(
            steps in vec((-7_200_000_i64..7_200_000, 0_u64..120), 1..200), bytes in 1_u64..400, minutes in 1_u64..90,
        ) {
            let mut time = 1_767_225_600_000;
            let records: Vec<(i64, u64)> = steps.iter().map(|(step, bytes)| { time += step / 8; (time, *bytes) }).collect();
            let whole = firsts(cutter(bytes, minutes), &records);
            for (place, &first) in whole.iter().enumerate() {
                let again: Vec<usize> =
                    firsts(cutter(bytes, minutes), &records[first..]).iter().map(|number| number + first).collect();
                prop_assert_eq!(&again, &whole[place..]);
            }
            // And no window has more than it may, unless it is one record.
            for (place, &first) in whole.iter().enumerate() {
                let end = whole.get(place + 1).copied().unwrap_or(records.len());
                let window = &records[first..end];
                prop_assert!(window.len() == 1 || window.iter().map(|it| it.1).sum::<u64>() <= bytes);
                prop_assert!(window.iter().all(|it| it.0 - window[0].0 < 60_000 * minutes as i64));
            }
        }
    }
}
