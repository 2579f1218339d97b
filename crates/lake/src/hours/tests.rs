use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{DataFile, Folder, Stretch};

const LATENESS: SignedDuration = SignedDuration::from_mins(1);

fn time(hour: i64, minute: i64) -> Timestamp {
    let start: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
    add(start, SignedDuration::from_mins(60 * hour + minute))
}

/// A window with so many records of hours, each at a minute of it.
fn window(partition: i32, first: i64, hours: &[(i64, i64, u64)]) -> Manifest {
    let folder = Folder::new("lake", "t", Uuid::nil(), partition);
    let mut at = first;
    let mut files = Vec::new();
    for (hour, _, rows) in hours {
        let offsets = vec![Stretch { first: at, last: at + *rows as i64 - 1 }];
        at += *rows as i64;
        files.push(DataFile {
            key: folder.data(first, Uuid::nil(), &hour.to_string()),
            schema: None,
            hour: time(*hour, 0),
            rows: *rows,
            bytes: 1,
            sha256: String::new(),
            offsets,
        });
    }
    let times = hours.iter().map(|(hour, minute, _)| time(*hour, *minute));
    let times = times.clone().min().zip(times.max());
    Manifest::new(("t", Uuid::nil(), partition), (first, at), times, files)
}

fn hours() -> Hours {
    Hours::new("t", Uuid::nil())
}

/// The hours that are announced at a watermark, with their records.
fn announced(hours: &mut Hours, watermark: Timestamp) -> Vec<(Timestamp, u64)> {
    let mut all = Vec::new();
    while let Some(complete) = hours.complete(watermark) {
        hours.announce(complete.hour);
        all.push((complete.hour, complete.rows));
    }
    all
}

#[test]
fn an_hour_is_complete_when_the_last_partition_has_passed_it() {
    let mut hours = hours();
    let now = time(9, 0);
    let watermark = |hours: &Hours| hours.watermark([0, 1], now, LATENESS);
    hours.take(&window(0, 0, &[(5, 10, 3), (6, 5, 2)]));
    assert_eq!(watermark(&hours), None, "the other has not begun");
    hours.take(&window(1, 0, &[(5, 59, 1)]));
    assert_eq!(watermark(&hours), Some(time(5, 58)));
    assert_eq!(hours.complete(time(5, 58)), None);
    // It has nothing more: its time goes on without records.
    hours.all_there(1, time(6, 30));
    assert_eq!(watermark(&hours), Some(time(6, 4)), "the first is behind now");
    let marker = hours.complete(time(6, 4)).unwrap();
    assert_eq!((marker.hour, marker.previous, marker.rows), (time(5, 0), None, 4));
    let parts: Vec<_> = marker.partitions.iter().map(|it| (it.partition, it.next, it.rows)).collect();
    assert_eq!(parts, [(0, Some(5), 3), (1, Some(1), 1)]);
    hours.announce(marker.hour);
    assert_eq!(hours.complete(time(6, 59)), None);
}

#[test]
fn a_partition_that_was_seen_to_have_nothing_does_not_go_back() {
    let mut hours = hours();
    hours.all_there(0, time(7, 0));
    hours.take(&window(0, 0, &[(5, 0, 1)]));
    assert_eq!(hours.watermark([0], time(8, 0), LATENESS), Some(time(6, 59)));
    hours.all_there(0, time(6, 0));
    assert_eq!(hours.watermark([0], time(8, 0), LATENESS), Some(time(6, 59)));
}

#[test]
fn hours_without_records_between_others_are_announced_unless_they_are_too_many() {
    let mut hours = hours();
    hours.take(&window(0, 0, &[(1, 0, 1), (4, 0, 2)]));
    let all = announced(&mut hours, time(6, 0));
    assert_eq!(all, [(time(1, 0), 1), (time(2, 0), 0), (time(3, 0), 0), (time(4, 0), 2), (time(5, 0), 0)]);
    // A record of long before the others.
    let mut old = self::hours();
    old.take(&window(0, 0, &[(-1_000_000, 0, 1), (4, 0, 2)]));
    let all = announced(&mut old, time(6, 0));
    assert_eq!(all, [(time(-1_000_000, 0), 1), (time(4, 0), 2), (time(5, 0), 0)]);
    // A topic that was quiet for very long.
    let all = announced(&mut old, time(10_000, 30));
    assert_eq!(all, [(time(9_999, 0), 0)]);
}

