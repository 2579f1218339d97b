//! What becomes of the run of a slot whose predecessors have not ended.

use super::*;

const CURSOR: &str = "2026-11-21T08:00:00Z";

fn queued(run: i64, slot: &str) -> Queued {
    Queued { run: RunId(run), at: at(slot) }
}

fn live(running: &[i64], queue: &[i64]) -> Live {
    let waiting = |run: &i64| queued(*run, CURSOR);
    Live { running: running.iter().copied().map(RunId).collect(), queued: queue.iter().map(waiting).collect() }
}

fn with(overlap: &str, live: &Live, now: &str) -> Account {
    let hourly = Schedule::new(json!({"cron": "@hourly", "overlap": overlap, "catchup": {"policy": "all"}}));
    account(&hourly.flow(Cursor::new(at(CURSOR))), live, at(now), Budget::default())
}

/// What is dropped and what is told to end.
fn ended(account: &Account) -> (Vec<i64>, Vec<i64>) {
    let dropped = account.replaced.iter().map(|replaced| replaced.run.0).collect();
    (dropped, account.cancelled.iter().map(|run| run.0).collect())
}

#[test]
fn one_slot_by_what_is_in_its_way() {
    let (idle, running, waiting, both) = (live(&[], &[]), live(&[1], &[]), live(&[], &[2]), live(&[1], &[2, 3]));
    let nothing = || (vec![], vec![]);
    for (overlap, live, state, expected) in [
        ("allow", &both, "fired", nothing()),
        ("skip", &idle, "fired", nothing()),
        ("skip", &running, "suppressed", nothing()),
        ("skip", &waiting, "suppressed", nothing()),
        ("skip", &both, "suppressed", nothing()),
        ("buffer-one", &idle, "fired", nothing()),
        ("buffer-one", &running, "fired", nothing()),
        ("buffer-one", &waiting, "fired", (vec![2], vec![])),
        ("buffer-one", &both, "fired", (vec![2, 3], vec![])),
        ("buffer-all", &idle, "fired", nothing()),
        ("buffer-all", &both, "fired", nothing()),
        ("cancel-other", &idle, "fired", nothing()),
        ("cancel-other", &running, "fired", (vec![], vec![1])),
        ("cancel-other", &waiting, "fired", (vec![2], vec![])),
        ("cancel-other", &both, "fired", (vec![2, 3], vec![1])),
    ] {
        let account = with(overlap, live, "2026-11-21T09:00:00Z");
        assert_eq!(slots(&account), [format!("09:00 {state}")], "{overlap} {live:?}");
        assert_eq!(ended(&account), expected, "{overlap} {live:?}");
        let gate = if overlap == "allow" { Gate::Open } else { Gate::Alone };
        assert!(account.runs.iter().all(|run| run.gate == gate), "{overlap} {live:?}");
        assert_eq!(account.runs.len(), usize::from(state == "fired"), "{overlap} {live:?}");
    }
}

#[test]
fn what_is_due_at_the_same_time_is_in_each_others_way() {
    let golden: [(&str, &[i64], &[&str]); 7] = [
        ("allow", &[1], &["09:00 caught up", "10:00 caught up", "11:00 caught up", "12:00 fired"]),
        ("buffer-all", &[1], &["09:00 caught up", "10:00 caught up", "11:00 caught up", "12:00 fired"]),
        ("skip", &[], &["09:00 caught up", "10:00-12:00 3 suppressed"]),
        ("skip", &[1], &["09:00-12:00 4 suppressed"]),
        ("buffer-one", &[], &["09:00 caught up", "10:00-11:00 2 suppressed", "12:00 fired"]),
        ("buffer-one", &[1], &["09:00-11:00 3 suppressed", "12:00 fired"]),
        ("cancel-other", &[], &["09:00-11:00 3 suppressed", "12:00 fired"]),
    ];
    for (overlap, running, expected) in golden {
        let account = with(overlap, &live(running, &[]), "2026-11-21T12:00:00Z");
        assert_eq!(slots(&account), owned(expected), "{overlap}");
    }
}

#[test]
fn what_is_in_the_way_is_named() {
    let said = |overlap, live: &Live| explanations(&with(overlap, live, "2026-11-21T10:00:00Z"));
    assert_eq!(said("skip", &live(&[17, 18], &[])), ["run 17 had not ended"]);
    assert_eq!(said("skip", &live(&[], &[19])), ["run 19 had not ended"]);
    assert_eq!(said("skip", &live(&[], &[])), ["run scheduled__2026-11-21T09:00:00Z had not ended"]);
    let replaced = "replaced by run scheduled__2026-11-21T10:00:00Z before it began";
    assert_eq!(said("cancel-other", &live(&[], &[])), [replaced]);
    let account = with("buffer-one", &live(&[17], &[18]), "2026-11-21T10:00:00Z");
    assert_eq!(account.replaced.iter().map(|it| it.reason.to_string()).collect::<Vec<_>>(), [replaced]);
    assert_eq!(explanations(&account), [replaced]);
}

/// Those that were coalesced say into which slot, and that one says that it was suppressed: their work is not done.
#[test]
fn what_was_coalesced_is_suppressed_with_its_run() {
    let spec = json!({"cron": "@hourly", "overlap": "skip", "catchup": {"policy": "coalesce"}});
    let hourly = Schedule::new(spec);
    let flow = hourly.flow(Cursor::new(at(CURSOR)));
    let account = account(&flow, &live(&[1], &[]), at("2026-11-21T11:20:00Z"), Budget::default());
    assert_eq!(slots(&account), ["09:00-10:00 2 coalesced", "11:00 suppressed"]);
    assert_eq!(account.slots.iter().map(Slot::runs_at).collect::<Vec<_>>(), [Some(at("2026-11-21T11:00:00Z")), None]);
    assert_eq!((account.runs.len(), account.cursor.coalescing), (0, None));
}

/// The last slot is skipped: it is not for its sake that an earlier one is suppressed.
#[test]
fn nothing_makes_room_for_a_slot_that_does_not_run() {
    let spec = json!({"cron": "@hourly", "overlap": "cancel-other", "catchup": {"policy": "none"}});
    let hourly = Schedule::new(spec);
    let since = at(CURSOR);
    // The schedule was coalescing when its document was changed.
    let into = at("2026-11-21T10:00:00Z");
    let cursor = Cursor { at: at("2026-11-21T09:00:00Z"), coalescing: Some(Coalescing { since, into }) };
    let at = |now| account(&hourly.flow(cursor), &live(&[1], &[]), at(now), Budget::default());
    let account = at("2026-11-21T12:20:00Z");
    assert_eq!(slots(&account), ["10:00 caught up", "11:00-12:00 2 skipped"]);
    assert_eq!((runs(&account), ended(&account)), (owned(&["10:00 of 08:00"]), (vec![], vec![1])));
    // One that does run is another matter; its interval is not stretched by those that were skipped.
    let account = at("2026-11-21T13:00:00Z");
    assert_eq!(slots(&account), ["10:00 suppressed", "11:00-12:00 2 skipped", "13:00 fired"]);
    assert_eq!((runs(&account), ended(&account)), (owned(&["13:00 of 12:00"]), (vec![], vec![1])));
}
