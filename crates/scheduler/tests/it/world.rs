//! A database of one test's own, and DAGs made for it.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use millrace_core::Source;
use millrace_postgres::migrate;
use millrace_scheduler::{
    plan::{Plan, Templates},
    store::{MIGRATIONS, NewRun, RunId, SCHEMA, Store},
};
use millrace_testkit::Database;

pub(crate) struct World {
    pub(crate) database: Database,
    pub(crate) store: Store,
}

impl World {
    pub(crate) async fn new() -> Self {
        let database = Database::create("scheduler").await.unwrap();
        migrate(&database.pool, SCHEMA, MIGRATIONS).await.unwrap();
        let store = Store::new(database.pool.clone());
        // For tests that claim by themselves: instances 1 to 8, without a lease that anybody would see.
        for name in 1..=8 {
            store.register(&format!("test-{name}"), "here", Duration::ZERO).await.unwrap();
        }
        Self { database, store }
    }

    /// Adds a run of a plan.
    pub(crate) async fn run(&self, plan: &Arc<Plan>, key: &str) -> Option<RunId> {
        let dag = self.store.save_plan(plan).await.unwrap();
        self.store.add_run(&NewRun::by_hand(dag, plan, key)).await.unwrap()
    }

    /// Another process, as far as Postgres can tell.
    pub(crate) fn other_replica(&self) -> Store {
        Store::new(millrace_postgres::Args::from_url(&self.database.url).pool().unwrap())
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.database.pool.get().await.unwrap().query_one(sql, &[]).await.unwrap().get(0)
    }
}

/// A plan of these tasks, in YAML.
pub(crate) fn plan(name: &str, tasks: &str) -> Arc<Plan> {
    let text = format!("apiVersion: millrace.dev/v1\nkind: Dag\nmetadata: {{name: {name}}}\nspec:\n  tasks:\n{tasks}");
    let source = Source::parse("dag.yaml", &text).unwrap();
    Arc::new(
        Plan::parse(&source, &Templates::default(), Timestamp::UNIX_EPOCH).unwrap_or_else(|faults| panic!("{faults}")),
    )
}
