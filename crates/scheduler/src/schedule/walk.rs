//! The calendar against a walk over every minute, which knows nothing of stretches, gaps and folds: it looks at the clock
//! on the wall, minute by minute, and sees what is shown twice and what is left out.

use std::collections::{HashMap, HashSet};

use jiff::{
    SignedDuration, Timestamp,
    civil::DateTime,
    tz::{TimeZone, db},
};

use super::{Calendar, Fold, Gap};

type Matches = fn(DateTime) -> bool;

/// Patterns, each with its meaning in other words.
const PATTERNS: [(&str, Matches); 8] = [
    ("30 2 * * *", |it| it.hour() == 2 && it.minute() == 30),
    ("0 0 * * *", |it| it.hour() == 0 && it.minute() == 0),
    ("30 * * * *", |it| it.minute() == 30),
    ("*/15 1-3 * * *", |it| (1..=3).contains(&it.hour()) && it.minute() % 15 == 0),
    ("0 */2 * * *", |it| it.hour() % 2 == 0 && it.minute() == 0),
    ("5 3 * * SUN", |it| it.hour() == 3 && it.minute() == 5 && it.weekday() == jiff::civil::Weekday::Sunday),
    ("* 23,0-2 * * *", |it| it.hour() == 23 || it.hour() <= 2),
    ("45 1 1,L * *", |it| it.hour() == 1 && it.minute() == 45 && (it.day() == 1 || it.day() == it.days_in_month())),
];

/// What a walk says about an instant at which a pattern matches.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    at: Timestamp,
    due: Option<DateTime>,
    passed_over: Vec<DateTime>,
}

/// A minute of a walk.
struct Minute {
    at: Timestamp,
    civil: DateTime,
    twice: bool,
    second_time: bool,
    /// Minutes that the clock leaves out just before.
    left_out: Vec<DateTime>,
}

/// Walks from `start` to `end`.
fn walk(zone: &TimeZone, start: Timestamp, end: Timestamp) -> Vec<Minute> {
    let minutes =
        (start.as_second()..end.as_second()).step_by(60).map(|second| Timestamp::from_second(second).unwrap());
    let shown: Vec<(Timestamp, DateTime)> = minutes.map(|at| (at, zone.to_datetime(at))).collect();
    let mut times: HashMap<DateTime, u8> = HashMap::new();
    for (_, civil) in &shown {
        *times.entry(*civil).or_default() += 1;
    }
    let (mut before, mut last) = (HashSet::new(), None::<DateTime>);
    let mut walked = Vec::with_capacity(shown.len());
    for (at, civil) in shown {
        let twice = times[&civil] > 1;
        let second_time = twice && !before.insert(civil);
        let left_out = last.map_or(Vec::new(), |last| minutes_between(last, civil));
        walked.push(Minute { at, civil, twice, second_time, left_out });
        last = Some(civil);
    }
    walked
}

fn minutes_between(before: DateTime, after: DateTime) -> Vec<DateTime> {
    let minute = SignedDuration::from_mins(1);
    std::iter::successors(Some(before + minute), |last| Some(*last + minute)).take_while(|it| *it < after).collect()
}

fn expect(walked: &[Minute], matches: Matches, gap: Gap, fold: Fold) -> Vec<Seen> {
    let mut seen = Vec::new();
    for Minute { at, civil, twice, second_time, left_out } in walked {
        let mut passed_over: Vec<DateTime> = left_out.iter().copied().filter(|it| matches(*it)).collect();
        let mut due = None;
        if matches(*civil) {
            let wanted = match (twice, second_time) {
                (false, _) => true,
                (true, false) => fold != Fold::Second,
                (true, true) => fold != Fold::First,
            };
            if wanted { due = Some(*civil) } else { passed_over.push(*civil) }
        } else if gap == Gap::RunAfter {
            due = passed_over.pop();
        }
        if due.is_some() || !passed_over.is_empty() {
            seen.push(Seen { at: *at, due, passed_over });
        }
    }
    seen
}

fn told(calendar: &Calendar, start: Timestamp, end: Timestamp) -> Vec<Seen> {
    let before = start - SignedDuration::from_secs(1);
    std::iter::successors(calendar.moment_after(before), |moment| calendar.moment_after(moment.at))
        .take_while(|moment| moment.at < end)
        .map(|moment| Seen {
            at: moment.at,
            due: moment.due.map(|tick| tick.civil),
            passed_over: moment.passed_over.iter().map(|tick| tick.civil).collect(),
        })
        .collect()
}

fn compare(name: &str, zone: &TimeZone, start: Timestamp, end: Timestamp) {
    let walked = walk(zone, start, end);
    for (text, matches) in PATTERNS {
        for (gap, fold) in [(Gap::RunAfter, Fold::First), (Gap::Skip, Fold::Both), (Gap::RunAfter, Fold::Second)] {
            let calendar = Calendar::new(text.parse().unwrap(), zone.clone(), Some(gap), Some(fold));
            let (expected, told) = (expect(&walked, matches, gap, fold), told(&calendar, start, end));
            if told != expected {
                let differs = told.iter().zip(&expected).find(|(told, expected)| told != expected);
                panic!("{text} in {name}, {gap:?} {fold:?}, from {start} to {end}: {differs:#?}");
            }
        }
    }
}

fn from() -> Timestamp {
    "2000-01-01T00:00:00Z".parse().unwrap()
}

fn to() -> Timestamp {
    "2040-01-01T00:00:00Z".parse().unwrap()
}

/// Every zone with its changes of the clock; of zones that change theirs alike, one.
fn zones() -> Vec<(String, TimeZone, Vec<Timestamp>)> {
    let mut known = HashSet::new();
    let mut zones = Vec::new();
    for name in db().available() {
        let Ok(zone) = db().get(name.as_str()) else { continue };
        let changes: Vec<_> = zone
            .following(from())
            .take_while(|it| it.timestamp() < to())
            .map(|it| (it.timestamp(), it.offset()))
            .collect();
        if known.insert((zone.to_offset(from()), changes.clone())) {
            zones.push((name.as_str().to_owned(), zone, changes.into_iter().map(|(at, _)| at).collect()));
        }
    }
    assert!(zones.len() > 100, "the time zone database is there: {}", zones.len());
    zones
}

#[test]
fn around_every_change_of_the_clock_moments_are_those_of_a_walk() {
    let half = SignedDuration::from_hours(36);
    beside_each_other(|name, zone, changes| {
        for change in changes {
            // Data of 32 bits ends with a "change" in the middle of a minute.
            let change = Timestamp::from_second(change.as_second().div_euclid(60) * 60).unwrap();
            compare(name, zone, change - half, change + half);
        }
    });
}

/// Every minute of forty years, year by year: minutes of work for each core.
#[test]
#[ignore = "long: part of `make soak`"]
fn over_forty_years_moments_are_those_of_a_walk() {
    // Few zones change their clocks on this day.
    let day = |year: i32| format!("{year}-01-20T00:00:00Z").parse::<Timestamp>().unwrap();
    beside_each_other(|name, zone, _| (2000..2040).for_each(|year| compare(name, zone, day(year), day(year + 1))));
}

/// Zones on both cores.
fn beside_each_other(work: impl Fn(&str, &TimeZone, &[Timestamp]) + Sync) {
    let (zones, work) = (&zones(), &work);
    std::thread::scope(|scope| {
        for part in 0..2 {
            scope.spawn(move || {
                zones.iter().skip(part).step_by(2).for_each(|(name, zone, changes)| work(name, zone, changes));
            });
        }
    });
}
