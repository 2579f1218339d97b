//! Everything together, in one process with Postgres beside it: no-op tasks, hops in process and through gRPC, commands,
//! schedules, a large mapped task, a long history, many DAGs.
//!
//! `cargo bench -p millrace-scheduler --bench engine` with `DATABASE_URL`; it makes databases of its own and drops them.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

mod common;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use millrace_postgres::migrate;
use millrace_runtime::{Shutdown, grpc};
use millrace_scheduler::{
    engine::{Engine, Metrics, Settings, fire_schedules},
    exec::{Executors, Processes, Secrets},
    plan::Plan,
    store::{FlowId, MIGRATIONS, NewRun, RunId, SCHEMA, Store},
};
use millrace_testkit::Database;
use opentelemetry::metrics::MeterProvider as _;
use tokio::net::TcpListener;
use tonic::service::Routes;

use common::{line, plan, say, tasks};

/// What is asked for.
const TASKS: f64 = 5_000.0;
const HOP: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(10));
const GRPC_HOP: Duration = Duration::from_millis(5);
const COMMANDS: f64 = 300.0;
const JITTER: Duration = Duration::from_millis(50);
const EXPANSION: Duration = Duration::from_secs(10);
const HISTORY: f64 = 1.10;
const MEMORY: u64 = 300;

/// DAGs with a schedule; each is due once in so many seconds, and they are watched for so long.
const CRONS: usize = 10_000;
const EVERY: usize = 100;
const WATCHED: Duration = Duration::from_secs(20);

struct World {
    database: Database,
    store: Store,
    folder: PathBuf,
    shutdown: Shutdown,
}

impl World {
    /// A new database with engines over it.
    async fn new() -> Self {
        let database = Database::create("scheduler_bench").await.unwrap();
        migrate(&database.pool, SCHEMA, MIGRATIONS).await.unwrap();
        let store = Store::new(database.pool.clone());
        let folder = std::env::temp_dir().join(format!("millrace-bench-{}", std::process::id()));
        let world = Self { database, store, folder, shutdown: Shutdown::new() };
        let meter = opentelemetry::metrics::noop::NoopMeterProvider::new().meter("bench");
        let settings = Settings {
            name: "bench".to_owned(),
            lease: Duration::from_secs(10),
            parallelism: 512,
            background: 256,
            drain: Duration::from_secs(5),
        };
        let shim = PathBuf::from(env!("CARGO_BIN_EXE_millrace-shim"));
        let processes = Processes::new(&world.folder, shim, Secrets::default(), Duration::from_mins(1)).unwrap();
        let executors = Executors::new(processes, &Secrets::default(), world.store.clone()).unwrap();
        let engine = Arc::new(Engine::new(&world.store, executors, settings, Metrics::new(&meter)));
        tokio::spawn(engine.run(world.shutdown.clone()));
        tokio::spawn(fire_schedules(world.store.clone(), world.shutdown.clone()));
        world
    }

    async fn number(&self, sql: &str) -> f64 {
        self.database.pool.get().await.unwrap().query_one(sql, &[]).await.unwrap().get(0)
    }

    async fn run(&self, flow: FlowId, plan: &Arc<Plan>, key: &str) -> RunId {
        self.store.add_run(&NewRun::by_hand(flow, plan, key)).await.unwrap().unwrap()
    }

    /// Waits until nothing is left to do.
    async fn idle(&self) {
        // Each by an index of what lives: a look at a million runs would be what is measured.
        let live = "SELECT ((SELECT count(*) FROM scheduler.run WHERE state = 0) \
                    + (SELECT count(*) FROM scheduler.run WHERE state = 1))::double precision";
        while self.number(live).await > 0.0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn end(self) {
        self.shutdown.trigger();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let _ = std::fs::remove_dir_all(&self.folder); // what is not there needs no removing
        self.database.remove().await.unwrap();
    }
}

#[tokio::main]
async fn main() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("engine, {cores} cores with Postgres on them");
    common::head();
    let world = World::new().await;
    let (rate, hop) = (wide(&world, "wide").await, chain(&world, "chain", "noop: {}").await);
    say("durable no-op tasks, wide DAGs", &format!("{rate:.0}/s"), &format!("at least {TASKS:.0}"), rate >= TASKS);
    let (p50, p99) = hop;
    let met = p50 <= HOP.0 && p99 <= HOP.1;
    say("hop, in process", &format!("p50 {p50:.2?}, p99 {p99:.2?}"), &format!("p50 {:?}, p99 {:?}", HOP.0, HOP.1), met);
    calls(&world).await;
    commands(&world).await;
    mapped(&world).await;
    history(&world, rate, hop.0).await;
    world.end().await;
    let world = World::new().await;
    crons(&world).await;
    world.end().await;
}

