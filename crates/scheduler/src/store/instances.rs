use std::time::Duration;

use super::{Launch, RunId, Store, claim::launch_columns, db};
use crate::error::Result;

/// A process that looks after attempts, for as long as it renews its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InstanceId(pub i64);

/// Those whose lease has expired, or that have the name of one that has just been started: what they looked after is
/// somebody else's from here on. Each is locked by a statement of its own, so that one that renews in time stays.
const GONE: &str = "\
SELECT id, name FROM scheduler.instance
WHERE ended_at IS NULL AND id <> $1 AND (lease_until < now() OR name = $2) ORDER BY id FOR UPDATE SKIP LOCKED";

/// What they looked after.
const TAKE: &str = concat!(
    "WITH taken AS (UPDATE scheduler.launch SET instance = $1 WHERE instance = ANY($2::bigint[]) \
     RETURNING run_id, no, item, attempt, token, launched_at, cancelled, place) SELECT ",
    launch_columns!(),
    " FROM taken l JOIN scheduler.task t USING (run_id, no, item)"
);

/// What an instance looks after.
const MINE: &str = concat!(
    "SELECT ",
    launch_columns!(),
    " FROM scheduler.launch l JOIN scheduler.task t USING (run_id, no, item) WHERE l.instance = $1"
);

/// What is alive of some tasks of a run.
const ALIVE: &str = concat!(
    "SELECT ",
    launch_columns!(),
    " FROM scheduler.launch l JOIN scheduler.task t USING (run_id, no, item) \
     WHERE l.run_id = $1 AND l.no = ANY($2::smallint[]) ORDER BY l.token LIMIT $3"
);

impl Store {
    /// Attempts that are alive of tasks of a run, the oldest first.
    pub async fn alive(&self, run: RunId, tasks: &[i16], limit: i64) -> Result<Vec<Launch>> {
        let client = self.pool.get().await?;
        Ok(client.query(ALIVE, &[&run.0, &tasks, &limit]).await.map_err(db)?.iter().map(Launch::from).collect())
    }

    /// A new instance with a lease of that long, that keeps what it begins in a place.
    pub async fn register(&self, name: &str, place: &str, lease: Duration) -> Result<InstanceId> {
        let client = self.pool.get().await?;
        let insert = "INSERT INTO scheduler.instance (name, place, lease_until) \
                      VALUES ($1, $2, now() + make_interval(secs => $3)) RETURNING id";
        let row = client.query_one(insert, &[&name, &place, &lease.as_secs_f64()]).await.map_err(db)?;
        Ok(InstanceId(row.get(0)))
    }

    /// Renews a lease. False: others have taken over what the instance looked after.
    pub async fn renew(&self, instance: InstanceId, lease: Duration) -> Result<bool> {
        let client = self.pool.get().await?;
        let update = "UPDATE scheduler.instance SET lease_until = now() + make_interval(secs => $2) \
                      WHERE id = $1 AND ended_at IS NULL";
        Ok(client.execute(update, &[&instance.0, &lease.as_secs_f64()]).await.map_err(db)? == 1)
    }

    /// Takes over what those looked after that have not renewed their lease, or that had the name of one that has just
    /// been started (`name`): it is the same machine's, and there is no need to wait.
    pub async fn take_over(&self, instance: InstanceId, name: Option<&str>) -> Result<Vec<Launch>> {
        Self::again(|| self.take_over_once(instance, name)).await
    }

    async fn take_over_once(&self, instance: InstanceId, name: Option<&str>) -> Result<Vec<Launch>> {
        let mut client = self.pool.get().await?;
        let transaction = client.transaction().await.map_err(db)?;
        let gone = transaction.query(GONE, &[&instance.0, &name.unwrap_or_default()]).await.map_err(db)?;
        if gone.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<i64> = gone.iter().map(|row| row.get(0)).collect();
        let rows = transaction.query(TAKE, &[&instance.0, &ids]).await.map_err(db)?;
        let end = "UPDATE scheduler.instance SET ended_at = now() WHERE id = ANY($1::bigint[])";
        transaction.execute(end, &[&ids]).await.map_err(db)?;
        transaction.commit().await.map_err(db)?;
        let names: Vec<&str> = gone.iter().map(|row| row.get(1)).collect();
        tracing::info!(?names, attempts = rows.len(), "took over from instances that are gone");
        Ok(rows.iter().map(Launch::from).collect())
    }

    /// An instance ends in order: it looks after nothing any more, or leaves what it does to the others.
    pub async fn retire(&self, instance: InstanceId) -> Result<()> {
        let client = self.pool.get().await?;
        let end = "UPDATE scheduler.instance SET lease_until = '-infinity' WHERE id = $1";
        client.execute(end, &[&instance.0]).await.map_err(db)?;
        Ok(())
    }

    /// Everything that an instance looks after.
    pub async fn launches_of(&self, instance: InstanceId) -> Result<Vec<Launch>> {
        let client = self.pool.get().await?;
        Ok(client.query(MINE, &[&instance.0]).await.map_err(db)?.iter().map(Launch::from).collect())
    }

    /// The attempts of an instance that are told to end, by their tokens.
    pub async fn cancelled(&self, instance: InstanceId) -> Result<Vec<i64>> {
        let client = self.pool.get().await?;
        let select = client
            .prepare_cached("SELECT token FROM scheduler.launch WHERE instance = $1 AND cancelled")
            .await
            .map_err(db)?;
        Ok(client.query(&select, &[&instance.0]).await.map_err(db)?.iter().map(|row| row.get(0)).collect())
    }
}
