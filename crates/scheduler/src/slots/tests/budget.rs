//! Work that is too much for one transaction.

use super::*;

/// Calls until nothing is left, `pause` apart: how many that takes, and all of it together.
fn settle(schedule: &Schedule, cursor: &str, now: &str, pause: SignedDuration, budget: Budget) -> (usize, Account) {
    let (mut cursor, mut now, mut calls) = (Cursor::new(at(cursor)), at(now), 1);
    let mut all = account(&schedule.flow(cursor), &Live::default(), now, budget);
    while all.next == Next::Now {
        assert!(all.cursor.at > cursor.at, "every call gets on");
        cursor = all.cursor;
        now += pause;
        let Account { slots, runs, cursor, next, .. } = account(&schedule.flow(cursor), &Live::default(), now, budget);
        assert!(slots.len() <= budget.moments.max(1) && runs.len() <= budget.runs.max(1));
        all.slots.extend(slots);
        all.runs.extend(runs);
        (all.cursor, all.next) = (cursor, next);
        calls += 1;
    }
    (calls, all)
}

#[test]
fn a_month_of_minutes_is_a_few_rows_of_a_few_calls() {
    let minutely = Schedule::new(json!({"cron": "* * * * *"}));
    let (from, to) = ("2026-10-01T00:00:00Z", "2026-10-31T00:00:40Z");
    let (calls, account) = settle(&minutely, from, to, SignedDuration::ZERO, Budget::default());
    assert_eq!((calls, account.slots.len(), account.runs.len()), (5, 6, 1));
    assert_eq!(account.slots.iter().map(|slot| slot.count).sum::<u32>(), 30 * 24 * 60);
    assert_eq!(account.slots.last().unwrap().state, SlotState::CaughtUp);
    assert_eq!(account.next, Next::At(at("2026-10-31T00:01:00Z")));
}

#[test]
fn runs_are_made_so_many_at_a_time() {
    let minutely = Schedule::new(json!({"cron": "* * * * *", "catchup": {"policy": "all"}}));
    let (from, to) = ("2026-10-01T00:00:00Z", "2026-10-01T01:00:40Z");
    for (runs, expected) in [(7, 9), (60, 1), (0, 60)] {
        let budget = Budget { moments: 10_000, runs };
        let (calls, account) = settle(&minutely, from, to, SignedDuration::ZERO, budget);
        assert_eq!((calls, account.runs.len()), (expected, 60));
    }
}

#[test]
fn what_is_coalesced_over_many_calls_is_one_run_of_all_of_it() {
    let hourly = Schedule::hourly(&json!({"policy": "coalesce"}));
    let (from, to) = ("2026-11-21T08:00:00Z", "2026-11-21T14:40:00Z");
    let budget = Budget { moments: 2, runs: 1 };
    let (calls, account) = settle(&hourly, from, to, SignedDuration::ZERO, budget);
    assert_eq!((calls, runs(&account)), (3, owned(&["14:00 of 08:00"])));

    // Time goes on meanwhile. What becomes due by then is another outage, not part of the first.
    let (calls, account) = settle(&hourly, from, to, SignedDuration::from_mins(41), budget);
    let expected = ["09:00-10:00 2 coalesced", "11:00-12:00 2 coalesced", "13:00 coalesced", "14:00 caught up"];
    assert_eq!((calls, slots(&account)[..4].to_vec()), (4, owned(&expected)));
    assert_eq!(slots(&account)[4..], ["15:00 coalesced", "16:00 caught up"]);
    assert_eq!(runs(&account), ["14:00 of 08:00", "16:00 of 14:00"]);
}

#[test]
fn what_has_begun_to_be_coalesced_is_so_whatever_becomes_of_the_schedule() {
    let hourly = Schedule::hourly(&json!({"policy": "coalesce"}));
    let cursor = Cursor::new(at("2026-11-21T08:00:00Z"));
    let now = at("2026-11-21T12:39:20Z");
    let budget = Budget { moments: 2, runs: 1 };
    let begun = account(&hourly.flow(cursor), &Live::default(), now, budget);
    assert_eq!((slots(&begun), begun.next), (owned(&["09:00-10:00 2 coalesced"]), Next::Now));
    // 12:39 is on time, and no slot of the schedule that was changed.
    for (cron, expected) in [("@hourly", "12:00 of 08:00"), ("39,50 12 * * *", "12:39 of 08:00")] {
        let changed = Schedule::new(json!({"cron": cron, "catchup": {"policy": "none"}}));
        let account = account(&changed.flow(begun.cursor), &Live::default(), now, Budget::default());
        assert_eq!((runs(&account), account.cursor.coalescing), (owned(&[expected]), None), "{cron}");
        assert!(account.runs[0].caught_up && account.slots.iter().any(|it| it.state == SlotState::CaughtUp), "{cron}");
    }
}

#[test]
fn a_restart_in_the_middle_repeats_nothing_and_leaves_nothing_out() {
    let hourly = Schedule::hourly(&json!({"policy": "all"}));
    let cursor = Cursor::new(at("2026-11-21T08:00:00Z"));
    let budget = Budget { moments: 2, runs: 1 };
    let first = account(&hourly.flow(cursor), &Live::default(), at("2026-11-21T10:20:00Z"), budget);
    assert_eq!(slots(&first), ["09:00 caught up"]);
    // The transaction was lost: it is all done again. Or it was not, and it goes on from there an hour later.
    assert_eq!(account(&hourly.flow(cursor), &Live::default(), at("2026-11-21T10:20:00Z"), budget), first);
    let second = account(&hourly.flow(first.cursor), &Live::default(), at("2026-11-21T11:20:00Z"), Budget::default());
    assert_eq!(slots(&second), ["10:00 caught up", "11:00 caught up"]);
}
