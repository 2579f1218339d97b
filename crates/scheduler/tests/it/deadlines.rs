//! Deadlines: who is told of what, and when.

use std::sync::Arc;

use jiff::Timestamp;
use millrace_runtime::Shutdown;
use millrace_scheduler::{
    engine::watch_deadlines,
    plan::Plan,
    state::RunState,
    store::{NewRun, RunId, Sending, Store},
};
use millrace_testkit::assert_eventually;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::world::{World, plan};

/// A fast task, and one that takes as long as a parameter says.
const TASKS: &str = "    fast: {process: {argv: [sleep, '0.01']}}\n    slow: {needs: [fast], process: {argv: [sleep, '{{ params.seconds }}']}}\n    \
                     end: {needs: [slow], process: {argv: [sleep, '0.01']}}\n";

fn with_deadlines(name: &str, deadlines: &str) -> Arc<Plan> {
    plan(name, &format!("{TASKS}  params: {{seconds: {{type: string, default: '0.05'}}}}\n  deadlines: {deadlines}\n"))
}

struct Watching(Shutdown, Vec<JoinHandle<anyhow::Result<()>>>);

impl Watching {
    async fn stop(self) {
        self.0.trigger();
        for watching in self.1 {
            watching.await.unwrap().unwrap();
        }
    }
}

impl World {
    /// So many replicas that watch deadlines.
    fn watch(&self, replicas: usize) -> Watching {
        let shutdown = Shutdown::new();
        let watch = |_| tokio::spawn(watch_deadlines(self.other_replica(), shutdown.clone()));
        Watching(shutdown.clone(), (0..replicas).map(watch).collect())
    }

    async fn run_with(&self, plan: &Arc<Plan>, key: &str, seconds: &str) -> RunId {
        let flow = self.store.save_plan(plan).await.unwrap();
        let run = NewRun { params: json!({"seconds": seconds}), ..NewRun::by_hand(flow, plan, key) };
        self.store.add_run(&run).await.unwrap().unwrap()
    }

