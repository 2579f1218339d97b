//! What is told to end, and what has waited for too long.

use std::{collections::BTreeMap, sync::Arc};

use millrace_postgres::Transaction;

use super::{CANCEL, Finished, Key, READY, RunId, Store, admit, db, key, successors::Progress};
use crate::{
    error::{Error, Result},
    plan::{Hash, Plan},
    state::TaskState,
};

/// The tasks of runs, in the order in which everybody locks them.
const LOCK: &str = "\
SELECT run_id FROM scheduler.task WHERE run_id = ANY($1::bigint[]) ORDER BY run_id, no, item FOR UPDATE";

/// What waits, ends; what is active is told to end. The instances of a mapped task are counted with it.
const CANCEL_TASKS: &str = "\
WITH told AS (
    UPDATE scheduler.launch SET cancelled = true WHERE run_id = ANY($1::bigint[]) RETURNING 1
), runs AS (
    UPDATE scheduler.run SET cancelled = true WHERE id = ANY($1::bigint[]) AND state = 1
)
UPDATE scheduler.task SET state = 14, ended_at = now(), error = $2
WHERE run_id = ANY($1::bigint[]) AND state IN (0, 1)
RETURNING run_id, no, item, (SELECT count(*) FROM told)";

/// Tasks that have been ready for longer than they may.
const IMPATIENT: &str = "\
SELECT run_id, no, item FROM scheduler.task
WHERE state = 1 AND patience IS NOT NULL AND due_at + make_interval(secs => patience) < now()
ORDER BY run_id, no, item LIMIT $1 FOR UPDATE SKIP LOCKED";

/// They fail.
const FAIL: &str = "\
UPDATE scheduler.task t SET state = 11, ended_at = now(), error = $4
FROM unnest($1::bigint[], $2::smallint[], $3::integer[]) AS d(run_id, no, item)
WHERE t.run_id = d.run_id AND t.no = d.no AND t.item = d.item AND t.state = 1";

/// How many tasks a sweep fails at once.
const BATCH: i64 = 500;

impl Store {
    /// Tells runs to end. Those that have not begun are ended at once; of the others, what waits, and the rest when it
    /// has ended.
    pub async fn cancel(&self, runs: &[RunId], why: &str) -> Result<Finished> {
        Self::again(|| self.cancel_once(runs, why)).await
    }

    async fn cancel_once(&self, runs: &[RunId], why: &str) -> Result<Finished> {
        let mut client = self.pool.get().await?;
        let transaction = client.transaction().await.map_err(db)?;
        let finished = self.cancel_in(&transaction, runs, why).await?;
        transaction.commit().await.map_err(db)?;
        Ok(finished)
    }

    async fn cancel_in(&self, tx: &Transaction<'_>, runs: &[RunId], why: &str) -> Result<Finished> {
        admit::drop_queued(self, tx, runs).await?;
        let ids: Vec<i64> = runs.iter().map(|run| run.0).collect();
        let rows = super::successors::locked(tx, LOCK, 1, CANCEL_TASKS, &[&ids, &why]).await?;
        let finals: Vec<(Key, TaskState)> = rows.iter().map(|row| (key(row), TaskState::Cancelled)).collect();
        self.notify(tx, CANCEL).await?;
        self.follow(tx, finals).await
    }

    /// Fails tasks that have been ready for longer than they may.
    pub async fn fail_impatient(&self) -> Result<Finished> {
        Self::again(|| self.fail_impatient_once()).await
    }

    async fn fail_impatient_once(&self) -> Result<Finished> {
        let mut client = self.pool.get().await?;
        let transaction = client.transaction().await.map_err(db)?;
        let impatient = transaction.prepare_cached(IMPATIENT).await.map_err(db)?;
        let rows = transaction.query(&impatient, &[&BATCH]).await.map_err(db)?;
        if rows.is_empty() {
            return Ok(Finished::default());
        }
        let keys: Vec<Key> = rows.iter().map(key).collect();
        let runs: Vec<i64> = keys.iter().map(|key| key.run.0).collect();
        let tasks: Vec<i16> = keys.iter().map(|key| key.task).collect();
        let items: Vec<i32> = keys.iter().map(|key| key.item).collect();
        let fail = transaction.prepare_cached(FAIL).await.map_err(db)?;
        let why = "was ready for longer than its queue timeout";
        transaction.execute(&fail, &[&runs, &tasks, &items, &why]).await.map_err(db)?;
        let finals = keys.into_iter().map(|key| (key, TaskState::Failed)).collect();
        let finished = self.follow(&transaction, finals).await?;
        transaction.commit().await.map_err(db)?;
        Ok(finished)
    }

    /// Runs that go on for longer than they may.
    pub async fn overdue(&self) -> Result<Vec<RunId>> {
        let client = self.pool.get().await?;
        let select = "SELECT id FROM scheduler.run WHERE state = 1 AND timeout_at < now() AND NOT cancelled LIMIT 100";
        let select = client.prepare_cached(select).await.map_err(db)?;
        Ok(client.query(&select, &[]).await.map_err(db)?.iter().map(|row| RunId(row.get(0))).collect())
    }

    /// What follows from tasks that have ended without an attempt.
    async fn follow(&self, tx: &Transaction<'_>, finals: Vec<(Key, TaskState)>) -> Result<Finished> {
        let plans = self.pinned(tx, finals.iter().map(|(key, _)| key.run.0).collect()).await?;
        let mut progress = Progress::new(self, tx, &plans);
        let wholes = progress.instances(finals.into_iter()).await?;
        progress.wholes(wholes).await?;
        let (ready, ended) = progress.end().await?;
        if ready > 0 {
            self.notify(tx, READY).await?;
        }
        Ok(Finished { ready, ended, ..Finished::default() })
    }

    /// The plans that runs are pinned to.
    async fn pinned(&self, tx: &Transaction<'_>, mut runs: Vec<i64>) -> Result<BTreeMap<RunId, Arc<Plan>>> {
        runs.sort_unstable();
        runs.dedup();
        let select = "SELECT id, hash FROM scheduler.run WHERE id = ANY($1::bigint[])";
        let mut plans = BTreeMap::new();
        for row in tx.query(select, &[&runs]).await.map_err(db)? {
            plans.insert(RunId(row.get(0)), self.plans.get(tx, Hash::read(row.get(1))?).await?);
        }
        if plans.len() == runs.len() { Ok(plans) } else { Err(Error::Strange("tasks without a run".to_owned())) }
    }
}
