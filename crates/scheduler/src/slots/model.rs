//! The accounts against a model that is told everything that is due as one list, and looks neither ahead nor at a budget.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    tests::{Schedule, at, name},
    *,
};
use crate::{
    document::{CatchupPolicy, Overlap},
    state::SlotState,
};

/// All that is said of a stretch of time.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    /// What became of every moment.
    slots: BTreeMap<Timestamp, SlotState>,
    /// The runs that are left, and where their intervals begin.
    runs: Vec<(Timestamp, Timestamp, bool)>,
    replaced: Vec<i64>,
    cancelled: Vec<i64>,
}

/// A run in the model.
#[derive(Clone, Copy, Debug)]
enum Run {
    Running(RunId),
    Waiting(RunId),
    Started(Timestamp),
    Buffered(Timestamp),
}

/// A stretch of time in which nothing was accounted for.
#[derive(Clone, Debug)]
struct Case {
    spec: Value,
    cursor: Timestamp,
    now: Timestamp,
    resumed: Option<Timestamp>,
    live: Live,
}

fn expected(case: &Case, schedule: &Schedule) -> Told {
    let moments = moments(schedule, case.cursor, case.now);
    let due: Vec<Timestamp> = moments.iter().filter(|it| it.due.is_some()).map(|it| it.at).collect();
    let mut told = Told::default();
    for moment in moments.iter().filter(|it| it.due.is_none()) {
        let gap = moment.passed_over.iter().all(|tick| tick.clock == crate::schedule::Clock::Gap);
        told.slots.insert(moment.at, if gap { SlotState::DstGap } else { SlotState::DstFold });
    }
    let catchup = schedule.spec.catchup;
    let is_late = |at: Timestamp| case.now.duration_since(at) >= GRACE || case.resumed.is_some_and(|it| at <= it);
    let is_in_window = |at: Timestamp| {
        let age = case.now.duration_since(at).as_nanos();
        catchup.window.is_none_or(|window| age <= i128::from(window.as_millis()) * 1_000_000)
    };
    let (late, on_time): (Vec<_>, Vec<_>) = due.iter().copied().partition(|at| is_late(*at));
    let caught: Vec<Timestamp> = late.iter().copied().filter(|at| is_in_window(*at)).collect();
    let others = if catchup.policy == CatchupPolicy::Coalesce { SlotState::Coalesced } else { SlotState::Skipped };
    told.slots.extend(late.iter().map(|at| (*at, SlotState::Skipped)));
    if catchup.policy != CatchupPolicy::None {
        told.slots.extend(caught.iter().map(|at| (*at, others)));
    }
    let begins = |at: Timestamp| match schedule.spec.interval {
        crate::document::Interval::None => at,
        crate::document::Interval::Previous => schedule.timetable.tick_before(at).unwrap(),
    };
    let wanted: Vec<(Timestamp, Timestamp)> = match (catchup.policy, caught.first(), caught.last()) {
        (CatchupPolicy::All, ..) => caught.iter().map(|at| (*at, begins(*at))).collect(),
        (CatchupPolicy::Last, _, Some(last)) if on_time.is_empty() => vec![(*last, begins(*last))],
        (CatchupPolicy::Coalesce, Some(first), Some(last)) => {
            let start = if begins(*last) == *last { *last } else { begins(*first) };
            vec![(*last, start)]
        }
        _ => vec![],
    };
    let wanted = wanted.into_iter().map(|(at, start)| (at, start, true));
    let runs: Vec<_> = wanted.chain(on_time.iter().map(|at| (*at, begins(*at), false))).collect();
    overlap(schedule.spec.overlap, &case.live, runs, &mut told);
    told
}

/// Lets the runs come one after the other, and each do to those before it what it does.
fn overlap(overlap: Overlap, live: &Live, runs: Vec<(Timestamp, Timestamp, bool)>, told: &mut Told) {
    let mut line: Vec<Run> = live.running.iter().map(|run| Run::Running(*run)).collect();
    line.extend(live.queued.iter().map(|queued| Run::Waiting(queued.run)));
    for (at, start, late) in runs {
        told.slots.insert(at, if late { SlotState::CaughtUp } else { SlotState::Fired });
        told.runs.push((at, start, late));
        let leaves = |run: &mut Run| match overlap {
            Overlap::BufferOne => matches!(run, Run::Waiting(_) | Run::Buffered(_)),
            Overlap::CancelOther => true,
            _ => false,
        };
        if overlap == Overlap::Skip && !line.is_empty() {
            told.slots.insert(at, SlotState::Suppressed);
            told.runs.pop();
            continue;
        }
        let mine = if line.is_empty() { Run::Started(at) } else { Run::Buffered(at) };
        for run in line.extract_if(.., leaves) {
            match run {
                Run::Running(run) => told.cancelled.push(run.0),
                Run::Waiting(run) => told.replaced.push(run.0),
                Run::Started(at) | Run::Buffered(at) => {
                    told.slots.insert(at, SlotState::Suppressed);
                    told.runs.retain(|run| run.0 != at);
                }
            }
        }
        line.push(mine);
    }
}

