//! What becomes of moments, written down.

mod budget;
mod dst;
mod overlap;

use serde_json::{Value, json};

use super::*;
use crate::{document::Catchup, document::ScheduleSpec, schedule::Timetable, state::SlotState};

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) struct Schedule {
    pub(super) spec: ScheduleSpec,
    pub(super) timetable: Timetable,
}

impl Schedule {
    pub(super) fn new(spec: Value) -> Self {
        let spec: ScheduleSpec = serde_json::from_value(spec).unwrap();
        let timetable = Timetable::new(&spec, at("2000-01-01T00:00:00Z")).unwrap();
        Self { spec, timetable }
    }

    /// Every hour, with a catch-up.
    fn hourly(catchup: &Value) -> Self {
        Self::new(json!({"cron": "@hourly", "catchup": catchup}))
    }

    pub(super) fn flow(&self, cursor: Cursor) -> Flow<'_> {
        Flow { timetable: &self.timetable, spec: &self.spec, cursor, resumed: None }
    }

    fn account(&self, cursor: &str, now: &str) -> Account {
        account(&self.flow(Cursor::new(at(cursor))), &Live::default(), at(now), Budget::default())
    }
}

pub(super) fn name(state: SlotState) -> &'static str {
    match state {
        SlotState::Fired => "fired",
        SlotState::CaughtUp => "caught up",
        SlotState::Coalesced => "coalesced",
        SlotState::Skipped => "skipped",
        SlotState::Suppressed => "suppressed",
        SlotState::DstGap => "gap",
        SlotState::DstFold => "fold",
    }
}

/// `09:00 fired`, `09:00-11:00 3 skipped`.
pub(super) fn slots(account: &Account) -> Vec<String> {
    let time = |at: Timestamp| at.strftime("%H:%M").to_string();
    let slot = |slot: &Slot| match slot.count {
        1 => format!("{} {}", time(slot.at), name(slot.state)),
        count => format!("{}-{} {count} {}", time(slot.at), time(slot.until), name(slot.state)),
    };
    account.slots.iter().map(slot).collect()
}

/// `09:00 of 08:00`: the slot, and the beginning of the interval.
fn runs(account: &Account) -> Vec<String> {
    let run = |run: &Run| {
        assert_eq!((run.interval.end, run.interval.start), (run.at, run.logical_at));
        format!("{} of {}", run.at.strftime("%H:%M"), run.interval.start.strftime("%H:%M"))
    };
    account.runs.iter().map(run).collect()
}

fn explanations(account: &Account) -> Vec<String> {
    account.slots.iter().filter_map(Slot::explanation).collect()
}

#[test]
fn on_time_every_moment_fires_once() {
    let hourly = Schedule::hourly(&json!({"policy": "none"}));
    let account = hourly.account("2026-11-21T08:00:00Z", "2026-11-21T09:00:00.020Z");
    assert_eq!((slots(&account), runs(&account)), (vec!["09:00 fired".to_owned()], vec!["09:00 of 08:00".to_owned()]));
    assert_eq!(account.cursor, Cursor::new(at("2026-11-21T09:00:00Z")));
    assert_eq!(account.next, Next::At(at("2026-11-21T10:00:00Z")));
    assert_eq!((account.runs[0].gate, account.runs[0].caught_up), (Gate::Open, false));

    let again = hourly.account("2026-11-21T09:00:00Z", "2026-11-21T09:00:00.040Z");
    assert_eq!((again.slots.len(), again.runs.len(), again.cursor), (0, 0, account.cursor));
    assert_eq!(again.next, account.next);
}

