//! What becomes of schedules, in Postgres: every moment has its slot, whoever looks at it, and however often.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use millrace_scheduler::{
    document::Order,
    plan::Plan,
    state::{RunState, SlotState},
    store::{Backfill, Flow, FlowId, InstanceId, Outcome, Report, RunQuery, Store},
};

use crate::world::{World, plan};

const TASK: &str = "    a: {noop: {}}\n";

fn scheduled(name: &str, schedule: &str) -> Arc<Plan> {
    plan(name, &format!("{TASK}  schedule: {schedule}\n"))
}

impl World {
    /// As if the scheduler had looked at a flow for the last time so long ago.
    async fn away_for(&self, flow: FlowId, seconds: i64) {
        let sql =
            "UPDATE scheduler.flow SET cursor_at = now() - make_interval(secs => $2), next_at = now() WHERE id = $1";
        self.database.pool.get().await.unwrap().execute(sql, &[&flow.0, &(seconds as f64)]).await.unwrap();
    }

    /// Looks until nothing is left to look at now.
    async fn fire(&self) {
        while self.store.fire().await.unwrap().flows > 0 {}
    }

    async fn states(&self, flow: FlowId) -> Vec<(SlotState, i64)> {
        let slots = self.store.slots(flow, None, None, 10_000).await.unwrap();
        slots.iter().rev().map(|slot| (slot.state.unwrap(), slot.count)).collect()
    }
}

#[tokio::test]
async fn a_new_schedule_has_missed_nothing_and_its_next_moment_is_known() {
    let world = World::new().await;
    let flow = world.store.save_plan(&scheduled("new", "{cron: '0 0 1 1 *', catchup: {policy: all}}")).await.unwrap();
    world.fire().await;
    assert_eq!(world.states(flow).await, []);
    let row = world.store.flow("new", "").await.unwrap().unwrap();
    assert!(row.due_at.unwrap() > Timestamp::now());
    assert_eq!(world.store.fire().await.unwrap().flows, 0, "not before then");
    world.database.remove().await.unwrap();
}

#[tokio::test]
async fn missed_moments_go_by_the_policy_and_each_has_its_slot() {
    let world = World::new().await;
    for (policy, runs) in [("none", 0), ("last", 1), ("all", 5), ("coalesce", 1)] {
        let text = format!("{{every: 1h, catchup: {{policy: {policy}}}, overlap: allow}}");
        let flow = world.store.save_plan(&scheduled(policy, &text)).await.unwrap();
        // An hour that has just begun would be on time.
        let since_the_hour = Timestamp::now().as_second() % 3_600;
        let away = 5 * 3_600 - if since_the_hour < 60 { 120 } else { 0 };
        world.away_for(flow, away).await;
        world.fire().await;
        let slots = world.states(flow).await;
        let all: i64 = slots.iter().map(|(_, count)| count).sum();
        let query = RunQuery { flows: Some(vec![flow]), limit: 100, ..RunQuery::default() };
        let made = world.store.runs(&query).await.unwrap();
        let expected = if since_the_hour < 60 && runs == 5 { 4 } else { runs };
        assert_eq!(made.len(), expected, "{policy}: {slots:?}");
        assert!((4..=5).contains(&all), "{policy}: {slots:?}");
        if policy == "coalesce" {
            let length = made[0].interval_end.unwrap().duration_since(made[0].interval_start.unwrap());
            assert!(length >= SignedDuration::from_hours(4), "one interval for all of them: {length}");
        }
        let intervals: BTreeSet<_> = made.iter().map(|run| (run.interval_start, run.interval_end)).collect();
        assert_eq!(intervals.len(), made.len());
    }
    world.database.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_look_at_once_make_each_run_once() {
    let world = World::new().await;
    let mut flows = Vec::new();
    for number in 0..40 {
        let plan = scheduled(&format!("dag-{number}"), "{every: 1m, catchup: {policy: all}, overlap: allow}");
        let flow = world.store.save_plan(&plan).await.unwrap();
        world.away_for(flow, 30 * 60).await;
        flows.push(flow);
    }
    let replicas: Vec<Store> = (0..4).map(|_| world.other_replica()).collect();
    join_all(replicas.iter().map(|store| async move { while store.fire().await.unwrap().flows > 0 {} })).await;
    world.fire().await;
    let twice = "SELECT count(*) FROM (SELECT flow_id, slot_at FROM scheduler.run GROUP BY 1, 2 HAVING count(*) > 1) x";
    assert_eq!(world.number(twice).await, 0);
    let runs = world.number("SELECT count(*) FROM scheduler.run").await;
    assert!((40 * 29..=40 * 31).contains(&runs), "{runs}");
    let unaccounted = "SELECT count(*) FROM scheduler.run r WHERE NOT EXISTS \
                       (SELECT FROM scheduler.slot s WHERE s.flow_id = r.flow_id AND s.at = r.slot_at AND s.run_id = r.id)";
    assert_eq!(world.number(unaccounted).await, 0);
    world.database.remove().await.unwrap();
}

#[tokio::test]
async fn a_slot_whose_predecessor_goes_on_is_suppressed_or_waits() {
    let world = World::new().await;
    let mut flows = Vec::new();
    for overlap in ["skip", "buffer-one", "buffer-all", "cancel-other"] {
        let text = format!("{{every: 1s, catchup: {{policy: all}}, overlap: {overlap}}}");
        flows.push((overlap, world.store.save_plan(&scheduled(overlap, &text)).await.unwrap()));
    }
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        world.fire().await;
    }
    for (overlap, flow) in flows {
        let query = RunQuery { flows: Some(vec![flow]), limit: 100, ..RunQuery::default() };
        let runs = world.store.runs(&query).await.unwrap();
        let count = |state| runs.iter().filter(|run| run.state == state).count();
        let (running, queued) = (count(RunState::Running), count(RunState::Queued));
        assert_eq!(running, 1, "{overlap}: they go one after the other");
        let slots = world.states(flow).await;
        let suppressed = slots.iter().any(|(state, _)| *state == SlotState::Suppressed);
        match overlap {
            "skip" => assert!(suppressed && queued == 0, "{slots:?}"),
            "buffer-one" => assert!(suppressed && queued == 1, "{slots:?}"),
            "buffer-all" => assert!(!suppressed && queued >= 2, "{slots:?}"),
            _ => assert!(count(RunState::Cancelled) >= 1, "{slots:?}"),
        }
    }
    world.database.remove().await.unwrap();
}