/// Tasks per second of DAGs of a thousand tasks that wait for nothing.
async fn wide(world: &World, name: &str) -> f64 {
    const WIDE: usize = 1_000;
    const RUNS: usize = 15;
    let plan = plan(name, &tasks(WIDE, "noop: {}"));
    let flow = world.store.save_plan(&plan).await.unwrap();
    let began = Instant::now();
    for run in 0..RUNS {
        world.run(flow, &plan, &run.to_string()).await;
    }
    world.idle().await;
    (WIDE * RUNS) as f64 / began.elapsed().as_secs_f64()
}

/// From the end of a task to the launch of its successor and the end of that: the whole cycle.
async fn chain(world: &World, name: &str, action: &str) -> (Duration, Duration) {
    const CHAIN: usize = 1_000;
    let plan = plan(name, &common::chain(CHAIN, action));
    let flow = world.store.save_plan(&plan).await.unwrap();
    let run = world.run(flow, &plan, "chain").await;
    world.idle().await;
    let failed =
        format!("SELECT count(*)::double precision FROM scheduler.attempt WHERE run_id = {} AND outcome <> 10", run.0);
    assert!(world.number(&failed).await == 0.0);
    let hop = |share: f64| {
        format!(
            "SELECT percentile_cont({share}) WITHIN GROUP (ORDER BY gap) FROM (SELECT extract(epoch FROM launched_at - \
             lag(launched_at) OVER (ORDER BY token))::double precision AS gap FROM scheduler.attempt WHERE run_id = {}) x",
            run.0
        )
    };
    let (p50, p99) = (world.number(&hop(0.5)).await, world.number(&hop(0.99)).await);
    (Duration::from_secs_f64(p50), Duration::from_secs_f64(p99))
}

/// The same where each task is a unary call to a server on loopback, found by reflection.
async fn calls(world: &World) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let health = tonic_health::pb::FILE_DESCRIPTOR_SET;
    tokio::spawn(grpc::serve(listener, None, Routes::default(), health, world.shutdown.clone()));
    let action = format!("grpc: {{endpoint: '{endpoint}', method: grpc.health.v1.Health/Check}}");
    let (p50, p99) = chain(world, "calls", &action).await;
    let bar = format!("p50 {GRPC_HOP:?}");
    say("hop, through gRPC on loopback", &format!("p50 {p50:.2?}, p99 {p99:.2?}"), &bar, p50 <= GRPC_HOP);
}

async fn commands(world: &World) {
    const COUNT: usize = 1_500;
    let plan = plan("commands", &(tasks(COUNT, "process: {argv: [/bin/true]}") + "  concurrency: {tasks: 32}\n"));
    let flow = world.store.save_plan(&plan).await.unwrap();
    let began = Instant::now();
    world.run(flow, &plan, "r").await;
    world.idle().await;
    let rate = COUNT as f64 / began.elapsed().as_secs_f64();
    let failed = "SELECT count(*)::double precision FROM scheduler.attempt WHERE outcome <> 10";
    assert!(world.number(failed).await == 0.0);
    say(
        "process tasks (/bin/true), 32 at once",
        &format!("{rate:.0}/s"),
        &format!("at least {COMMANDS:.0}"),
        rate >= COMMANDS,
    );
}

async fn mapped(world: &World) {
    let tasks = "    m: {forEach: {in: '{{ range(100000) | list }}', maxParallel: 1000}, noop: {}}\n";
    let plan = plan("mapped", tasks);
    let flow = world.store.save_plan(&plan).await.unwrap();
    let began = Instant::now();
    world.run(flow, &plan, "r").await;
    while world.number("SELECT count(*)::double precision FROM scheduler.task WHERE item >= 0 LIMIT 1").await == 0.0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let expanded = began.elapsed();
    let began = Instant::now();
    say(
        "mapping over 100,000 items: expansion",
        &format!("{expanded:.2?}"),
        &format!("under {EXPANSION:?}"),
        expanded < EXPANSION,
    );
    world.idle().await;
    let rate = 100_000.0 / began.elapsed().as_secs_f64();
    line("its instances, 1,000 at once", &format!("{rate:.0}/s"), "", "");
}