#[test]
fn missed_moments_go_by_the_policy() {
    let golden: [(&str, &[&str], &[&str]); 4] = [
        ("none", &["09:00-12:00 4 skipped"], &[]),
        ("last", &["09:00-11:00 3 skipped", "12:00 caught up"], &["12:00 of 11:00"]),
        (
            "all",
            &["09:00 caught up", "10:00 caught up", "11:00 caught up", "12:00 caught up"],
            &["09:00 of 08:00", "10:00 of 09:00", "11:00 of 10:00", "12:00 of 11:00"],
        ),
        ("coalesce", &["09:00-11:00 3 coalesced", "12:00 caught up"], &["12:00 of 08:00"]),
    ];
    for (policy, expected, expected_runs) in golden {
        let account =
            Schedule::hourly(&json!({"policy": policy})).account("2026-11-21T08:00:00Z", "2026-11-21T12:20:00Z");
        assert_eq!((slots(&account), runs(&account)), (owned(expected), owned(expected_runs)), "{policy}");
        assert!(account.runs.iter().all(|run| run.caught_up), "{policy}");
    }
}

/// The last of all that are due is the one that is on time; what is coalesced is what was missed.
#[test]
fn a_moment_on_time_fires_whatever_was_missed() {
    let golden: [(&str, &[&str], &[&str]); 4] = [
        ("none", &["09:00-11:00 3 skipped", "12:00 fired"], &["12:00 of 11:00"]),
        ("last", &["09:00-11:00 3 skipped", "12:00 fired"], &["12:00 of 11:00"]),
        (
            "all",
            &["09:00 caught up", "10:00 caught up", "11:00 caught up", "12:00 fired"],
            &["09:00 of 08:00", "10:00 of 09:00", "11:00 of 10:00", "12:00 of 11:00"],
        ),
        (
            "coalesce",
            &["09:00-10:00 2 coalesced", "11:00 caught up", "12:00 fired"],
            &["11:00 of 08:00", "12:00 of 11:00"],
        ),
    ];
    for (policy, expected, expected_runs) in golden {
        let account =
            Schedule::hourly(&json!({"policy": policy})).account("2026-11-21T08:00:00Z", "2026-11-21T12:00:05Z");
        assert_eq!((slots(&account), runs(&account)), (owned(expected), owned(expected_runs)), "{policy}");
    }
}

#[test]
fn a_single_missed_moment_is_caught_up_by_every_policy_but_none() {
    for policy in ["last", "all", "coalesce"] {
        let account =
            Schedule::hourly(&json!({"policy": policy})).account("2026-11-21T08:00:00Z", "2026-11-21T09:40:00Z");
        assert_eq!((slots(&account), runs(&account)), (owned(&["09:00 caught up"]), owned(&["09:00 of 08:00"])));
    }
}

#[test]
fn a_restart_of_seconds_misses_nothing() {
    let hourly = Schedule::hourly(&json!({"policy": "none"}));
    let after = |now| slots(&hourly.account("2026-11-21T08:00:00Z", now));
    assert_eq!(after("2026-11-21T08:59:59.999Z"), owned(&[]));
    assert_eq!(after("2026-11-21T09:00:00Z"), ["09:00 fired"]);
    assert_eq!(after("2026-11-21T09:00:29.999Z"), ["09:00 fired"]);
    assert_eq!(after("2026-11-21T09:00:30Z"), ["09:00 skipped"]);
}

#[test]
fn what_came_due_during_a_pause_was_missed_however_short_ago() {
    for (policy, expected) in [("none", "09:00 skipped"), ("last", "09:00 caught up")] {
        let hourly = Schedule::hourly(&json!({"policy": policy}));
        let mut flow = hourly.flow(Cursor::new(at("2026-11-21T08:00:00Z")));
        flow.resumed = Some(at("2026-11-21T09:00:03Z"));
        let resumed = account(&flow, &Live::default(), at("2026-11-21T09:00:04Z"), Budget::default());
        assert_eq!(slots(&resumed), [expected]);
        // It says nothing about what comes after.
        flow.cursor = resumed.cursor;
        let next = account(&flow, &Live::default(), at("2026-11-21T10:00:00Z"), Budget::default());
        assert_eq!(slots(&next), ["10:00 fired"]);
    }
}

