use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{READY, Store, WHOLE, db, finish::storable_json};
use crate::{
    error::Result,
    plan::Plan,
    render::Interval,
    state::{Class, RunKind, RunState, TaskState},
};

/// A run's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(pub i64);

/// A run that is to be.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// The DAG's number.
    pub dag: i32,
    /// The plan that it is pinned to.
    pub plan: Arc<Plan>,
    /// The binding's name.
    pub binding: Option<String>,
    /// What makes it the run that it is: a second run of the same DAG, binding and key is the same run.
    pub key: String,
    /// How it came to be.
    pub kind: RunKind,
    /// Who goes first.
    pub class: Class,
    /// The moment that it is about.
    pub logical_at: Option<Timestamp>,
    /// The data that it is about.
    pub interval: Option<Interval>,
    /// Every parameter.
    pub params: Value,
}

impl NewRun {
    /// A run by hand: at once, of no moment, with the defaults of its parameters.
    pub fn by_hand(dag: i32, plan: &Arc<Plan>, key: impl Into<String>) -> Self {
        Self {
            dag,
            plan: Arc::clone(plan),
            binding: None,
            key: key.into(),
            kind: RunKind::Manual,
            class: Class::Live,
            logical_at: None,
            interval: None,
            params: json!(plan.params.defaults()),
        }
    }
}

/// The run, unless there is one of its key, and its tasks. Those that wait for nothing are ready at once.
const ADD: &str = "\
WITH added AS (
    INSERT INTO scheduler.run (dag_id, binding, key, hash, kind, class, priority, state, logical_at, interval_start,
                               interval_end, params, tasks_left, started_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, cardinality($13::smallint[]), now())
    ON CONFLICT DO NOTHING RETURNING id
), tasks AS (
    INSERT INTO scheduler.task (run_id, no, item, state, class, priority, needs, due_at)
    SELECT added.id, t.no, $16, CASE WHEN t.needs = 0 THEN 1 ELSE 0 END, $6, t.priority, t.needs,
           CASE WHEN t.needs = 0 THEN now() END
    FROM added, unnest($13::smallint[], $14::integer[], $15::smallint[]) AS t(no, needs, priority)
)
SELECT id, pg_notify($17, '') FROM added";

impl Store {
    /// Adds a run, unless there is one of its key.
    pub async fn add_run(&self, run: &NewRun) -> Result<Option<RunId>> {
        let NewRun { dag, plan, binding, key, kind, class, logical_at, interval, params } = run;
        let params = &storable_json(params);
        let hash = plan.hash.0.as_slice();
        let tasks = 0..plan.graph.len();
        let numbers: Vec<i16> = tasks.clone().map(|task| task as i16).collect();
        let needs: Vec<i32> = tasks.clone().map(|task| plan.waits_for(task) as i32).collect();
        let dag_priority = plan.dag.spec.priority;
        let priorities: Vec<i16> = tasks.map(|task| plan.tasks[task].task.priority.unwrap_or(dag_priority)).collect();
        let (start, end) = (interval.map(|it| it.start), interval.map(|it| it.end));
        let (kind, class, state) = (kind.number(), class.number(), RunState::Running.number());
        let client = self.pool.get().await?;
        let add = client.prepare_cached(ADD).await.map_err(db)?;
        let added = client
            .query_opt(
                &add,
                &[
                    dag,
                    binding,
                    key,
                    &hash,
                    &kind,
                    &class,
                    &dag_priority,
                    &state,
                    logical_at,
                    &start,
                    &end,
                    params,
                    &numbers,
                    &needs,
                    &priorities,
                    &WHOLE,
                    &READY,
                ],
            )
            .await
            .map_err(db)?;
        let Some(row) = added else { return Ok(None) };
        self.plans.remember(plan);
        Ok(Some(RunId(row.get(0))))
    }

    /// What a run is, and what has become of its tasks, by their numbers.
    pub async fn run_state(&self, run: RunId) -> Result<Option<(RunState, Vec<(i16, TaskState)>)>> {
        let client = self.pool.get().await?;
        let select = "SELECT r.state, t.no, t.state FROM scheduler.run r LEFT JOIN (
                          SELECT run_id, no, item, state FROM scheduler.task UNION ALL
                          SELECT run_id, no, item, state FROM scheduler.task_done
                      ) t ON t.run_id = r.id AND t.item = $2 WHERE r.id = $1 ORDER BY t.no";
        let rows = client.query(select, &[&run.0, &WHOLE]).await.map_err(db)?;
        let Some(state) = rows.first().and_then(|row| RunState::from_number(row.get(0))) else { return Ok(None) };
        let task = |row: &millrace_postgres::Row| {
            Some((row.get::<_, Option<i16>>(1)?, TaskState::from_number(row.get::<_, Option<i16>>(2)?)?))
        };
        Ok(Some((state, rows.iter().filter_map(task).collect())))
    }
}