fn moments(schedule: &Schedule, cursor: Timestamp, now: Timestamp) -> Vec<Moment> {
    schedule.flow(Cursor::new(cursor)).moments_until(now).collect()
}

/// Asks until nothing is left, and holds what every account promises.
fn settle(case: &Case, schedule: &Schedule, budget: Budget) -> (Told, Cursor) {
    let (mut told, mut cursor, mut live) = (Told::default(), Cursor::new(case.cursor), case.live.clone());
    loop {
        let flow = Flow { resumed: case.resumed, ..schedule.flow(cursor) };
        let account = account(&flow, &live, case.now, budget);
        assert!(account.slots.len() <= budget.moments && account.runs.len() <= budget.runs);
        enter(&account, schedule, cursor, &mut told);
        for run in account.runs {
            let id = RunId(1_000 + told.runs.len() as i64);
            if live == Live::default() {
                live.running.push(id);
            } else {
                live.queued.push(Queued { run: id, at: run.at });
            }
            told.runs.push((run.at, run.interval.start, run.caught_up));
        }
        live.queued.retain(|queued| account.replaced.iter().all(|it| it.run != queued.run));
        told.replaced.extend(account.replaced.iter().map(|it| it.run.0));
        told.cancelled.extend(account.cancelled.iter().map(|it| it.0));
        assert!(account.next == Next::Now || account.cursor.coalescing.is_none());
        cursor = account.cursor;
        match account.next {
            Next::Now => {}
            Next::At(next) => {
                assert!(next > case.now.max(cursor.at) || case.now < case.cursor);
                break;
            }
            Next::Never => break,
        }
    }
    (told, cursor)
}

/// Every moment between the cursors is in one slot, and every tick of a moment is in its slot.
fn enter(account: &Account, schedule: &Schedule, cursor: Cursor, told: &mut Told) {
    let mut last = cursor.at;
    for slot in &account.slots {
        assert!(last < slot.at && slot.at <= slot.until, "{slot:?} after {last}");
        let inside = moments(schedule, last, slot.until);
        assert_eq!((inside.len(), inside[0].at), (slot.count as usize, slot.at), "{slot:?} after {last}");
        for moment in &inside {
            let mut ticks = slot.passed_over.clone();
            ticks.push(slot.tick);
            let mut all = moment.passed_over.clone();
            all.extend(moment.due);
            ticks.sort_by_key(|tick| tick.civil);
            all.sort_by_key(|tick| tick.civil);
            assert!(ticks == all || (inside.len() > 1 && all.len() == 1), "{slot:?}: {all:?}");
            assert_eq!(slot.is_due(), moment.due.is_some(), "{slot:?}");
            assert!(told.slots.insert(moment.at, slot.state).is_none(), "{slot:?}");
        }
        last = slot.until;
    }
    assert_eq!(last, account.cursor.at);
    for run in &account.runs {
        let slot = account.slots.iter().find(|slot| slot.at == run.at).unwrap();
        let state = if run.caught_up { SlotState::CaughtUp } else { SlotState::Fired };
        assert_eq!((slot.state, slot.runs_at()), (state, Some(run.at)));
        let empty = schedule.spec.interval == crate::document::Interval::None;
        assert!(if empty { run.interval.start == run.at } else { run.interval.start < run.at });
        assert_eq!((run.interval.end, run.logical_at), (run.at, run.interval.start));
    }
    let with_runs = account.slots.iter().filter(|slot| slot.runs_at() == Some(slot.at)).count();
    assert_eq!(with_runs, account.runs.len());
}

fn check(case: &Case, budget: Budget) {
    let schedule = Schedule::new(case.spec.clone());
    let (mut told, cursor) = settle(case, &schedule, budget);
    let expected = expected(case, &schedule);
    for (at, state) in &expected.slots {
        let told = told.slots.get(at).map(|state| name(*state));
        assert_eq!(told, Some(name(*state)), "{at} of {case:?} with {budget:?}");
    }
    assert_eq!(told, expected, "{case:?} with {budget:?}");
    assert_eq!(cursor.at, told.slots.pop_last().map_or(case.cursor, |(at, _)| at), "{case:?}");
}

const POLICIES: [&str; 4] = ["none", "last", "all", "coalesce"];
const OVERLAPS: [&str; 5] = ["skip", "buffer-one", "buffer-all", "cancel-other", "allow"];

