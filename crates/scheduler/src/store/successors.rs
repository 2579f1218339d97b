//! What follows from tasks that are done, in the transaction in which they are.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::future::try_join;
use millrace_postgres::{Row, Transaction, types::ToSql};

use super::{FlowId, Key, RunId, Store, WHOLE, admit, db, deadlines};
use crate::{
    error::{Error, Result},
    plan::Plan,
    rule::Counts,
    state::{RunState, TaskState},
};

/// What became of some tasks, in numbers.
#[derive(Clone, Copy, Default)]
struct Tally {
    succeeded: i32,
    failed: i32,
    skipped: i32,
}

impl Tally {
    fn add(&mut self, state: TaskState) {
        match state {
            TaskState::Succeeded => self.succeeded += 1,
            TaskState::Skipped => self.skipped += 1,
            _ => self.failed += 1,
        }
    }

    fn total(self) -> i32 {
        self.succeeded + self.failed + self.skipped
    }
}

/// Rows that several transactions count in are locked by a statement of their own, in the order of their keys. A
/// statement that locks and updates at once may pass over a row that another transaction has just changed: its update
/// would be lost without a word.
const LOCK_TASKS: &str = "\
SELECT t.no FROM scheduler.task t
JOIN unnest($1::bigint[], $2::smallint[]) AS d(run_id, no) ON t.run_id = d.run_id AND t.no = d.no AND t.item = -1
ORDER BY t.run_id, t.no FOR UPDATE OF t";

/// The same of runs.
const LOCK_RUNS: &str = "SELECT id FROM scheduler.run WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE";

/// The groups of mapped tasks lose the instances that are done.
const INSTANCES: &str = "\
WITH counted AS (
    UPDATE scheduler.task t
    SET items_left = t.items_left - d.done, items_next = least(t.items, t.items_next + d.done), items_failed = t.items_failed + d.failed, items_skipped = t.items_skipped + d.skipped,
        state = CASE WHEN t.items_left > d.done THEN t.state WHEN t.items_failed + d.failed > 0 THEN 11
                     WHEN t.items_skipped + d.skipped = t.items THEN 12 ELSE 10 END,
        ended_at = CASE WHEN t.items_left > d.done THEN NULL ELSE now() END
    FROM unnest($1::bigint[], $2::smallint[], $3::integer[], $4::integer[], $5::integer[]) AS d(run_id, no, done, failed, skipped)
    WHERE t.run_id = d.run_id AND t.no = d.no AND t.item = -1
    RETURNING t.run_id, t.no, t.item, t.state, t.items_left, t.items_next, d.done
), next AS (
    UPDATE scheduler.task t SET state = 1, due_at = now()
    FROM counted c WHERE t.run_id = c.run_id AND t.no = c.no AND t.state = 0
        AND t.item >= c.items_next - c.done AND t.item < c.items_next AND c.items_left > 0
    RETURNING 1
)
SELECT run_id, no, item, state, items_left = 0, (SELECT count(*) FROM next) FROM counted";

/// Those that wait learn what became of what they wait for.
const COUNT: &str = "\
UPDATE scheduler.task t
SET succeeded = t.succeeded + d.succeeded, failed = t.failed + d.failed, skipped = t.skipped + d.skipped
FROM unnest($1::bigint[], $2::smallint[], $3::integer[], $4::integer[], $5::integer[]) AS d(run_id, no, succeeded, failed, skipped)
WHERE t.run_id = d.run_id AND t.no = d.no AND t.item = -1
RETURNING t.run_id, t.no, t.item, t.state, t.needs, t.succeeded, t.failed, t.skipped";

/// What was decided. The rows are locked since they were counted.
const DECIDE: &str = "\
UPDATE scheduler.task t
SET state = d.state, due_at = CASE WHEN d.state = 1 THEN now() END, ended_at = CASE WHEN d.state >= 10 THEN now() END
FROM unnest($1::bigint[], $2::smallint[], $3::smallint[]) AS d(run_id, no, state)
WHERE t.run_id = d.run_id AND t.no = d.no AND t.item = -1";

/// Runs lose the tasks that are done.
const RUNS: &str = "\
UPDATE scheduler.run r SET tasks_left = r.tasks_left - d.done
FROM unnest($1::bigint[], $2::integer[]) AS d(id, done) WHERE r.id = d.id
RETURNING r.id, r.tasks_left, r.flow_id, r.cancelled, r.epoch";

/// Runs have ended.
const END: &str = "\
UPDATE scheduler.run r SET state = d.state, ended_at = now()
FROM unnest($1::bigint[], $2::smallint[]) AS d(id, state) WHERE r.id = d.id";

/// Hot tables hold what lives, and nothing else.
const AWAY: &str = "\
WITH done AS (
    DELETE FROM scheduler.task WHERE run_id = ANY($1::bigint[])
    RETURNING run_id, no, item, state, attempt, items, items_failed, items_skipped, value, output, error, ended_at
)
INSERT INTO scheduler.task_done (run_id, no, item, state, attempt, items, items_failed, items_skipped, value, output, error, ended_at)
SELECT run_id, no, item, state, attempt, items, items_failed, items_skipped, value, output, error, coalesce(ended_at, now()) FROM done";

