//! Tasks of a run that has ended, run again with what comes after them.

use std::collections::{BTreeMap, BTreeSet};

use millrace_postgres::Transaction;
use serde_json::Value;

use super::{
    READY, RunId, Store, WHOLE, db, deadlines,
    tasks::{Tasks, seconds},
};
use crate::{
    apply::differences,
    document::Binding,
    error::{Error, Result},
    plan::{Hash, Plan},
    rule::Counts,
    state::{RunState, TaskState},
};

/// What is run again, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleared {
    /// The tasks, in an order in which they can run.
    pub tasks: Vec<String>,
    /// What the document as it is now has otherwise.
    pub differences: Vec<String>,
}

/// A task that was done.
struct Before {
    state: TaskState,
    attempt: i32,
}

/// The run, as it ended.
const RUN: &str = "\
SELECT r.state, r.hash, r.binding_hash, f.hash, f.binding_hash, r.class FROM scheduler.run r
JOIN scheduler.flow f ON f.id = r.flow_id WHERE r.id = $1 FOR UPDATE OF r";

/// It goes on.
const BEGIN: &str = "\
UPDATE scheduler.run SET state = 1, cancelled = false, hash = $2, binding_hash = $3, tasks_left = $4, epoch = epoch + 1,
       started_at = now(), ended_at = NULL, timeout_at = now() + make_interval(secs => $5) WHERE id = $1";

/// What stays as it was, with the instances of mapped tasks.
const KEEP: &str = "\
WITH before AS (
    DELETE FROM scheduler.task_done WHERE run_id = $1
    RETURNING no, item, state, attempt, items, items_failed, items_skipped, value, output, error, ended_at
)
INSERT INTO scheduler.task (run_id, no, item, state, class, priority, attempt, needs, items, items_failed, items_skipped,
                            value, output, error, ended_at)
SELECT $1, k.new, b.item, b.state, $4, 0, b.attempt, 0, b.items, b.items_failed, b.items_skipped, b.value, b.output, b.error,
       b.ended_at
FROM before b JOIN unnest($2::smallint[], $3::smallint[]) AS k(old, new) ON k.old = b.no";

/// What runs again.
const AGAIN: &str = "\
INSERT INTO scheduler.task (run_id, no, item, state, class, priority, attempt, needs, succeeded, failed, skipped, patience,
                            pool, slots, due_at, ended_at, epoch)
SELECT $1, t.no, $2, t.state, $3, t.priority, t.attempt, t.needs, t.succeeded, t.failed, t.skipped, t.patience, p.id, t.slots,
       CASE WHEN t.state = 1 THEN now() END, CASE WHEN t.state >= 10 THEN now() END,
       (SELECT epoch FROM scheduler.run WHERE id = $1)
FROM unnest($4::smallint[], $5::smallint[], $6::smallint[], $7::integer[], $8::integer[], $9::integer[], $10::integer[],
            $11::integer[], $12::double precision[], $13::text[], $14::integer[])
    AS t(no, state, priority, attempt, needs, succeeded, failed, skipped, patience, pool, slots)
LEFT JOIN scheduler.pool p ON p.name = t.pool";

impl Store {
    /// Runs tasks of a run that has ended again, with what comes after them; none named: those that did not succeed. With
    /// `latest`, by the document as it is now. Says what that is; with `dry_run`, does nothing else.
    pub async fn clear(&self, run: RunId, names: &[String], latest: bool, dry_run: bool) -> Result<Cleared> {
        Self::again(|| self.clear_once(run, names, latest, dry_run)).await
    }

    async fn clear_once(&self, run: RunId, names: &[String], latest: bool, dry_run: bool) -> Result<Cleared> {
        let mut client = self.pool.get().await?;
        let tx = client.transaction().await.map_err(db)?;
        let row = tx.query_opt(RUN, &[&run.0]).await.map_err(db)?;
        let row = row.ok_or_else(|| Error::NotFound(format!("run {}", run.0)))?;
        if !RunState::from_number(row.get(0)).is_some_and(RunState::is_final) {
            return Err(Error::Invalid(format!("run {} has not ended: cancel it first", run.0)));
        }
        let (plan, binding) = if latest { (3, 4) } else { (1, 2) };
        let binding_hash: Option<&[u8]> = row.get(binding);
        let (plan, binding) = self.plans.pinned(&tx, row.get(plan), binding_hash).await?;
        let pinned = self.plans.get(&tx, Hash::read(row.get(1))?).await?;
        let newest = self.plans.get(&tx, Hash::read(row.get(3))?).await?;
        let class: i16 = row.get(5);
        let before = before(&tx, run, &pinned).await?;
        let again = chosen(&plan, &before, names)?;
        let cleared = Cleared {
            tasks: again.iter().map(|task| plan.graph.name(*task).to_owned()).collect(),
            differences: document_differences(&pinned, &newest),
        };
        if again.is_empty() {
            return Ok(cleared);
        }
        let rows = Rows::of(&plan, binding.as_deref(), &before, &again);
        let left = rows.states.iter().filter(|state| **state < 10).count() as i32;
        if left == 0 {
            let problem = "nothing can run again: what these tasks wait for is as it was, and does not let them";
            return Err(Error::Invalid(problem.to_owned()));
        }
        if dry_run {
            return Ok(cleared);
        }
        let timeout = plan.dag.spec.timeout.map(seconds);
        tx.execute(BEGIN, &[&run.0, &plan.hash.0.as_slice(), &binding_hash, &left, &timeout]).await.map_err(db)?;
        keep(&tx, run, class, &pinned, &plan, &again).await?;
        rows.insert(&tx, run, class).await?;
        deadlines::news(self, &tx, &BTreeSet::from([run])).await?;
        self.notify(&tx, READY).await?;
        tx.commit().await.map_err(db)?;
        Ok(cleared)
    }
}

