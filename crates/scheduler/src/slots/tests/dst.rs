//! The days on which clocks are changed, in four zones, written down.

use super::*;

/// Everything on time, moment by moment: `07T07:30Z fired 02:30`, and what else there is to say.
fn days(spec: Value, from: &str, hours: i64) -> Vec<String> {
    let schedule = Schedule::new(spec);
    let start = at(&format!("{from}T00:00:00Z"));
    let end = start + SignedDuration::from_hours(hours);
    let mut cursor = Cursor::new(start - SignedDuration::from_secs(1));
    let mut told = Vec::new();
    let mut now = start;
    while now < end {
        let account = account(&schedule.flow(cursor), &Live::default(), now, Budget::default());
        told.extend(account.slots.iter().map(tell));
        let Next::At(next) = account.next else { break };
        (cursor, now) = (account.cursor, next);
    }
    told
}

fn tell(slot: &Slot) -> String {
    let mut said = format!("{} {}", slot.at.strftime("%dT%H:%MZ"), name(slot.state));
    if slot.count > 1 {
        said += &format!(" {} to {}", slot.count, slot.until.strftime("%H:%MZ"));
    }
    said += &format!(" {}", slot.tick.civil.strftime("%H:%M"));
    if !slot.passed_over.is_empty() {
        let times = slot.passed_over.iter().map(|tick| tick.civil.strftime("%H:%M").to_string());
        said += &format!(" for {}", times.collect::<Vec<_>>().join(" "));
    }
    said
}

