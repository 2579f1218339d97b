use serde_json::Value;

use super::{Key, Store, db, key};
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
}

/// What is ready goes first by class, then by priority, then by how long it has been due. The intent to launch is written
/// with the step from ready.
const CLAIM: &str = "\
WITH picked AS (
    SELECT run_id, no, item FROM scheduler.task
    WHERE state = 1 AND due_at <= now()
    ORDER BY class, priority DESC, due_at LIMIT $1 FOR UPDATE SKIP LOCKED
), active AS (
    UPDATE scheduler.task t SET state = 2, attempt = t.attempt + 1
    FROM picked p WHERE t.run_id = p.run_id AND t.no = p.no AND t.item = p.item
    RETURNING t.run_id, t.no, t.item, t.attempt, t.retries, t.value, nextval('scheduler.token') AS token
), intent AS (
    INSERT INTO scheduler.launch (token, run_id, no, item, attempt, instance)
    SELECT token, run_id, no, item, attempt, $2 FROM active
)
SELECT run_id, no, item, attempt, retries, token, value FROM active";

impl Store {
    /// Takes at most so many tasks that are ready, for an instance.
    pub async fn claim(&self, instance: i64, most: usize) -> Result<Vec<Launch>> {
        Self::again(|| self.claim_once(instance, most as i64)).await
    }

    async fn claim_once(&self, instance: i64, most: i64) -> Result<Vec<Launch>> {
        let client = self.pool.get().await?;
        let claim = client.prepare_cached(CLAIM).await.map_err(db)?;
        let rows = client.query(&claim, &[&most, &instance]).await.map_err(db)?;
        let launch = |row: &millrace_postgres::Row| Launch {
            key: key(row),
            attempt: row.get(3),
            retries: row.get(4),
            token: row.get(5),
            value: row.get(6),
        };
        Ok(rows.iter().map(launch).collect())
    }
}