#[test]
fn a_clock_that_is_ahead_completes_nothing() {
    let mut hours = hours();
    hours.take(&window(0, 0, &[(5, 0, 1), (900, 0, 1)]));
    assert_eq!(hours.watermark([0], time(5, 30), LATENESS), Some(time(5, 29)));
    assert_eq!(announced(&mut hours, time(8, 0)), [(time(5, 0), 1), (time(6, 0), 0), (time(7, 0), 0)]);
}

#[test]
fn late_records_are_counted_and_found() {
    let mut hours = hours();
    let windows = [window(0, 0, &[(5, 0, 3)]), window(0, 3, &[(4, 0, 1), (5, 10, 2), (6, 0, 1)])];
    assert_eq!(hours.take(&windows[0]), 0);
    let marker = hours.complete(time(6, 0)).unwrap();
    hours.announce(marker.hour);
    assert_eq!(hours.take(&windows[1]), 3);
    let markers = BTreeMap::from([(marker.hour, marker)]);
    let expected = [Late { hour: time(4, 0), rows: 1 }, Late { hour: time(5, 0), rows: 2 }];
    assert_eq!(late(0, &windows, &markers), expected);
    assert_eq!(late(0, &windows[..1], &markers), []);
    assert_eq!(late(0, &windows, &BTreeMap::new()), []);
}

#[test]
fn a_marker_is_read_as_it_was_written() {
    let mut hours = hours();
    hours.take(&window(0, 0, &[(5, 0, 3), (7, 1, 1)]));
    let marker = hours.complete(time(6, 0)).unwrap();
    assert_eq!(Complete::read("k", time(5, 0), &marker.to_json()).unwrap(), marker);
    assert_eq!(marker.partitions[0].later, BTreeMap::from([(time(7, 0), 1)]));
    let refused = Complete::read("k", time(6, 0), &marker.to_json()).unwrap_err();
    assert_eq!(refused.reason, "is of 2026-11-22T05:00:00Z, which is not its name");
    assert!(Complete::read("k", time(5, 0), b"{").is_err());
}

proptest! {
    /// Whoever goes on after any marker announces the same hours with the same records.
    #[test]
    fn whoever_goes_on_after_a_marker_announces_the_same(
        steps in vec((0_i64..3, 0_i64..3, 1_u64..5), 1..40), gone in 0_usize..40,
    ) {
        let (mut hour, mut first) = (0, 0);
        let mut windows = Vec::new();
        for (step, ahead, rows) in steps {
            hour += step;
            let files = if ahead == 0 { vec![(hour, 0, rows)] } else { vec![(hour, 0, rows), (hour + ahead, 0, 1)] };
            windows.push(window(0, first, &files));
            first = windows[windows.len() - 1].next;
        }
        let (mut one, mut other) = (hours(), hours());
        one.begin(0, 0);
        for (number, window) in windows.iter().enumerate() {
            // The other one dies from time to time, and is begun again.
            let before: Vec<_> = (0..2).map(|_| other.next(0)).collect();
            prop_assert!(before.iter().all(|next| next.is_none() || *next == Some(window.first)));
            prop_assert_eq!(one.take(window), other.take(window));
            let watermark = one.watermark([0], time(1_000, 0), LATENESS).unwrap();
            while let Some(complete) = one.complete(watermark) {
                let same = other.complete(watermark);
                prop_assert_eq!(same.as_ref(), Some(&complete));
                one.announce(complete.hour);
                if number % (gone + 1) == 0 {
                    other = Hours::after(&Complete::read("k", complete.hour, &complete.to_json()).unwrap());
                } else {
                    other.announce(complete.hour);
                }
            }
            prop_assert_eq!(other.complete(watermark), None);
        }
    }
}
