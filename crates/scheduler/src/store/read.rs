//! What is there, for people.

use std::collections::BTreeMap;

use jiff::Timestamp;
use millrace_postgres::{Row, types::ToSql};
use serde_json::Value;

use super::{Flow, FlowId, RunId, Store, WHOLE, db, flows::FLOW};
use crate::{
    error::{Error, Result},
    plan::Hash,
    state::{RunKind, RunState, SlotState, TaskState},
};

/// A run, as it stands.
#[derive(Clone, Debug)]
pub struct RunRow {
    /// Its number.
    pub id: RunId,
    /// What it is a run of.
    pub flow: FlowId,
    /// The DAG's name.
    pub dag: String,
    /// The binding's name; empty: none.
    pub binding: String,
    /// What makes it the run that it is.
    pub key: String,
    /// How it came to be.
    pub kind: RunKind,
    /// What it is.
    pub state: RunState,
    /// It was told to end.
    pub cancelled: bool,
    /// The moment that it is about.
    pub logical_at: Option<Timestamp>,
    /// The data that it is about: from here,
    pub interval_start: Option<Timestamp>,
    /// up to here, without it.
    pub interval_end: Option<Timestamp>,
    /// When it came to be.
    pub queued_at: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The plan that it is pinned to.
    pub hash: Hash,
    /// Every parameter.
    pub params: Value,
    /// Tasks that are not done.
    pub tasks_left: i32,
    /// Of a scheduled one, what it waits for: 0 nothing, -1 that no other is running, n that fewer than n caught up are.
    pub gate: i32,
    /// Its slot was missed.
    pub caught_up: bool,
}

const RUN: &str = "\
r.id, r.flow_id, f.dag, f.binding, r.key, r.kind, r.state, r.cancelled, r.logical_at, r.interval_start, r.interval_end,
r.queued_at, r.started_at, r.ended_at, r.hash, r.params, r.tasks_left, r.gate, r.caught_up";

impl RunRow {
    fn read(row: &Row) -> Result<Self> {
        let strange = |what: &str| Error::Strange(format!("a run's {what}"));
        Ok(Self {
            id: RunId(row.get(0)),
            flow: FlowId(row.get(1)),
            dag: row.get(2),
            binding: row.get(3),
            key: row.get(4),
            kind: RunKind::from_number(row.get(5)).ok_or_else(|| strange("kind"))?,
            state: RunState::from_number(row.get(6)).ok_or_else(|| strange("state"))?,
            cancelled: row.get(7),
            logical_at: row.get(8),
            interval_start: row.get(9),
            interval_end: row.get(10),
            queued_at: row.get(11),
            started_at: row.get(12),
            ended_at: row.get(13),
            hash: Hash::read(row.get(14))?,
            params: row.get(15),
            tasks_left: row.get(16),
            gate: row.get(17),
            caught_up: row.get(18),
        })
    }
}

/// Which runs.
#[derive(Clone, Debug, Default)]
pub struct RunQuery {
    /// Of these flows; none: of all.
    pub flows: Option<Vec<FlowId>>,
    /// In these states; none: in any.
    pub states: Vec<RunState>,
    /// Older than this one.
    pub before: Option<RunId>,
    /// At most so many.
    pub limit: usize,
}

/// A flow, and what runs of it.
#[derive(Clone, Debug)]
pub struct FlowRow {
    /// The flow.
    pub flow: Flow,
    /// Runs that have begun and not ended.
    pub running: i64,
    /// Runs that wait for room.
    pub queued: i64,
    /// The newest run.
    pub last: Option<RunRow>,
}

/// A task of a run, or an instance of one, as it stands.
#[derive(Clone, Debug)]
pub struct TaskRow {
    /// Its number in the plan.
    pub task: i16,
    /// The instance; -1: the task itself.
    pub item: i32,
    /// What it is.
    pub state: TaskState,
    /// How many attempts there were.
    pub attempts: i32,
    /// When it can be launched.
    pub due_at: Option<Timestamp>,
    /// When it was done.
    pub ended_at: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<String>,
    /// What came of it, where that is not large.
    pub output: Option<Value>,
    /// Instances of a mapped task.
    pub items: i32,
    /// Those that are not done.
    pub items_left: i32,
    /// Those that failed.
    pub items_failed: i32,
    /// The pool that it needs slots of.
    pub pool: Option<i32>,
    /// How many.
    pub slots: i32,
}

