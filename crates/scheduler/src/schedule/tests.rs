//! The days on which clocks are changed, in four zones, written down.

use jiff::Timestamp;

use super::{Calendar, Fold, Gap};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn calendar(pattern: &str, zone: &str) -> Calendar {
    Calendar::new(pattern.parse().unwrap(), jiff::tz::db().get(zone).unwrap(), None, None)
}

/// The due moments in two days from midnight UTC, as time and what a clock on the wall showed.
fn due(calendar: &Calendar, from: &str) -> Vec<String> {
    let start = at(&format!("{from}T00:00:00Z"));
    let end = start + jiff::SignedDuration::from_hours(48);
    let before = start - jiff::SignedDuration::from_secs(1);
    std::iter::successors(calendar.due_after(before), |moment| calendar.due_after(moment.at))
        .take_while(|moment| moment.at < end)
        .map(|moment| {
            let tick = moment.due.unwrap();
            format!("{} {}", moment.at.strftime("%dT%H:%M"), tick.civil.strftime("%H:%M"))
        })
        .collect()
}

#[test]
fn golden_days_of_four_zones() {
    let golden: [(&str, &str, &str, &[&str]); 10] = [
        // New York: from -05 to -04 at 07:00Z on March 8, back at 06:00Z on November 1.
        ("30 2 * * *", "America/New_York", "2026-03-07", &["07T07:30 02:30", "08T07:00 02:30"]),
        ("0 2 * * *", "America/New_York", "2026-10-31", &["31T06:00 02:00", "01T07:00 02:00"]),
        ("30 1 * * *", "America/New_York", "2026-10-31", &["31T05:30 01:30", "01T05:30 01:30"]),
        (
            "0 */12 * * *",
            "America/New_York",
            "2026-10-31",
            &["31T04:00 00:00", "31T16:00 12:00", "01T04:00 00:00", "01T17:00 12:00"],
        ),
        // Berlin: from +01 to +02 at 01:00Z on March 29, back at 01:00Z on October 25.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28", &["28T01:30 02:30", "29T01:00 02:30"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-24", &["24T00:30 02:30", "25T00:30 02:30"]),
        // Lord Howe: half an hour, from +11 to +10:30 at 15:00Z on April 4.
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-04", &["04T14:45 01:45", "05T15:15 01:45"]),
        (
            "*/30 1 * * *",
            "Australia/Lord_Howe",
            "2026-04-04",
            &["04T14:00 01:00", "04T14:30 01:30", "04T15:00 01:30", "05T14:30 01:00", "05T15:00 01:30"],
        ),
        // Cairo: at midnight of Friday, April 24, from +02 to +03: there is no 00:00.
        ("0 0 * * *", "Africa/Cairo", "2026-04-23", &["23T22:00 00:00", "24T21:00 00:00"]),
        ("30 0 * * *", "Africa/Cairo", "2026-04-23", &["23T22:00 00:30", "24T21:30 00:30"]),
    ];
    for (pattern, zone, from, expected) in golden {
        assert_eq!(due(&calendar(pattern, zone), from), expected, "{pattern} in {zone}");
    }
}

#[test]
fn a_policy_of_ones_own_goes_before_what_is_usual() {
    let zone = jiff::tz::db().get("America/New_York").unwrap();
    let with = |gap, fold| Calendar::new("30 1,2 * * *".parse().unwrap(), zone.clone(), Some(gap), Some(fold));
    assert_eq!(
        due(&with(Gap::Skip, Fold::First), "2026-03-07"),
        ["07T06:30 01:30", "07T07:30 02:30", "08T06:30 01:30"]
    );
    assert_eq!(
        due(&with(Gap::RunAfter, Fold::Second), "2026-10-31"),
        ["31T05:30 01:30", "31T06:30 02:30", "01T06:30 01:30", "01T07:30 02:30"]
    );
}

#[test]
fn the_last_due_moment_is_the_one_whose_next_is_now() {
    let calendar = calendar("0 0 29 2 *", "Europe/Berlin");
    let leap = calendar.due_after(at("2026-11-21T00:00:00Z")).unwrap().at;
    assert_eq!(leap, at("2028-02-28T23:00:00Z"));
    assert_eq!(calendar.due_before(leap).unwrap().at, at("2024-02-28T23:00:00Z"));
}

#[test]
fn what_never_comes_is_none_and_what_is_no_pattern_is_said() {
    for zone in ["UTC", "Europe/Berlin"] {
        assert!(calendar("0 0 30 2 *", zone).due_after(at("2026-01-01T00:00:00Z")).is_none());
        assert!(calendar("0 0 30 2 *", zone).due_before(at("2026-01-01T00:00:00Z")).is_none());
    }
    for text in ["", "* * * *", "61 * * * *", "0 0 * * * *", "x * * * *"] {
        let error = text.parse::<super::Pattern>().unwrap_err().to_string();
        assert!(error.contains("is no cron pattern"), "{error}");
    }
}