#[test]
fn golden_days_of_four_zones() {
    type Golden = (&'static str, &'static str, Value, &'static str, &'static [&'static str]);
    let golden: [Golden; 12] = [
        // New York: from -05 to -04 at 07:00Z on March 8, back at 06:00Z on November 1.
        (
            "30 2 * * *",
            "America/New_York",
            json!({}),
            "2026-03-07",
            &["07T07:30Z fired 02:30", "08T07:00Z fired 02:30"],
        ),
        (
            "30 2 * * *",
            "America/New_York",
            json!({"gap": "skip"}),
            "2026-03-07",
            &["07T07:30Z fired 02:30", "08T07:00Z gap 02:30"],
        ),
        (
            "0,30 2,3 * * *",
            "America/New_York",
            json!({"gap": "run-after"}),
            "2026-03-08",
            &["08T07:00Z fired 03:00 for 02:00 02:30", "08T07:30Z fired 03:30", "09T06:00Z fired 02:00"],
        ),
        (
            "30 1 * * *",
            "America/New_York",
            json!({}),
            "2026-11-01",
            &["01T05:30Z fired 01:30", "01T06:30Z fold 01:30", "02T06:30Z fired 01:30"],
        ),
        (
            "30 1 * * *",
            "America/New_York",
            json!({"fold": "second"}),
            "2026-11-01",
            &["01T05:30Z fold 01:30", "01T06:30Z fired 01:30", "02T06:30Z fired 01:30"],
        ),
        (
            "30 1 * * *",
            "America/New_York",
            json!({"fold": "both"}),
            "2026-11-01",
            &["01T05:30Z fired 01:30", "01T06:30Z fired 01:30", "02T06:30Z fired 01:30"],
        ),
        // Berlin: from +01 to +02 at 01:00Z on March 29, back at 01:00Z on October 25.
        (
            "*/20 2 * * *",
            "Europe/Berlin",
            json!({}),
            "2026-03-29",
            &["29T01:00Z gap 02:40 for 02:00 02:20", "30T00:00Z fired 02:00", "30T00:20Z fired 02:20"],
        ),
        (
            "*/20 2 * * *",
            "Europe/Berlin",
            json!({"fold": "first"}),
            "2026-10-25",
            &[
                "25T00:00Z fired 02:00",
                "25T00:20Z fired 02:20",
                "25T00:40Z fired 02:40",
                "25T01:00Z fold 02:00",
                "25T01:20Z fold 02:20",
                "25T01:40Z fold 02:40",
                "26T01:00Z fired 02:00",
            ],
        ),
        // Lord Howe: half an hour, from +11 to +10:30 at 15:00Z on April 4, forward at 15:30Z on October 3.
        (
            "45 1 * * *",
            "Australia/Lord_Howe",
            json!({}),
            "2026-04-04",
            &["04T14:45Z fired 01:45", "04T15:15Z fold 01:45", "05T15:15Z fired 01:45"],
        ),
        (
            "15 2 * * *",
            "Australia/Lord_Howe",
            json!({"gap": "skip"}),
            "2026-10-03",
            &["03T15:30Z gap 02:15", "04T15:15Z fired 02:15"],
        ),
        // Tehran: from +03:30 to +04:30 at midnight of March 22, 2021, back at midnight of September 22.
        ("0 0 * * *", "Asia/Tehran", json!({}), "2021-03-20", &["20T20:30Z fired 00:00", "21T20:30Z fired 00:00"]),
        (
            "30 23 * * *",
            "Asia/Tehran",
            json!({}),
            "2021-09-21",
            &["21T19:00Z fired 23:30", "21T20:00Z fold 23:30", "22T20:00Z fired 23:30"],
        ),
    ];
    for (cron, zone, dst, from, expected) in golden {
        let spec = json!({"cron": cron, "timezone": zone, "dst": dst});
        let told = days(spec, from, 48);
        assert_eq!(told[..expected.len().min(told.len())], *expected, "{cron} in {zone}, {dst}");
    }
}

#[test]
fn what_clocks_do_is_said_in_civil_time() {
    let said = |cron: &str, dst: Value, cursor: &str, now: &str| {
        let schedule = Schedule::new(json!({"cron": cron, "timezone": "America/New_York", "dst": dst}));
        explanations(&schedule.account(cursor, now))
    };
    let spring = |cron, dst| said(cron, dst, "2026-03-08T06:59:00Z", "2026-03-08T07:00:01Z");
    assert_eq!(spring("30 2 * * *", json!({})), ["in place of 2026-03-08T02:30:00, which clocks leave out"]);
    assert_eq!(spring("30 2 * * *", json!({"gap": "skip"})), ["clocks leave 2026-03-08T02:30:00 out"]);
    assert_eq!(spring("30 2,3 * * *", json!({})), ["clocks leave 2026-03-08T02:30:00 out"]);
    assert_eq!(spring("30 * * * *", json!({})), ["clocks leave 2026-03-08T02:30:00 out"]);
    assert_eq!(
        spring("* * * * *", json!({})),
        ["clocks also leave 60 ticks out, 2026-03-08T02:00:00 to 2026-03-08T02:59:00"]
    );
    assert_eq!(spring("0,30 3 * * *", json!({})), owned(&[]));
    assert_eq!(
        said("30 1 * * *", json!({}), "2026-11-01T06:00:00Z", "2026-11-01T06:30:00Z"),
        ["clocks show 2026-11-01T01:30:00 twice, and this is the second time"]
    );
    assert_eq!(
        said("30 1 * * *", json!({"fold": "second"}), "2026-11-01T05:00:00Z", "2026-11-01T05:30:00Z"),
        ["clocks show 2026-11-01T01:30:00 twice, and this is the first time"]
    );
}

/// An interval is never empty and never comes twice, on the longest and on the shortest day.
#[test]
fn intervals_are_between_instants_and_not_between_times_of_day() {
    let hours = |from: &str| {
        let spec = json!({"cron": "@hourly", "timezone": "Europe/Berlin", "catchup": {"policy": "all"}});
        let start = at(from);
        let account = Schedule::new(spec).account(from, &(start + SignedDuration::from_hours(4)).to_string());
        let length = |run: &Run| run.interval.end.duration_since(run.interval.start).as_hours();
        account.runs.iter().map(length).collect::<Vec<_>>()
    };
    assert_eq!(hours("2026-03-28T23:30:00Z"), [1, 1, 1, 1]);
    assert_eq!(hours("2026-10-24T23:30:00Z"), [1, 1, 1, 1]);
    let daily = json!({"cron": "30 2 * * *", "timezone": "Europe/Berlin", "catchup": {"policy": "all"}});
    let account = Schedule::new(daily).account("2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z");
    let minutes = |run: &Run| run.interval.end.duration_since(run.interval.start).as_mins();
    assert_eq!(account.runs.iter().map(minutes).collect::<Vec<_>>(), [23 * 60 + 30, 23 * 60 + 30]);
}

#[test]
fn a_range_of_missed_slots_hides_nothing_that_clocks_do() {
    let missed = |cron: &str, dst: Value| {
        let spec = json!({"cron": cron, "timezone": "America/New_York", "dst": dst, "catchup": {"policy": "none"}});
        let account = Schedule::new(spec).account("2026-03-01T00:00:00Z", "2026-03-12T00:00:00Z");
        account.slots.iter().map(tell).collect::<Vec<_>>()
    };
    assert_eq!(
        missed("30 2 * * *", json!({})),
        ["01T07:30Z skipped 7 to 07:30Z 02:30", "08T07:00Z skipped 02:30", "09T06:30Z skipped 3 to 06:30Z 02:30"]
    );
    assert_eq!(
        missed("30 2 * * *", json!({"gap": "skip"})),
        ["01T07:30Z skipped 7 to 07:30Z 02:30", "08T07:00Z gap 02:30", "09T06:30Z skipped 3 to 06:30Z 02:30"]
    );
    assert_eq!(
        missed("0 2,3 * * *", json!({}))[1..],
        ["08T07:00Z skipped 03:00 for 02:00", "09T06:00Z skipped 6 to 07:00Z 02:00"]
    );
}

/// A job of once a year that is left out this year is told of now, and not in a year.
#[test]
fn what_is_passed_over_is_told_on_the_day() {
    let spec = json!({
        "cron": "30 2 8 3 *", "timezone": "America/New_York", "dst": {"gap": "skip"}, "end": "2027-03-08T02:30:00"
    });
    let schedule = Schedule::new(spec);
    let before = schedule.account("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z");
    assert_eq!((before.next, before.due), (Next::At(at("2026-03-08T07:00:00Z")), None));
    let on_the_day = schedule.account("2026-01-01T00:00:00Z", "2026-03-08T07:00:00Z");
    assert_eq!((slots(&on_the_day), on_the_day.next), (owned(&["07:00 gap"]), Next::Never));
}