/// The same again with a million finished runs in the database.
async fn history(world: &World, rate: f64, hop: Duration) {
    let client = world.database.pool.get().await.unwrap();
    let plan = plan("past", "    a: {noop: {}}\n");
    let flow = world.store.save_plan(&plan).await.unwrap();
    let fill = format!(
        "INSERT INTO scheduler.run (flow_id, key, hash, kind, class, state, params, tasks_left, queued_at, started_at, ended_at) \
         SELECT {}, 'past-' || n, (SELECT hash FROM scheduler.flow WHERE id = {}), 1, 0, 10, '{{}}', 0, now(), now(), now() \
         FROM generate_series(1, 1000000) AS n; \
         INSERT INTO scheduler.task_done (run_id, no, item, state, attempt, items, items_failed, items_skipped, ended_at) \
         SELECT id, 0, -1, 10, 1, 0, 0, 0, now() FROM scheduler.run WHERE flow_id = {}; \
         INSERT INTO scheduler.attempt (run_id, no, item, attempt, token, instance, launched_at, ended_at, outcome) \
         SELECT id, 0, -1, 1, -id, 1, now(), now(), 10 FROM scheduler.run WHERE flow_id = {};",
        flow.0, flow.0, flow.0, flow.0
    );
    client.batch_execute(&fill).await.unwrap();
    // What autovacuum and the checkpointer would do meanwhile is done before.
    for table in ["run", "task_done", "attempt", "task", "launch"] {
        client.batch_execute(&format!("VACUUM ANALYZE scheduler.{table}")).await.unwrap();
    }
    client.batch_execute("CHECKPOINT").await.unwrap();
    let with = (wide(world, "wide-after").await, chain(world, "chain-after", "noop: {}").await.0);
    let worse = (rate / with.0).max(with.1.as_secs_f64() / hop.as_secs_f64());
    let measured = format!("{:.0}/s, hop {:.2?}: {worse:.2} of before", with.0, with.1);
    say("the same with 1,000,000 finished runs", &measured, "within 10 %", worse <= HISTORY);
}

async fn crons(world: &World) {
    let before = resident();
    let client = world.database.pool.get().await.unwrap();
    let now = jiff::Timestamp::now().as_second();
    for dag in 0..CRONS {
        // Each second a hundredth of them.
        let start = jiff::Timestamp::from_second(now - 1_000_000 + (dag % EVERY) as i64).unwrap();
        let start = start.to_zoned(jiff::tz::TimeZone::UTC).datetime();
        let schedule = format!("  schedule: {{every: {EVERY}s, start: '{start}', catchup: {{policy: none}}}}\n");
        let plan = plan(&format!("cron-{dag}"), &format!("    a: {{noop: {{}}}}\n{schedule}"));
        world.store.save_plan(&plan).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    client.batch_execute("DELETE FROM scheduler.slot; UPDATE scheduler.run SET slot_at = NULL").await.unwrap();
    tokio::time::sleep(WATCHED).await;
    let late = |share: f64| {
        format!(
            "SELECT percentile_cont({share}) WITHIN GROUP (ORDER BY extract(epoch FROM queued_at - slot_at)::double precision) \
             FROM scheduler.run WHERE slot_at IS NOT NULL AND slot_at < now() - interval '1 second'"
        )
    };
    let seconds = |seconds: f64| Duration::from_secs_f64(seconds.max(0.0));
    let (p50, p99) = (seconds(world.number(&late(0.5)).await), seconds(world.number(&late(0.99)).await));
    let fired = world.number("SELECT count(*)::double precision FROM scheduler.run WHERE slot_at IS NOT NULL").await;
    assert!(fired > 0.9 * (CRONS / EVERY) as f64 * WATCHED.as_secs_f64(), "{fired} runs");
    let measured = format!("p50 {p50:.1?}, p99 {p99:.1?} ({fired:.0} runs)");
    say("10,000 schedules, jitter of firing", &measured, &format!("p99 {JITTER:?}"), p99 <= JITTER);
    let memory = resident().saturating_sub(before);
    say("memory of 10,000 DAGs loaded", &format!("{memory} MiB"), &format!("under {MEMORY} MiB"), memory < MEMORY);
}

/// Resident memory of this process: MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}