fn lives() -> Vec<Live> {
    let queued = |run| Queued { run: RunId(run), at: at("2026-11-21T00:00:00Z") };
    vec![
        Live::default(),
        Live { running: vec![RunId(1)], queued: vec![] },
        Live { running: vec![], queued: vec![queued(2)] },
        Live { running: vec![RunId(1)], queued: vec![queued(2), queued(3)] },
    ]
}

#[test]
fn small_cases_of_every_policy_and_overlap_go_as_the_model_says() {
    let mut cases = 0;
    for (policy, overlap) in POLICIES.into_iter().flat_map(|policy| OVERLAPS.map(|overlap| (policy, overlap))) {
        for (live, window, missed) in lives().into_iter().flat_map(|live| {
            let sizes = |window| (0..=4).map(move |missed| (window, missed));
            [None, Some("25s"), Some("50s")]
                .into_iter()
                .flat_map(sizes)
                .map(move |(w, m)| (live.clone(), w, m))
                .collect::<Vec<_>>()
        }) {
            // Every ten seconds: three on time at once.
            let catchup = json!({"policy": policy, "window": window});
            let spec = json!({"every": "10s", "overlap": overlap, "catchup": catchup});
            let cursor = at("2026-11-21T10:00:00Z");
            for on_time in 0..=3 {
                let now = cursor + SignedDuration::from_secs(10 * (missed + on_time));
                for resumed in [None, Some(cursor + SignedDuration::from_secs(10 * missed))] {
                    let case = Case { spec: spec.clone(), cursor, now, resumed, live: live.clone() };
                    for moments in [1, 2, 100] {
                        check(&case, Budget { moments, runs: moments });
                    }
                    cases += 1;
                }
            }
        }
    }
    assert_eq!(cases, 4 * 5 * 4 * 3 * 5 * 4 * 2);
}

/// Schedules, with an instant near which something happens to their clocks.
fn schedules() -> impl Strategy<Value = (Value, Timestamp)> {
    let cron = |cron: &str, zone: &str, dst: Value| json!({"cron": cron, "timezone": zone, "dst": dst});
    let ny = "America/New_York";
    prop_oneof![
        Just((json!({"every": "7s"}), at("2026-11-21T00:00:00Z"))),
        Just((json!({"every": "61s", "start": "2026-11-21T00:00:30"}), at("2026-11-21T00:00:00Z"))),
        Just((json!({"cron": "* * * * *", "end": "2026-11-21T00:40:00"}), at("2026-11-21T00:00:00Z"))),
        Just((cron("*/15 * * * *", ny, json!({})), at("2026-03-08T07:00:00Z"))),
        Just((cron("*/15 * * * *", ny, json!({"gap": "run-after", "fold": "first"})), at("2026-03-08T07:00:00Z"))),
        Just((cron("*/15 * * * *", ny, json!({"gap": "run-after", "fold": "first"})), at("2026-11-01T06:00:00Z"))),
        Just((cron("10,40 1 * * *", ny, json!({"fold": "second"})), at("2026-11-01T06:00:00Z"))),
        Just((cron("30 2 * * *", "Europe/Berlin", json!({})), at("2026-03-29T01:00:00Z"))),
        Just((cron("30 2 * * *", "Europe/Berlin", json!({"gap": "skip"})), at("2026-03-29T01:00:00Z"))),
        Just((cron("*/10 1,2 * * *", "Australia/Lord_Howe", json!({})), at("2026-10-03T15:30:00Z"))),
        Just((cron("*/10 1,2 * * *", "Australia/Lord_Howe", json!({"fold": "first"})), at("2026-04-04T15:00:00Z"))),
        Just((cron("0 * * * *", "Asia/Tehran", json!({"gap": "run-after"})), at("2021-03-21T20:30:00Z"))),
    ]
}

/// A length of time, short ones as often as long ones.
fn lengths() -> impl Strategy<Value = SignedDuration> {
    prop_oneof![0..120_i64, 0..7_200_i64, 0..172_800_i64, 0..604_800_i64].prop_map(SignedDuration::from_secs)
}

