//! The tasks of a run, as Postgres takes them when the run begins or goes on.

use millrace_core::Span;
use millrace_postgres::Transaction;

use super::db;
use crate::{document::Binding, error::Result, plan::Plan};

/// What the plan says of tasks: a column each.
#[derive(Default)]
pub(super) struct Tasks {
    pub(super) numbers: Vec<i16>,
    pub(super) needs: Vec<i32>,
    pub(super) priorities: Vec<i16>,
    pub(super) patience: Vec<Option<f64>>,
    pub(super) pools: Vec<Option<String>>,
    pub(super) slots: Vec<i32>,
}

impl Tasks {
    pub(super) fn push(&mut self, plan: &Plan, number: usize, binding: Option<&Binding>) {
        let task = &plan.tasks[number].task;
        let (pool, slots) = plan.pool(number, binding).unzip();
        self.numbers.push(number as i16);
        self.needs.push(plan.waits_for(number).len() as i32);
        self.priorities.push(task.priority.unwrap_or(plan.dag.spec.priority));
        self.patience.push(task.timeout.queue.map(seconds));
        self.pools.push(pool);
        self.slots.push(slots.map_or(0, |slots| slots as i32));
    }

    /// Makes the pools that are not there, without slots: what needs one waits, and says what for.
    pub(super) async fn make_pools(&self, tx: &Transaction<'_>) -> Result<()> {
        let names: Vec<&String> = self.pools.iter().flatten().collect();
        if names.is_empty() {
            return Ok(());
        }
        let insert = "INSERT INTO scheduler.pool (name, slots) SELECT DISTINCT name, 0 FROM unnest($1::text[]) AS n(name) \
                      WHERE NOT EXISTS (SELECT FROM scheduler.pool p WHERE p.name = n.name) ON CONFLICT DO NOTHING";
        let insert = tx.prepare_cached(insert).await.map_err(db)?;
        tx.execute(&insert, &[&names]).await.map_err(db)?;
        Ok(())
    }
}

/// As Postgres counts a time.
pub(super) fn seconds(span: Span) -> f64 {
    std::time::Duration::from(span).as_secs_f64()
}
