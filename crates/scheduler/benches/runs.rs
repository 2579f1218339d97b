//! Durable no-op tasks through the store: how many per second, and how long from the end of one to the start of the next.
//! Beside it, in the same run, what one durable commit costs here.
//!
//! `cargo bench -p millrace-scheduler` with `DATABASE_URL`; it makes a database of its own and drops it.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

mod common;

use std::time::{Duration, Instant};

use millrace_postgres::migrate;
use millrace_scheduler::store::{InstanceId, MIGRATIONS, NewRun, Outcome, Report, SCHEMA, Store};
use millrace_testkit::Database;

use common::{line, plan, say, tasks};

/// Tasks of a wide DAG, and runs of it.
const WIDE: usize = 1_000;
const RUNS: usize = 20;
/// Tasks of a chain.
const CHAIN: usize = 1_000;
/// What a replica takes at once, and how many of them there are.
const BATCH: usize = 500;
const REPLICAS: usize = 2;
/// The bars.
const TASKS: f64 = 5_000.0;
const HOP_P50: Duration = Duration::from_millis(2);
const HOP_P99: Duration = Duration::from_millis(10);

#[tokio::main]
async fn main() {
    let database = Database::create("scheduler_bench").await.unwrap();
    migrate(&database.pool, SCHEMA, MIGRATIONS).await.unwrap();
    let store = Store::new(database.pool.clone());
    for replica in 0..REPLICAS {
        store.register(&replica.to_string(), "here", Duration::from_hours(1)).await.unwrap();
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{cores} cores with Postgres on them, {REPLICAS} replicas in one process");
    common::head();
    wide(&store).await;
    let commit = commit(&database).await;
    chain(&store, commit).await;
    database.remove().await.unwrap();
}

async fn wide(store: &Store) {
    let plan = plan("wide", &tasks(WIDE, "noop: {}"));
    let dag = store.save_plan(&plan).await.unwrap();
    let began = Instant::now();
    for run in 0..RUNS {
        store.add_run(&NewRun::by_hand(dag, &plan, run.to_string())).await.unwrap();
    }
    let added = began.elapsed();
    let began = Instant::now();
    let replicas: Vec<_> = (0..REPLICAS)
        .map(|replica| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut done = 0;
                loop {
                    let launches = store.claim(InstanceId(replica as i64 + 1), BATCH).await.unwrap();
                    if launches.is_empty() {
                        return done;
                    }
                    done += finish(&store, launches.iter().map(|it| it.token)).await;
                }
            })
        })
        .collect();
    let mut done = 0;
    for replica in replicas {
        done += replica.await.unwrap();
    }
    assert_eq!(done, WIDE * RUNS);
    let rate = done as f64 / began.elapsed().as_secs_f64();
    say("durable no-op tasks, wide DAGs", &format!("{rate:.0}/s"), &format!("at least {TASKS:.0}"), rate >= TASKS);
    let rate = done as f64 / added.as_secs_f64();
    line("runs made, in tasks", &format!("{rate:.0}/s"), "", "");
}

/// From the moment at which a task's end is told to the one at which its successor is in hand.
async fn chain(store: &Store, commit: Duration) {
    let plan = plan("chain", &common::chain(CHAIN, "noop: {}"));
    let dag = store.save_plan(&plan).await.unwrap();
    store.add_run(&NewRun::by_hand(dag, &plan, "chain")).await.unwrap();
    let mut hops = Vec::with_capacity(CHAIN);
    let mut token = store.claim(InstanceId(1), 1).await.unwrap()[0].token;
    loop {
        let began = Instant::now();
        finish(store, [token].into_iter()).await;
        let launches = store.claim(InstanceId(1), 1).await.unwrap();
        let Some(launch) = launches.first() else { break };
        hops.push(began.elapsed());
        token = launch.token;
    }
    hops.sort_unstable();
    let at = |share: f64| hops[(hops.len() as f64 * share) as usize];
    let (p50, p99) = (at(0.5), at(0.99));
    let met = p50 <= HOP_P50 && p99 <= HOP_P99;
    say("hop, in process", &format!("p50 {p50:.2?}, p99 {p99:.2?}"), &format!("p50 {HOP_P50:?}, p99 {HOP_P99:?}"), met);
    let ratio = format!("ratio {:.1}", p50.as_secs_f64() / commit.as_secs_f64());
    line("beside it: one durable commit", &format!("p50 {commit:.2?}"), "", &ratio);
}

async fn commit(database: &Database) -> Duration {
    let client = database.pool.get().await.unwrap();
    client.batch_execute("CREATE TABLE one (n bigint); INSERT INTO one VALUES (0)").await.unwrap();
    let update = client.prepare_cached("UPDATE one SET n = n + 1").await.unwrap();
    let mut times = Vec::new();
    for _ in 0..500 {
        let began = Instant::now();
        client.execute(&update, &[]).await.unwrap();
        times.push(began.elapsed());
    }
    times.sort_unstable();
    times[times.len() / 2]
}

async fn finish(store: &Store, tokens: impl Iterator<Item = i64>) -> usize {
    let reports: Vec<Report> = tokens.map(|token| Report::new(token, Outcome::Succeeded(None))).collect();
    store.finish(&reports).await.unwrap().accepted.len()
}