fn cases() -> impl Strategy<Value = Case> {
    let catchup =
        (prop::sample::select(POLICIES.to_vec()), prop::option::of(0..100_000_u32), prop::option::of(1..4_u32));
    let runs = (prop::sample::select(OVERLAPS.to_vec()), prop::sample::select(vec!["previous", "none"]));
    let times = (lengths(), lengths(), prop::option::of(lengths()), 0..1_000_000_000_i64);
    (schedules(), catchup, runs, times, prop::sample::select(lives())).prop_map(
        |((mut spec, near), (policy, window, most), (overlap, interval), (before, after, resumed, nanos), live)| {
            let window = window.map(|window| format!("{window}s"));
            spec["catchup"] = json!({"policy": policy, "window": window, "maxParallel": most});
            spec["overlap"] = json!(overlap);
            spec["interval"] = json!(interval);
            let cursor = near - before;
            // Moments are a second apart at least: seven seconds over a week would be many.
            let after = if spec["every"].is_null() { after } else { after.min(SignedDuration::from_hours(2)) };
            let now = cursor + after + SignedDuration::from_nanos(nanos);
            let resumed = resumed.map(|resumed| now - resumed);
            Case { spec, cursor, now, resumed, live }
        },
    )
}

/// What is said of two stretches that follow each other, where nothing begins or ends in between.
fn in_two(schedule: &Schedule, case: &Case, middle: Timestamp) -> BTreeMap<Timestamp, SlotState> {
    let (mut told, mut cursor, mut live) = (Told::default(), Cursor::new(case.cursor), Live::default());
    for now in [middle, case.now] {
        let account = account(&schedule.flow(cursor), &live, now, Budget::default());
        enter(&account, schedule, cursor, &mut told);
        told.slots.extend(account.replaced.iter().map(|replaced| (replaced.at, SlotState::Suppressed)));
        live.queued.retain(|queued| account.replaced.iter().all(|it| it.run != queued.run));
        for run in account.runs {
            let id = RunId(run.at.as_second());
            if live.running.is_empty() {
                live.running.push(id);
            } else {
                live.queued.push(Queued { run: id, at: run.at });
            }
        }
        cursor = account.cursor;
    }
    told.slots
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn any_case_goes_as_the_model_says((case, moments, runs) in (cases(), 1..40_usize, 1..10_usize)) {
        check(&case, Budget { moments, runs });
    }

    #[test]
    fn on_time_it_is_the_same_whenever_it_is_looked_at(
        (overlap, policy) in (prop::sample::select(OVERLAPS[..3].to_vec()), prop::sample::select(POLICIES.to_vec())),
        (start, middle, end) in (0..10_000_i64, 0..29_999_i64, 0..29_999_i64),
    ) {
        let spec = json!({"every": "2s", "overlap": overlap, "catchup": {"policy": policy}});
        let cursor = at("2026-11-21T00:00:00Z") + SignedDuration::from_millis(start);
        let (middle, end) = (middle.min(end), middle.max(end));
        let case = Case {
            spec: spec.clone(), cursor, now: cursor + SignedDuration::from_millis(end), resumed: None, live: Live::default(),
        };
        let schedule = Schedule::new(spec);
        let at_once = in_two(&schedule, &case, case.cursor);
        prop_assert_eq!(in_two(&schedule, &case, case.cursor + SignedDuration::from_millis(middle)), at_once);
    }

    #[test]
    fn intervals_of_all_that_runs_tile((mut case, runs) in (cases(), 1..10_usize)) {
        case.spec["catchup"] = json!({"policy": "all"});
        (case.spec["overlap"], case.spec["interval"]) = (json!("allow"), json!("previous"));
        let schedule = Schedule::new(case.spec.clone());
        let (told, _) = settle(&case, &schedule, Budget { moments: 100, runs });
        for pair in told.runs.windows(2) {
            prop_assert_eq!(pair[0].0, pair[1].1);
        }
        let due = moments(&schedule, case.cursor, case.now).into_iter().filter(|it| it.due.is_some()).count();
        prop_assert_eq!(told.runs.len(), due);
        if let Some((first, start, _)) = told.runs.first() {
            prop_assert_eq!(schedule.timetable.tick_before(*first), Some(*start));
        }
    }

    #[test]
    fn a_clock_that_goes_back_and_forth_changes_only_what_is_late(
        (case, steps) in (cases(), prop::collection::vec(-7_200..14_400_i64, 1..20)),
    ) {
        let schedule = Schedule::new(case.spec.clone());
        let (mut told, mut cursor, mut now) = (Told::default(), Cursor::new(case.cursor), case.cursor);
        let mut latest = now;
        let budget = Budget { moments: 1_000_000, runs: 1_000_000 };
        for step in steps {
            now += SignedDuration::from_secs(step);
            latest = latest.max(now);
            let account = account(&schedule.flow(cursor), &Live::default(), now, budget);
            enter(&account, &schedule, cursor, &mut told);
            prop_assert!(account.slots.is_empty() || now == latest);
            prop_assert!(account.cursor.at >= cursor.at);
            cursor = account.cursor;
        }
        let all: Vec<Timestamp> = moments(&schedule, case.cursor, latest).iter().map(|it| it.at).collect();
        prop_assert_eq!(told.slots.into_keys().collect::<Vec<_>>(), all);
    }
}