#[test]
fn what_is_older_than_the_window_is_skipped_and_said_to_be() {
    let golden: [(&str, &[&str], &[&str]); 4] = [
        ("none", &["09:00-12:00 4 skipped"], &[]),
        ("last", &["09:00 skipped", "10:00-11:00 2 skipped", "12:00 caught up"], &["12:00 of 11:00"]),
        (
            "all",
            &["09:00 skipped", "10:00 caught up", "11:00 caught up", "12:00 caught up"],
            &["10:00 of 09:00", "11:00 of 10:00", "12:00 of 11:00"],
        ),
        ("coalesce", &["09:00 skipped", "10:00-11:00 2 coalesced", "12:00 caught up"], &["12:00 of 09:00"]),
    ];
    for (policy, expected, expected_runs) in golden {
        let hourly = Schedule::hourly(&json!({"policy": policy, "window": "150m"}));
        // 10:00 is just in it.
        let account = hourly.account("2026-11-21T08:00:00Z", "2026-11-21T12:30:00Z");
        assert_eq!((slots(&account), runs(&account)), (owned(expected), owned(expected_runs)), "{policy}");
        if policy != "none" {
            assert_eq!(explanations(&account)[0], "missed more than 150m ago: the catch-up's window");
        }
    }
    let hourly = Schedule::hourly(&json!({"policy": "last", "window": "10m"}));
    let account = hourly.account("2026-11-21T08:00:00Z", "2026-11-21T12:30:00Z");
    assert_eq!((slots(&account), account.runs.len()), (owned(&["09:00-12:00 4 skipped"]), 0));
}

#[test]
fn a_slot_without_a_run_says_why() {
    let said = |policy| {
        let hourly = Schedule::hourly(&json!({"policy": policy}));
        explanations(&hourly.account("2026-11-21T08:00:00Z", "2026-11-21T12:20:00Z"))
    };
    assert_eq!(said("none"), ["missed, and there is no catch-up"]);
    assert_eq!(said("last"), ["missed, and only the last one is caught up"]);
    assert_eq!(said("coalesce"), ["missed, and coalesced into slot 2026-11-21T12:00:00Z"]);
    assert_eq!(said("all"), owned(&[]));
}

#[test]
fn an_interval_is_the_one_between_two_ticks_or_the_moment_itself() {
    let spec = json!({"cron": "0 6,18 * * *", "start": "2026-11-21T00:00:00", "catchup": {"policy": "all"}});
    let first = Schedule::new(spec.clone()).account("2026-11-20T00:00:00Z", "2026-11-21T20:00:00Z");
    // The tick before the first is none of the schedule's moments, but it is one of the pattern's.
    assert_eq!(runs(&first), ["06:00 of 18:00", "18:00 of 06:00"]);
    let mut spec = spec;
    spec["interval"] = json!("none");
    for policy in ["all", "coalesce"] {
        spec["catchup"] = json!({"policy": policy});
        let account = Schedule::new(spec.clone()).account("2026-11-20T00:00:00Z", "2026-11-21T20:00:00Z");
        assert_eq!(runs(&account).last().unwrap(), "18:00 of 18:00", "{policy}");
    }
}

#[test]
fn caught_up_runs_are_few_at_once_and_in_the_order_that_was_asked_for() {
    let ranked = |catchup: Value| {
        let hourly = Schedule::hourly(&catchup);
        let mut runs = hourly.account("2026-11-21T08:00:00Z", "2026-11-21T12:00:05Z").runs;
        assert!(runs.is_sorted_by_key(|run| run.at));
        runs.sort_by_key(|run| run.rank);
        runs.iter().map(|run| (run.at.strftime("%H").to_string(), run.gate)).collect::<Vec<_>>()
    };
    let of = |hour: &str, gate| (hour.to_owned(), gate);
    assert_eq!(
        ranked(json!({"policy": "all", "maxParallel": 2})),
        [of("09", Gate::Fewer(2)), of("10", Gate::Fewer(2)), of("11", Gate::Fewer(2)), of("12", Gate::Open)]
    );
    // Of those that come newest first, the one that is on time is the newest.
    assert_eq!(
        ranked(json!({"policy": "all", "order": "newest-first"})),
        [of("12", Gate::Open), of("11", Gate::Open), of("10", Gate::Open), of("09", Gate::Open)]
    );
    // And of several that are on time the oldest comes first, whatever is caught up how.
    let spec = json!({"every": "10s", "catchup": {"policy": "all", "order": "newest-first"}});
    let mut runs = Schedule::new(spec).account("2026-11-21T08:00:00Z", "2026-11-21T08:00:50Z").runs;
    runs.sort_by_key(|run| run.rank);
    let order = runs.iter().map(|run| run.at.strftime("%S").to_string()).collect::<Vec<_>>();
    assert_eq!(order, ["30", "40", "50", "20", "10"]);
}