    /// Every signal that waits to be sent, in their order.
    async fn signals(&self) -> Vec<Value> {
        let client = self.database.pool.get().await.unwrap();
        let rows = client.query("SELECT body FROM scheduler.signal ORDER BY id", &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_will_be_late_is_announced_before_it_is_with_the_task_that_makes_it_late() {
    let world = World::new().await;
    let engine = world.engine("one", 8);
    let watching = world.watch(2);
    let plan =
        with_deadlines("late", "[{within: 20s, after: queued, predict: 0.5, severity: critical, notify: [ops]}]");
    for n in 0..6 {
        let run = world.run_with(&plan, &format!("past-{n}"), "0.05").await;
        assert_eq!(world.ended(run).await.0, RunState::Succeeded);
    }
    assert_eq!(world.signals().await, Vec::<Value>::new(), "who is in time is not spoken of");
    assert_eventually!(world.number("SELECT count(*) FROM scheduler.deadline").await => 0, within: 20);

    let began = Timestamp::now();
    let run = world.run_with(&plan, "tonight", "600").await;
    assert_eventually!(world.signals().await.len() => 1, within: 20);
    let told = Timestamp::now();
    let signal = world.signals().await.remove(0);
    assert!(told.duration_since(began).as_secs() < 20, "before it is late");
    assert_eq!((&signal["kind"], &signal["state"]), (&json!("deadline"), &json!("firing")));
    assert_eq!((&signal["severity"], &signal["notify"]), (&json!("critical"), &json!(["ops"])));
    assert_eq!((&signal["subject"], &signal["labels"]["cause"]), (&json!("late"), &json!("slow")));
    let summary = signal["summary"].as_str().unwrap();
    assert!(
        summary.starts_with("late tonight must be done by ") && summary.contains("because of task slow"),
        "{summary}"
    );

    world.store.cancel(&[run], "enough").await.unwrap();
    assert_eventually!(world.signals().await.len() => 2, within: 20);
    let over = world.signals().await.remove(1);
    assert_eq!((&over["state"], &over["dedup_key"]), (&json!("resolved"), &signal["dedup_key"]));
    assert_eq!(world.number("SELECT count(*) FROM scheduler.deadline").await, 0, "it is not watched any more");
    watching.stop().await;
    engine.stop().await;
    world.database.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miss_is_told_once_whoever_looks_and_resolved_when_it_is_done() {
    let world = World::new().await;
    let engine = world.engine("one", 8);
    let watching = world.watch(3);
    let plan = with_deadlines(
        "missed",
        "[{within: 1s, after: started}, {task: slow, within: 500ms, after: started}, {task: fast, within: 1h, after: queued}]",
    );
    let run = world.run_with(&plan, "r", "2.5").await;
    assert_eventually!(world.signals().await.len() => 2, within: 20);
    let missed = world.signals().await;
    assert!(missed.iter().all(|signal| signal["state"] == "firing"), "{missed:?}");
    assert_eq!(missed[0]["labels"]["task"], "slow", "which was due first");
    assert!(missed[1]["summary"].as_str().unwrap().ends_with("and is not"), "{missed:?}");
    assert_eq!(world.ended(run).await.0, RunState::Succeeded);
    assert_eventually!(world.signals().await.len() => 4, within: 20);
    let over = &world.signals().await[2..];
    assert!(over.iter().all(|signal| signal["state"] == "resolved"), "{over:?}");
    let mut keys: Vec<&str> = over.iter().filter_map(|signal| signal["dedup_key"].as_str()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["scheduler/deadline/missed/r/0", "scheduler/deadline/missed/r/1"]);
    watching.stop().await;
    engine.stop().await;
    world.database.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_failed_misses_its_deadline_unless_it_is_cleared_in_time() {
    let world = World::new().await;
    let engine = world.engine("one", 8);
    let watching = world.watch(1);
    let plan = with_deadlines("failed", "[{within: 1h, after: queued, predict: 0.9}]");
    // `sleep` says that this is no number.
    let run = world.run_with(&plan, "r", "nothing").await;
    assert_eq!(world.ended(run).await.0, RunState::Failed);
    assert_eventually!(world.signals().await.len() => 1, within: 20);
    assert!(world.signals().await[0]["summary"].as_str().unwrap().contains("has failed"));
    world
        .database
        .pool
        .get()
        .await
        .unwrap()
        .execute("UPDATE scheduler.run SET params = '{\"seconds\": \"0.01\"}'", &[])
        .await
        .unwrap();
    world.store.clear(run, &[], false, false).await.unwrap();
    assert_eq!(world.ended(run).await.0, RunState::Succeeded);
    assert_eventually!(world.signals().await.len() => 2, within: 20);
    assert_eq!(world.signals().await[1]["state"], "resolved");
    watching.stop().await;
    engine.stop().await;
    world.database.remove().await.unwrap();
}

#[tokio::test]
async fn a_moment_without_a_run_misses_its_deadline_as_well_where_that_is_asked_for() {
    let world = World::new().await;
    for (name, slots) in [("told", ", slots: true"), ("quiet", "")] {
        let text = format!(
            "{TASKS}  params: {{seconds: {{type: string, default: '1'}}}}\n  schedule: {{every: 1h, catchup: {{policy: none}}}}\n  deadlines: [{{within: 10m{slots}}}]\n"
        );
        let flow = world.store.save_plan(&plan(name, &text)).await.unwrap();
        // Twelve moments were missed long before the document came, by its word; one would have been on time in this hour.
        let sql = "UPDATE scheduler.flow SET cursor_at = now() - interval '2 hours 30 minutes', next_at = now() WHERE id = $1";
        world.database.pool.get().await.unwrap().execute(sql, &[&flow.0]).await.unwrap();
        world
            .database
            .pool
            .get()
            .await
            .unwrap()
            .execute("UPDATE scheduler.document SET applied_at = now() - interval '1 day'", &[])
            .await
            .unwrap();
    }
    while world.store.fire().await.unwrap().flows > 0 {}
    while world.store.look_at_deadlines().await.unwrap().deadlines > 0 {}
    let skipped = world.number("SELECT count(*) FROM scheduler.slot s JOIN scheduler.flow f ON f.id = s.flow_id WHERE f.dag = 'told' AND s.state = 4").await;
    let signals = world.signals().await;
    let about = |dag: &str| {
        signals
            .iter()
            .filter(|signal| signal["subject"] == dag && signal["summary"].as_str().unwrap().ends_with("has no run"))
            .count() as i64
    };
    assert!(skipped >= 1);
    assert_eq!((about("told"), about("quiet")), (skipped, 0), "{signals:?}");
    world.database.remove().await.unwrap();
}

#[tokio::test]
async fn signals_go_in_their_order_and_what_did_not_arrive_goes_again() {
    let world = World::new().await;
    let sql = "INSERT INTO scheduler.signal (body) SELECT to_jsonb(n) FROM generate_series(1, 5) n";
    world.database.pool.get().await.unwrap().execute(sql, &[]).await.unwrap();
    let send = |store: Store, most: i64, arrive: usize| async move {
        let mut seen = Vec::new();
        let sending = store.send_signals(most, |signals| {
            seen = signals.clone();
            async move { arrive.min(signals.len()) }
        });
        let sending = sending.await.unwrap();
        (sending, seen.iter().map(|it| it.as_i64().unwrap()).collect::<Vec<_>>())
    };
    assert_eq!(send(world.store.clone(), 2, 2).await, (Sending::More, vec![1, 2]));
    assert_eq!(send(world.store.clone(), 2, 1).await, (Sending::Stuck, vec![3, 4]));
    assert_eq!(send(world.store.clone(), 9, 9).await, (Sending::Done, vec![4, 5]));
    assert_eq!(send(world.store.clone(), 9, 9).await, (Sending::Done, vec![]));
    world.database.remove().await.unwrap();
}