#[tokio::test]
async fn what_was_due_in_a_pause_is_missed_and_not_run_at_once() {
    let world = World::new().await;
    let flow = world.store.save_plan(&scheduled("paused", "{every: 1m, catchup: {policy: last}}")).await.unwrap();
    world.store.set_paused(flow, true).await.unwrap();
    world.away_for(flow, 600).await;
    world.fire().await;
    assert_eq!(world.states(flow).await, [], "nothing is due");
    world.store.set_paused(flow, false).await.unwrap();
    world.fire().await;
    let slots = world.states(flow).await;
    assert_eq!(slots.iter().filter(|(state, _)| *state == SlotState::CaughtUp).count(), 1, "{slots:?}");
    assert_eq!(world.number("SELECT count(*) FROM scheduler.run").await, 1);
    world.database.remove().await.unwrap();
}

#[tokio::test]
async fn a_backfill_runs_what_is_missing_in_the_background() {
    let world = World::new().await;
    let plan = scheduled("hourly", "{cron: '0 * * * *', catchup: {policy: none}}");
    world.store.save_plan(&plan).await.unwrap();
    let flow: Flow = world.store.flow("hourly", "").await.unwrap().unwrap();
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let mut backfill = Backfill {
        from: at("2026-01-01T00:00:00Z"),
        to: at("2026-01-01T06:00:00Z"),
        all: false,
        order: Order::NewestFirst,
        max_parallel: 2,
        params: [].into(),
    };
    let planned = world.store.backfill(&flow, &backfill, true).await.unwrap();
    assert_eq!((planned.moments.len(), planned.id, planned.estimate), (6, None, None));
    assert_eq!(planned.moments[0], at("2026-01-01T05:00:00Z"));
    assert_eq!(world.number("SELECT count(*) FROM scheduler.run").await, 0, "it was only planned");

    assert!(world.store.backfill(&flow, &backfill, false).await.unwrap().id.is_some());
    assert_eq!(world.number("SELECT count(*) FROM scheduler.run WHERE state = 1").await, 2, "two at once");
    let live = world.store.add_run(&millrace_scheduler::store::NewRun::by_hand(flow.id, &plan, "live")).await.unwrap();
    let first = world.store.claim(InstanceId(1), 1).await.unwrap().remove(0);
    assert_eq!(Some(first.key.run), live, "what is live goes first");
    let mut done = 0;
    let mut launches = vec![first];
    while !launches.is_empty() {
        let reports: Vec<Report> = launches.iter().map(|it| Report::new(it.token, Outcome::Succeeded(None))).collect();
        done += world.store.finish(&reports).await.unwrap().accepted.len();
        launches = world.store.claim(InstanceId(1), 10).await.unwrap();
    }
    assert_eq!(done, 7);
    let order = "SELECT count(*) FROM scheduler.run a JOIN scheduler.run b ON a.interval_end > b.interval_end \
                 AND a.kind = 2 AND b.kind = 2 AND a.started_at > b.started_at";
    assert_eq!(world.number(order).await, 0, "newest first");
    backfill.to = at("2026-01-01T08:00:00Z");
    let missing = world.store.backfill(&flow, &backfill, true).await.unwrap();
    assert_eq!(missing.moments, [at("2026-01-01T07:00:00Z"), at("2026-01-01T06:00:00Z")], "the missing only");
    assert!(missing.estimate.is_some());
    world.database.remove().await.unwrap();
}