#[test]
fn a_schedule_is_over_when_it_has_ended() {
    let spec = json!({"cron": "@hourly", "end": "2026-11-21T10:00:00", "catchup": {"policy": "all"}});
    let account = Schedule::new(spec).account("2026-11-21T07:00:00Z", "2026-11-22T00:00:00Z");
    assert_eq!(slots(&account), ["08:00 caught up", "09:00 caught up"]);
    assert_eq!((account.next, account.cursor.at), (Next::Never, at("2026-11-21T09:00:00Z")));
}

#[test]
fn a_clock_that_was_set_back_fires_nothing_twice() {
    let hourly = Schedule::hourly(&json!({"policy": "all"}));
    let forward = hourly.account("2026-11-21T08:00:00Z", "2026-11-21T11:10:00Z");
    assert_eq!(slots(&forward).len(), 3);
    let mut cursor = forward.cursor;
    for now in ["2026-11-21T09:00:00Z", "2001-01-01T00:00:00Z", "2026-11-21T11:00:00Z", "2026-11-21T11:59:59Z"] {
        let back = account(&hourly.flow(cursor), &Live::default(), at(now), Budget::default());
        assert_eq!((back.slots.len(), back.runs.len(), back.cursor), (0, 0, cursor), "{now}");
        assert_eq!(back.next, Next::At(at("2026-11-21T12:00:00Z")), "{now}");
        cursor = back.cursor;
    }
    let on = account(&hourly.flow(cursor), &Live::default(), at("2026-11-21T12:00:00Z"), Budget::default());
    assert_eq!(slots(&on), ["12:00 fired"]);
}

#[test]
fn a_new_flow_has_of_the_past_what_its_catchup_runs() {
    let first = |start: Option<&str>, catchup: Value| {
        let schedule = Schedule::new(json!({"cron": "@daily", "start": start, "catchup": catchup}));
        let catchup: Catchup = schedule.spec.catchup;
        let now = at("2026-11-21T12:00:00.000000001Z");
        let cursor = Cursor::first(&schedule.timetable, &catchup, now);
        let account = account(&schedule.flow(cursor), &Live::default(), now, Budget::default());
        account.slots.iter().map(|slot| format!("{} {} {}", slot.at, slot.count, name(slot.state))).collect::<Vec<_>>()
    };
    let past = Some("2026-11-19T00:00:00");
    assert_eq!(first(past, json!({"policy": "none"})), owned(&[]));
    assert_eq!(first(past, json!({"policy": "last"})), ["2026-11-21T00:00:00Z 1 caught up"]);
    assert_eq!(first(past, json!({"policy": "all"})).first().unwrap(), "2026-11-19T00:00:00Z 1 caught up");
    assert_eq!(first(past, json!({"policy": "all"})).len(), 3);
    assert_eq!(first(past, json!({"policy": "all", "window": "36h"})).len(), 2);
    assert_eq!(first(past, json!({"policy": "coalesce"})).first().unwrap(), "2026-11-19T00:00:00Z 2 coalesced");
    for policy in ["none", "last", "all", "coalesce"] {
        assert_eq!(first(None, json!({"policy": policy})), owned(&[]), "{policy}");
        assert_eq!(first(Some("2026-12-01T00:00:00"), json!({"policy": policy})), owned(&[]), "{policy}");
    }
}

#[test]
fn a_key_names_the_moment_at_which_its_run_is_due() {
    assert_eq!(key(RunKind::Scheduled, at("2026-11-21T10:00:00Z")), "scheduled__2026-11-21T10:00:00Z");
    assert_eq!(key(RunKind::Backfill, at("2026-11-21T10:00:00.5+01:00")), "backfill__2026-11-21T09:00:00.5Z");
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
