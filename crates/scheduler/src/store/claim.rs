use std::sync::atomic::Ordering;

use jiff::Timestamp;
use millrace_postgres::{Client, GenericClient, Row, Transaction};
use serde_json::Value;

use super::{InstanceId, Key, Store, db, key, pools};
use crate::error::Result;

/// An attempt that is to be launched: what it is known by, wherever it runs, is its key, number and token.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// The task.
    pub key: Key,
    /// From 1.
    pub attempt: i32,
    /// How many attempts before it failed by their own fault.
    pub retries: i32,
    /// Its fencing token.
    pub token: i64,
    /// The item of an instance of a mapped task.
    pub value: Option<Value>,
    /// When it was launched.
    pub launched_at: Timestamp,
    /// It was told to end.
    pub cancelled: bool,
    /// From when on it could be launched.
    pub due_at: Option<Timestamp>,
    /// How often its run was cleared.
    pub epoch: i32,
    /// Where it was launched.
    pub place: String,
}

/// The columns of a [`Launch`], of a live attempt `l` and its task `t`.
macro_rules! launch_columns {
    () => {
        "l.run_id, l.no, l.item, l.attempt, t.retries, l.token, t.value, l.launched_at, l.cancelled, t.due_at, t.epoch, \
         l.place"
    };
}
pub(super) use launch_columns;

impl From<&Row> for Launch {
    fn from(row: &Row) -> Self {
        Self {
            key: key(row),
            attempt: row.get(3),
            retries: row.get(4),
            token: row.get(5),
            value: row.get(6),
            launched_at: row.get(7),
            cancelled: row.get(8),
            due_at: row.get(9),
            epoch: row.get(10),
            place: row.get(11),
        }
    }
}

/// How much is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// At most so many tasks.
    pub most: usize,
    /// At most so many of them in the background.
    pub background: usize,
}

impl From<usize> for Share {
    fn from(most: usize) -> Self {
        Self { most, background: most }
    }
}

/// What is ready goes first by class, then by priority, then by how long it has been due. The intent to launch is written
/// with the step from ready. An instance that was taken over claims nothing, and none is taken over while it claims.
const CLAIM: &str = concat!(
    "\
WITH me AS MATERIALIZED (
    SELECT id, place FROM scheduler.instance WHERE id = $2 AND ended_at IS NULL FOR KEY SHARE SKIP LOCKED
), live AS (
    SELECT run_id, no, item FROM scheduler.task
    WHERE state = 1 AND pool IS NULL AND class = 0 AND due_at <= now() AND EXISTS (SELECT FROM me)
    ORDER BY class, priority DESC, due_at LIMIT $1 FOR UPDATE SKIP LOCKED
), background AS (
    SELECT run_id, no, item FROM scheduler.task
    WHERE state = 1 AND pool IS NULL AND class = 1 AND due_at <= now() AND EXISTS (SELECT FROM me)
    ORDER BY class, priority DESC, due_at LIMIT $3 FOR UPDATE SKIP LOCKED
), picked AS (
    SELECT * FROM live UNION ALL SELECT * FROM background LIMIT $1
), t AS (
    UPDATE scheduler.task t SET state = 2, attempt = t.attempt + 1
    FROM picked p WHERE t.run_id = p.run_id AND t.no = p.no AND t.item = p.item
    RETURNING t.run_id, t.no, t.item, t.attempt, t.retries, t.value, t.due_at, t.epoch
), l AS (
    INSERT INTO scheduler.launch (token, run_id, no, item, attempt, instance, place)
    SELECT nextval('scheduler.token'), t.run_id, t.no, t.item, t.attempt, me.id, me.place FROM t, me
    RETURNING run_id, no, item, attempt, token, launched_at, cancelled, place
)
SELECT ",
    launch_columns!(),
    " FROM l JOIN t USING (run_id, no, item)"
);

impl Store {
    /// Takes tasks that are ready, for an instance.
    pub async fn claim(&self, instance: InstanceId, share: impl Into<Share>) -> Result<Vec<Launch>> {
        let share = share.into();
        Self::again(|| self.claim_once(instance, share)).await
    }

    async fn claim_once(&self, instance: InstanceId, share: Share) -> Result<Vec<Launch>> {
        let mut client = self.pool.get().await?;
        let (mut launches, background) = if self.pooled.load(Ordering::Relaxed) && pools::is_wanted(&client).await? {
            self.claim_pooled(&mut client, instance, share).await?
        } else {
            (Vec::new(), 0)
        };
        let left = Share { most: share.most - launches.len(), background: share.background - background };
        launches.extend(unpooled(&client, instance, left).await?);
        Ok(launches)
    }

    /// Takes tasks that need no pool; none where there may be some that do, which might go before them.
    pub(super) async fn claim_unpooled(
        &self,
        tx: &Transaction<'_>,
        instance: InstanceId,
        share: Share,
    ) -> Result<Option<Vec<Launch>>> {
        if self.pooled.load(Ordering::Relaxed) && pools::is_wanted(tx).await? {
            return Ok(None);
        }
        Ok(Some(unpooled(tx, instance, share).await?))
    }

    /// Takes tasks that need slots of a pool, where there are some; with how many of them are in the background. A pool that
    /// another replica is claiming from is passed over.
    async fn claim_pooled(
        &self,
        client: &mut Client,
        instance: InstanceId,
        share: Share,
    ) -> Result<(Vec<Launch>, usize)> {
        let transaction = client.transaction().await.map_err(db)?;
        let rows = pools::claim(&transaction, instance, share).await?;
        transaction.commit().await.map_err(db)?;
        Ok(rows)
    }
}

async fn unpooled(client: &impl GenericClient, instance: InstanceId, share: Share) -> Result<Vec<Launch>> {
    let claim = client.prepare_cached(CLAIM).await.map_err(db)?;
    let (most, background) = (share.most as i64, share.background as i64);
    let rows = client.query(&claim, &[&most, &instance.0, &background]).await.map_err(db)?;
    Ok(rows.iter().map(Launch::from).collect())
}