/// An attempt, of now or of the past.
#[derive(Clone, Debug)]
pub struct AttemptRow {
    /// Its task's number in the plan.
    pub task: i16,
    /// The instance; -1: the task itself.
    pub item: i32,
    /// From 1.
    pub attempt: i32,
    /// Its fencing token.
    pub token: i64,
    /// The name of the instance that looked after it.
    pub instance: String,
    /// When it was launched.
    pub launched_at: Timestamp,
    /// When it ended; none: it lives.
    pub ended_at: Option<Timestamp>,
    /// How it ended.
    pub outcome: Option<TaskState>,
    /// Why it failed.
    pub error: Option<String>,
    /// The end of its log.
    pub log: Option<String>,
}

/// What became of a moment of a schedule, or of several in a row.
#[derive(Clone, Debug)]
pub struct SlotRow {
    /// When it was; of several, the first.
    pub at: Timestamp,
    /// The last.
    pub until: Timestamp,
    /// How many.
    pub count: i64,
    /// What became of it.
    pub state: Option<SlotState>,
    /// Why it did not run by itself.
    pub reason: Option<String>,
    /// The run that does its work.
    pub run: Option<RunId>,
}

/// The columns of a [`TaskRow`], of live runs and of those that have ended. Outputs of more than 16 KiB are left out: of ten
/// thousand tasks nobody could take them all.
const TASKS: &str = "\
SELECT no, item, state, attempt, due_at, ended_at, error, CASE WHEN pg_column_size(output) <= 16384 THEN output END, items,
       items_left, items_failed, pool, slots
FROM scheduler.task WHERE run_id = $1 AND item = ANY($2::integer[])
UNION ALL
SELECT no, item, state, attempt, NULL, ended_at, error, CASE WHEN pg_column_size(output) <= 16384 THEN output END, items, 0,
       items_failed, NULL, 0
FROM scheduler.task_done WHERE run_id = $1 AND item = ANY($2::integer[])
ORDER BY 1, 2";

const ATTEMPTS: &str = "\
SELECT a.no, a.item, a.attempt, a.token, coalesce(i.name, ''), a.launched_at, a.ended_at, a.outcome, a.error, a.log FROM (
    SELECT no, item, attempt, token, instance, launched_at, NULL::timestamptz AS ended_at, NULL::smallint AS outcome,
           NULL::text AS error, NULL::text AS log
    FROM scheduler.launch WHERE run_id = $1
    UNION ALL
    SELECT no, item, attempt, token, instance, launched_at, ended_at, outcome, error, log
    FROM scheduler.attempt WHERE run_id = $1
) a LEFT JOIN scheduler.instance i ON i.id = a.instance
WHERE ($2::smallint IS NULL OR a.no = $2) AND ($3::integer IS NULL OR a.item = $3)
ORDER BY a.token DESC LIMIT $4";

impl Store {
    /// Flows in force whose DAG's name begins with a text, by name.
    pub async fn flows(&self, prefix: &str) -> Result<Vec<FlowRow>> {
        self.flow_rows("f.active AND starts_with(f.dag, $1)", &[&prefix]).await
    }

    /// The flows of a DAG, also those that have been in force once: they may have runs.
    pub async fn flows_of(&self, dag: &str) -> Result<Vec<FlowRow>> {
        self.flow_rows("f.dag = $1", &[&dag]).await
    }

    /// A flow, in force or not.
    pub async fn flow_row(&self, flow: FlowId) -> Result<Option<FlowRow>> {
        Ok(self.flow_rows("f.id = $1", &[&flow.0]).await?.pop())
    }