/// What follows, step by step.
pub(super) struct Progress<'a> {
    store: &'a Store,
    tx: &'a Transaction<'a>,
    plans: &'a BTreeMap<RunId, Arc<Plan>>,
    /// Tasks that are done, by run.
    done: BTreeMap<RunId, i32>,
    /// Those of them that have deadlines.
    watched: BTreeSet<RunId>,
    /// What was decided and is not written: nothing more follows from it here, so that it goes with the next statement.
    unwritten: Vec<(Key, TaskState)>,
    ready: usize,
}

impl<'a> Progress<'a> {
    pub(super) fn new(store: &'a Store, tx: &'a Transaction<'a>, plans: &'a BTreeMap<RunId, Arc<Plan>>) -> Self {
        Self { store, tx, plans, done: BTreeMap::new(), watched: BTreeSet::new(), unwritten: Vec::new(), ready: 0 }
    }

    /// Tasks and instances that are done: gives the tasks, among them those whose last instance is done.
    pub(super) async fn instances(
        &mut self,
        finals: impl Iterator<Item = (Key, TaskState)>,
    ) -> Result<Vec<(Key, TaskState)>> {
        let mut wholes = Vec::new();
        let mut tallies: BTreeMap<Key, Tally> = BTreeMap::new();
        for (key, state) in finals {
            if key.item == WHOLE {
                wholes.push((key, state));
            } else {
                tallies.entry(key.whole()).or_default().add(state);
            }
        }
        if tallies.is_empty() {
            return Ok(wholes);
        }
        let (runs, tasks) = columns(tallies.keys());
        let number = |of: fn(&Tally) -> i32| tallies.values().map(of).collect::<Vec<i32>>();
        let (done, failed, skipped) = (number(|it| it.total()), number(|it| it.failed), number(|it| it.skipped));
        let rows = locked(self.tx, LOCK_TASKS, 2, INSTANCES, &[&runs, &tasks, &done, &failed, &skipped]).await?;
        self.ready += rows.first().map_or(0, |row| row.get::<_, i64>(5) as usize);
        for row in rows.iter().filter(|row| row.get(4)) {
            wholes.push((super::key(row), state(row.get(3))?));
        }
        Ok(wholes)
    }

    /// Tasks that are done: decides what waits for them, and what waits for that, until nothing more follows.
    pub(super) async fn wholes(&mut self, mut finals: Vec<(Key, TaskState)>) -> Result<()> {
        while !finals.is_empty() {
            let mut tallies: BTreeMap<Key, Tally> = BTreeMap::new();
            for (key, state) in &finals {
                *self.done.entry(key.run).or_default() += 1;
                if !self.plan(key.run)?.dag.spec.deadlines.is_empty() {
                    self.watched.insert(key.run);
                }
                for &successor in self.plan(key.run)?.graph.successors(key.task as usize) {
                    tallies.entry(Key { task: successor as i16, ..*key }).or_default().add(*state);
                }
            }
            let decided = self.count(&tallies).await?;
            finals = self.decide(decided).await?;
        }
        Ok(())
    }

    async fn count(&self, tallies: &BTreeMap<Key, Tally>) -> Result<Vec<(Key, TaskState)>> {
        if tallies.is_empty() {
            return Ok(Vec::new());
        }
        let (runs, tasks) = columns(tallies.keys());
        let number = |of: fn(&Tally) -> i32| tallies.values().map(of).collect::<Vec<i32>>();
        let (succeeded, failed, skipped) = (number(|it| it.succeeded), number(|it| it.failed), number(|it| it.skipped));
        let rows = locked(self.tx, LOCK_TASKS, 2, COUNT, &[&runs, &tasks, &succeeded, &failed, &skipped]).await?;
        let mut decided = BTreeSet::new();
        let mut states = Vec::new();
        for row in &rows {
            let key = super::key(row);
            if state(row.get(3))? != TaskState::Waiting {
                continue;
            }
            let count = |column: usize| row.get::<_, i32>(column) as u32;
            let counts = Counts { total: count(4), succeeded: count(5), failed: count(6), skipped: count(7) };
            let rule = self.plan(key.run)?.tasks[key.task as usize].task.when;
            if let Some(state) = TaskState::decided(counts.decide(rule))
                && decided.insert(key)
            {
                states.push((key, state));
            }
        }
        Ok(states)
    }

    /// Gives what is final of what was decided. That is written first; what nothing follows from, when the runs end.
    async fn decide(&mut self, decided: Vec<(Key, TaskState)>) -> Result<Vec<(Key, TaskState)>> {
        let finals: Vec<_> = decided.iter().filter(|(_, state)| state.is_final()).copied().collect();
        self.ready += decided.len() - finals.len();
        if finals.is_empty() {
            self.unwritten = decided;
        } else {
            self.write(&decided).await?;
        }
        Ok(finals)
    }