fn document_differences(pinned: &Plan, newest: &Plan) -> Vec<String> {
    let value = |plan: &Plan| serde_json::from_str::<Value>(&plan.text).unwrap_or_default();
    if pinned.hash == newest.hash { Vec::new() } else { differences(&value(pinned), &value(newest)) }
}

/// What became of the tasks, by their names.
async fn before(tx: &Transaction<'_>, run: RunId, pinned: &Plan) -> Result<BTreeMap<String, Before>> {
    let select = "SELECT no, state, attempt FROM scheduler.task_done WHERE run_id = $1 AND item = $2";
    let rows = tx.query(select, &[&run.0, &WHOLE]).await.map_err(db)?;
    let mut before = BTreeMap::new();
    for row in rows {
        let state = TaskState::from_number(row.get(1)).ok_or_else(|| Error::Strange("a task's state".to_owned()))?;
        let name = pinned.graph.name(row.get::<_, i16>(0) as usize).to_owned();
        before.insert(name, Before { state, attempt: row.get(2) });
    }
    Ok(before)
}

/// The tasks that run again: those named, or that did not succeed, those that are new, and all that come after.
fn chosen(plan: &Plan, before: &BTreeMap<String, Before>, names: &[String]) -> Result<BTreeSet<usize>> {
    let mut open = Vec::new();
    for name in names {
        open.push(plan.graph.number(name).ok_or_else(|| Error::NotFound(format!("task {name:?}")))?);
    }
    for task in 0..plan.graph.len() {
        match before.get(plan.graph.name(task)) {
            None => open.push(task),
            Some(Before { state, .. }) if names.is_empty() && state.is_failure() => open.push(task),
            Some(_) => {}
        }
    }
    let mut again = BTreeSet::new();
    while let Some(task) = open.pop() {
        if again.insert(task) {
            open.extend(plan.graph.successors(task));
        }
    }
    Ok(again)
}

/// Puts what stays as it was back among what lives, by the numbers of the plan that the run has now.
async fn keep(
    tx: &Transaction<'_>,
    run: RunId,
    class: i16,
    pinned: &Plan,
    plan: &Plan,
    again: &BTreeSet<usize>,
) -> Result<()> {
    let kept = (0..plan.graph.len()).filter(|task| !again.contains(task));
    let (old, new): (Vec<i16>, Vec<i16>) =
        kept.filter_map(|task| Some((pinned.graph.number(plan.graph.name(task))? as i16, task as i16))).unzip();
    tx.execute(KEEP, &[&run.0, &old, &new, &class]).await.map_err(db)?;
    Ok(())
}

/// The tasks that run again, as Postgres takes them.
#[derive(Default)]
struct Rows {
    tasks: Tasks,
    states: Vec<i16>,
    attempts: Vec<i32>,
    succeeded: Vec<i32>,
    failed: Vec<i32>,
    skipped: Vec<i32>,
}

impl Rows {
    /// What stays as it was counts for those that wait for it, and may decide some of them at once.
    fn of(plan: &Plan, binding: Option<&Binding>, before: &BTreeMap<String, Before>, again: &BTreeSet<usize>) -> Self {
        let mut rows = Self::default();
        let mut decided: BTreeMap<usize, TaskState> = BTreeMap::new();
        for &task in again {
            let mut counts = Counts { total: plan.waits_for(task).len() as u32, ..Counts::default() };
            for &need in plan.graph.needs(task) {
                let kept = || before.get(plan.graph.name(need)).map(|it| it.state);
                let state = if again.contains(&need) { decided.get(&need).copied() } else { kept() };
                match state {
                    Some(TaskState::Succeeded) => counts.succeeded += 1,
                    Some(TaskState::Skipped) => counts.skipped += 1,
                    Some(state) if state.is_final() => counts.failed += 1,
                    _ => {}
                }
            }
            let decision = counts.decide(plan.tasks[task].task.when);
            let state = TaskState::decided(decision).unwrap_or(TaskState::Waiting);
            if state.is_final() {
                decided.insert(task, state);
            }
            rows.tasks.push(plan, task, binding);
            rows.states.push(state.number());
            rows.attempts.push(before.get(plan.graph.name(task)).map_or(0, |it| it.attempt));
            rows.succeeded.push(counts.succeeded as i32);
            rows.failed.push(counts.failed as i32);
            rows.skipped.push(counts.skipped as i32);
        }
        rows
    }

    async fn insert(&self, tx: &Transaction<'_>, run: RunId, class: i16) -> Result<()> {
        self.tasks.make_pools(tx).await?;
        let Self { tasks, states, attempts, succeeded, failed, skipped } = self;
        let Tasks { numbers, needs, priorities, patience, pools, slots } = tasks;
        tx.execute(
            AGAIN,
            &[
                &run.0, &WHOLE, &class, numbers, states, priorities, attempts, needs, succeeded, failed, skipped,
                patience, pools, slots,
            ],
        )
        .await
        .map_err(db)?;
        Ok(())
    }
}
