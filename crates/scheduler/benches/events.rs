//! Events through the store: recorded, gathered into runs, a run each; and one event that 10,000 triggers listen for.
//! Beside it, in the same run, rows copied in transactions of the same size.
//!
//! `cargo bench -p millrace-scheduler --bench events` with `DATABASE_URL`; it makes a database of its own and drops it.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

mod common;

use std::time::Instant;

use millrace_postgres::migrate;
use millrace_scheduler::store::{MIGRATIONS, NewEvent, SCHEMA, Store};
use millrace_testkit::Database;
use serde_json::json;

use common::{line, plan};

/// Events, and how many of them come at once.
const EVENTS: usize = 50_000;
const BATCH: usize = 500;
/// Events that have a run each.
const SINGLE: usize = 5_000;
/// DAGs that listen for the same event.
const TRIGGERS: usize = 10_000;

#[tokio::main]
async fn main() {
    let database = Database::create("scheduler_bench").await.unwrap();
    migrate(&database.pool, SCHEMA, MIGRATIONS).await.unwrap();
    let store = Store::new(database.pool.clone());
    println!("events, through the store");
    common::head();

    let floor = inserted(&database).await;
    listen(&store, "gathering", "many: {source: many, together: {count: 100, by: /data/key, max: 1d}}").await;
    let began = Instant::now();
    record(&store, "many", EVENTS).await;
    let rate = EVENTS as f64 / began.elapsed().as_secs_f64();
    let beside = format!("{:.2} of bare inserts, {floor:.0}/s", rate / floor);
    line(&format!("recorded, {BATCH} at once"), &format!("{rate:.0}/s"), "", &beside);
    let (seconds, runs) = consume(&store).await;
    assert_eq!(runs, EVENTS / 100);
    line("gathered, 100 to a run", &format!("{:.0}/s", EVENTS as f64 / seconds), "", "");

    listen(&store, "single", "each: {source: single}").await;
    record(&store, "single", SINGLE).await;
    let (seconds, runs) = consume(&store).await;
    assert_eq!(runs, SINGLE);
    line("a run each", &format!("{:.0}/s", SINGLE as f64 / seconds), "", "");

    for dag in 0..TRIGGERS {
        listen(&store, &format!("listener-{dag}"), "one: {source: one}").await;
    }
    record(&store, "one", 1).await;
    let (seconds, runs) = consume(&store).await;
    assert_eq!(runs, TRIGGERS);
    line(&format!("one event, {TRIGGERS} triggers: until the last run is there"), &format!("{seconds:.2} s"), "", "");
    database.remove().await.unwrap();
}

/// Rows of the same content per second, in a table with the same key and nothing else.
async fn inserted(database: &Database) -> f64 {
    let client = database.pool.get().await.unwrap();
    let table = "CREATE TABLE bare (id text PRIMARY KEY, seq bigint UNIQUE, data jsonb)";
    client.batch_execute(table).await.unwrap();
    let insert = "INSERT INTO bare SELECT 'e-' || n, n, jsonb_build_object('key', n % 50) \
                  FROM generate_series($1::bigint, $2::bigint) AS n";
    let insert = client.prepare_cached(insert).await.unwrap();
    let began = Instant::now();
    for batch in 0..EVENTS / BATCH {
        let first = (batch * BATCH) as i64;
        client.execute(&insert, &[&first, &(first + BATCH as i64 - 1)]).await.unwrap();
    }
    EVENTS as f64 / began.elapsed().as_secs_f64()
}

async fn listen(store: &Store, name: &str, trigger: &str) {
    let plan = plan(name, &format!("    a: {{noop: {{}}}}\n  triggers:\n    {trigger}\n"));
    store.save_plan(&plan).await.unwrap();
}

async fn record(store: &Store, source: &str, count: usize) {
    let event = |number: usize| {
        let data = json!({ "key": number % 50 });
        let bytes = i32::try_from(data.to_string().len()).unwrap();
        NewEvent { id: format!("e-{number}"), kind: "made".to_owned(), subject: String::new(), data, bytes }
    };
    let events: Vec<NewEvent> = (0..count).map(event).collect();
    for batch in events.chunks(BATCH) {
        store.record_events(source, batch).await.unwrap();
    }
}

/// Until nothing is left to look at now: the seconds, and the runs that were made.
async fn consume(store: &Store) -> (f64, usize) {
    let (began, mut runs) = (Instant::now(), 0);
    loop {
        let fired = store.consume().await.unwrap();
        runs += fired.runs;
        if fired.next.is_none_or(|next| next.is_positive()) {
            return (began.elapsed().as_secs_f64(), runs);
        }
    }
}