    async fn write(&self, decided: &[(Key, TaskState)]) -> Result<()> {
        if decided.is_empty() {
            return Ok(());
        }
        let (runs, tasks) = columns(decided.iter().map(|(key, _)| key));
        let states: Vec<i16> = decided.iter().map(|(_, state)| state.number()).collect();
        let statement = self.tx.prepare_cached(DECIDE).await.map_err(db)?;
        self.tx.execute(&statement, &[&runs, &tasks, &states]).await.map_err(db)?;
        Ok(())
    }

    /// Ends the runs that have nothing left. Gives how many tasks have become ready, and those runs.
    pub(super) async fn end(self) -> Result<(usize, Vec<(RunId, RunState)>)> {
        if self.done.is_empty() {
            return Ok((self.ready, Vec::new()));
        }
        let runs: Vec<i64> = self.done.keys().map(|run| run.0).collect();
        let done: Vec<i32> = self.done.values().copied().collect();
        let counted = [&runs as &(dyn ToSql + Sync), &done];
        let counting = locked(self.tx, LOCK_RUNS, 1, RUNS, &counted);
        let ((), rows) = try_join(self.write(&self.unwritten), counting).await?;
        // What was cleared may have a plan without the deadlines that are watched.
        let cleared = rows.iter().filter(|row| row.get::<_, i32>(4) > 0).map(|row| RunId(row.get(0)));
        let watched: BTreeSet<RunId> = cleared.chain(self.watched.iter().copied()).collect();
        deadlines::news(self.store, self.tx, &watched).await?;
        let over = || rows.iter().filter(|row| row.get::<_, i32>(1) == 0);
        let flows: BTreeSet<FlowId> = over().map(|row| FlowId(row.get(2))).collect();
        let cancelled: BTreeSet<i64> = over().filter(|row| row.get(3)).map(|row| row.get(0)).collect();
        let over: Vec<i64> = over().map(|row| row.get(0)).collect();
        if over.is_empty() {
            return Ok((self.ready, Vec::new()));
        }
        let ended = self.come_to(&over, &cancelled).await?;
        let states: Vec<i16> = ended.iter().map(|(_, state)| state.number()).collect();
        let ids: Vec<i64> = ended.iter().map(|(run, _)| run.0).collect();
        let statement = self.tx.prepare_cached(END).await.map_err(db)?;
        self.tx.execute(&statement, &[&ids, &states]).await.map_err(db)?;
        let statement = self.tx.prepare_cached(AWAY).await.map_err(db)?;
        self.tx.execute(&statement, &[&over]).await.map_err(db)?;
        let more = admit::admit(self.store, self.tx, &flows).await?;
        Ok((self.ready + more, ended))
    }

    /// What runs have come to, by their last tasks; those that were told to end, by that.
    async fn come_to(&self, over: &[i64], cancelled: &BTreeSet<i64>) -> Result<Vec<(RunId, RunState)>> {
        let select =
            "SELECT run_id, no, item, state FROM scheduler.task WHERE run_id = ANY($1::bigint[]) AND item = -1";
        let statement = self.tx.prepare_cached(select).await.map_err(db)?;
        let mut last: BTreeMap<RunId, Vec<TaskState>> = over.iter().map(|run| (RunId(*run), Vec::new())).collect();
        for row in self.tx.query(&statement, &[&over]).await.map_err(db)? {
            let key = super::key(&row);
            if self.plan(key.run)?.graph.successors(key.task as usize).is_empty() {
                last.entry(key.run).or_default().push(state(row.get(3))?);
            }
        }
        let state = |(run, states): (RunId, Vec<TaskState>)| {
            (run, if cancelled.contains(&run.0) { RunState::Cancelled } else { RunState::of(states) })
        };
        Ok(last.into_iter().map(state).collect())
    }

    fn plan(&self, run: RunId) -> Result<&'a Arc<Plan>> {
        self.plans.get(&run).ok_or_else(|| Error::Strange(format!("run {} without a plan", run.0)))
    }
}

/// Locks rows, by the first `keys` of the parameters, and then changes them; both are on their way at once.
pub(super) async fn locked(
    tx: &Transaction<'_>,
    lock: &str,
    keys: usize,
    change: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>> {
    let lock = tx.prepare_cached(lock).await.map_err(db)?;
    let change = tx.prepare_cached(change).await.map_err(db)?;
    let (locks, changes) = (tx.query(&lock, &parameters[..keys]), tx.query(&change, parameters));
    Ok(try_join(locks, changes).await.map_err(db)?.1)
}

fn state(number: i16) -> Result<TaskState> {
    TaskState::from_number(number).ok_or_else(|| Error::Strange(format!("a task's state {number}")))
}

fn columns<'a>(keys: impl Iterator<Item = &'a Key>) -> (Vec<i64>, Vec<i16>) {
    keys.map(|key| (key.run.0, key.task)).unzip()
}