    async fn flow_rows(&self, condition: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<FlowRow>> {
        let client = self.pool.get().await?;
        let select = format!(
            "SELECT {FLOW}, (SELECT count(*) FROM scheduler.run r WHERE r.flow_id = f.id AND r.state = 1), \
             (SELECT count(*) FROM scheduler.run r WHERE r.flow_id = f.id AND r.state = 0) \
             FROM scheduler.flow f WHERE {condition} ORDER BY f.dag, f.binding"
        );
        let mut flows = Vec::new();
        for row in client.query(&select, parameters).await.map_err(db)? {
            flows.push(FlowRow { flow: Flow::read(&row)?, running: row.get(9), queued: row.get(10), last: None });
        }
        let ids: Vec<i32> = flows.iter().map(|flow| flow.flow.id.0).collect();
        let last = format!(
            "SELECT {RUN} FROM unnest($1::integer[]) AS w(id) CROSS JOIN LATERAL \
             (SELECT * FROM scheduler.run WHERE flow_id = w.id ORDER BY id DESC LIMIT 1) r \
             JOIN scheduler.flow f ON f.id = r.flow_id"
        );
        let mut runs = BTreeMap::new();
        for row in client.query(&last, &[&ids]).await.map_err(db)? {
            let run = RunRow::read(&row)?;
            runs.insert(run.flow, run);
        }
        for flow in &mut flows {
            flow.last = runs.remove(&flow.flow.id);
        }
        Ok(flows)
    }

    /// Runs, newest first.
    pub async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRow>> {
        let client = self.pool.get().await?;
        let select = format!(
            "SELECT {RUN} FROM scheduler.run r JOIN scheduler.flow f ON f.id = r.flow_id \
             WHERE ($1::integer[] IS NULL OR r.flow_id = ANY($1)) AND ($2::smallint[] = '{{}}' OR r.state = ANY($2)) \
             AND r.id < $3 ORDER BY r.id DESC LIMIT $4"
        );
        let flows: Option<Vec<i32>> = query.flows.as_ref().map(|flows| flows.iter().map(|flow| flow.0).collect());
        let states: Vec<i16> = query.states.iter().map(|state| state.number()).collect();
        let (before, limit) = (query.before.map_or(i64::MAX, |run| run.0), query.limit as i64);
        let rows = client.query(&select, &[&flows, &states, &before, &limit]).await.map_err(db)?;
        rows.iter().map(RunRow::read).collect()
    }

    /// A run by its number.
    pub async fn run(&self, run: RunId) -> Result<Option<RunRow>> {
        let client = self.pool.get().await?;
        let select =
            format!("SELECT {RUN} FROM scheduler.run r JOIN scheduler.flow f ON f.id = r.flow_id WHERE r.id = $1");
        client.query_opt(&select, &[&run.0]).await.map_err(db)?.as_ref().map(RunRow::read).transpose()
    }

    /// A run by its key.
    pub async fn run_of_key(&self, flow: FlowId, key: &str) -> Result<Option<RunId>> {
        let client = self.pool.get().await?;
        let select = "SELECT id FROM scheduler.run WHERE flow_id = $1 AND key = $2";
        Ok(client.query_opt(select, &[&flow.0, &key]).await.map_err(db)?.map(|row| RunId(row.get(0))))
    }

    /// The newest run of a flow of a logical date, and what it is.
    pub async fn newest_run_at(&self, dag: &str, binding: &str, at: Timestamp) -> Result<Option<(RunId, RunState)>> {
        let client = self.pool.get().await?;
        let select = "SELECT r.id, r.state FROM scheduler.run r JOIN scheduler.flow f ON f.id = r.flow_id \
                      WHERE f.dag = $1 AND f.binding = $2 AND r.logical_at = $3 ORDER BY r.id DESC LIMIT 1";
        let row = client.query_opt(select, &[&dag, &binding, &at]).await.map_err(db)?;
        let state =
            |row: &Row| RunState::from_number(row.get(1)).ok_or_else(|| Error::Strange("a run's state".to_owned()));
        row.map(|row| Ok((RunId(row.get(0)), state(&row)?))).transpose()
    }

    /// Whether a flow has a run of a logical date that has succeeded.
    pub async fn has_succeeded(&self, dag: &str, binding: &str, logical_at: Timestamp) -> Result<bool> {
        let client = self.pool.get().await?;
        let select = "SELECT EXISTS (SELECT FROM scheduler.run r JOIN scheduler.flow f ON f.id = r.flow_id \
                      WHERE f.dag = $1 AND f.binding = $2 AND r.logical_at = $3 AND r.state = 10)";
        let select = client.prepare_cached(select).await.map_err(db)?;
        Ok(client.query_one(&select, &[&dag, &binding, &logical_at]).await.map_err(db)?.get(0))
    }

    /// The tasks of a run, by number. None of one that has not begun.
    pub async fn tasks(&self, run: RunId) -> Result<Vec<TaskRow>> {
        let client = self.pool.get().await?;
        let rows = client.query(TASKS, &[&run.0, &vec![WHOLE]]).await.map_err(db)?;
        rows.iter().map(task).collect()
    }

    /// Instances of a mapped task that are not done and wait for something.
    pub async fn waiting_items(&self, run: RunId, task_number: i16, limit: i64) -> Result<Vec<TaskRow>> {
        let client = self.pool.get().await?;
        let select = "SELECT no, item, state, attempt, due_at, ended_at, error, output, items, items_left, items_failed, \
                      pool, slots FROM scheduler.task WHERE run_id = $1 AND no = $2 AND item >= 0 AND state IN (0, 1) \
                      ORDER BY item LIMIT $3";
        let rows = client.query(select, &[&run.0, &task_number, &limit]).await.map_err(db)?;
        rows.iter().map(task).collect()
    }

    /// Attempts of a run's tasks, newest first.
    pub async fn attempts(
        &self,
        run: RunId,
        task: Option<i16>,
        item: Option<i32>,
        limit: usize,
    ) -> Result<Vec<AttemptRow>> {
        let client = self.pool.get().await?;
        let rows = client.query(ATTEMPTS, &[&run.0, &task, &item, &(limit as i64)]).await.map_err(db)?;
        let attempt = |row: &Row| AttemptRow {
            task: row.get(0),
            item: row.get(1),
            attempt: row.get(2),
            token: row.get(3),
            instance: row.get(4),
            launched_at: row.get(5),
            ended_at: row.get(6),
            outcome: row.get::<_, Option<i16>>(7).and_then(TaskState::from_number),
            error: row.get(8),
            log: row.get(9),
        };
        Ok(rows.iter().map(attempt).collect())
    }

    /// How many instances hold a lease.
    pub async fn instances(&self) -> Result<usize> {
        let client = self.pool.get().await?;
        let select = "SELECT count(*) FROM scheduler.instance WHERE ended_at IS NULL AND lease_until > now()";
        Ok(client.query_one(select, &[]).await.map_err(db)?.get::<_, i64>(0) as usize)
    }

    /// Slots of a flow between two instants, newest first.
    pub async fn slots(
        &self,
        flow: FlowId,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
        limit: usize,
    ) -> Result<Vec<SlotRow>> {
        let client = self.pool.get().await?;
        let select = "SELECT at, until, count, state, reason, run_id FROM scheduler.slot \
                      WHERE flow_id = $1 AND ($2::timestamptz IS NULL OR until >= $2) AND ($3::timestamptz IS NULL OR at < $3) \
                      ORDER BY at DESC LIMIT $4";
        let rows = client.query(select, &[&flow.0, &from, &to, &(limit as i64)]).await.map_err(db)?;
        let slot = |row: &Row| SlotRow {
            at: row.get(0),
            until: row.get(1),
            count: row.get(2),
            state: SlotState::from_number(row.get(3)),
            reason: row.get(4),
            run: row.get::<_, Option<i64>>(5).map(RunId),
        };
        Ok(rows.iter().map(slot).collect())
    }

    /// The time, as the database has it.
    pub async fn now(&self) -> Result<Timestamp> {
        let client = self.pool.get().await?;
        Ok(client.query_one("SELECT now()", &[]).await.map_err(db)?.get(0))
    }
}

fn task(row: &Row) -> Result<TaskRow> {
    Ok(TaskRow {
        task: row.get(0),
        item: row.get(1),
        state: TaskState::from_number(row.get(2)).ok_or_else(|| Error::Strange("a task's state".to_owned()))?,
        attempts: row.get(3),
        due_at: row.get(4),
        ended_at: row.get(5),
        error: row.get(6),
        output: row.get(7),
        items: row.get(8),
        items_left: row.get(9),
        items_failed: row.get(10),
        pool: row.get(11),
        slots: row.get(12),
    })
}
