//! Signals on their way to Kafka: written in the transaction that finds them, taken out when the brokers have them.

use millrace_postgres::Transaction;
use serde_json::Value;

use super::{SIGNALS, Store, db};
use crate::error::Result;

/// One replica sends at a time, so that what was first goes first: "signa" in ASCII.
const LOCK: i64 = 0x0073_6967_6e61;

/// Puts signals on their way.
pub(super) async fn add(store: &Store, tx: &Transaction<'_>, signals: &[Value]) -> Result<()> {
    if signals.is_empty() {
        return Ok(());
    }
    let insert = "INSERT INTO scheduler.signal (body) SELECT body FROM unnest($1::jsonb[]) WITH ORDINALITY AS s(body, n) ORDER BY n";
    let insert = tx.prepare_cached(insert).await.map_err(db)?;
    tx.execute(&insert, &[&signals]).await.map_err(db)?;
    store.notify(tx, SIGNALS).await
}

/// What has come of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// There is nothing more.
    Done,
    /// There may be more.
    More,
    /// Some could not be sent.
    Stuck,
}

impl Store {
    /// Gives the oldest signals, at most so many, to `send`, which says how many of them, from the first on, have arrived;
    /// those are gone then. A process that dies in between sends them again.
    pub async fn send_signals<F>(&self, most: i64, send: impl FnOnce(Vec<Value>) -> F) -> Result<Sending>
    where
        F: Future<Output = usize>,
    {
        let mut client = self.pool.get().await?;
        let tx = client.transaction().await.map_err(db)?;
        let lock = "SELECT pg_try_advisory_xact_lock($1)";
        if !tx.query_one(lock, &[&LOCK]).await.map_err(db)?.get::<_, bool>(0) {
            return Ok(Sending::Done);
        }
        let select =
            tx.prepare_cached("SELECT id, body FROM scheduler.signal ORDER BY id LIMIT $1").await.map_err(db)?;
        let rows = tx.query(&select, &[&most]).await.map_err(db)?;
        if rows.is_empty() {
            return Ok(Sending::Done);
        }
        let sent = send(rows.iter().map(|row| row.get(1)).collect()).await.min(rows.len());
        let ids: Vec<i64> = rows[..sent].iter().map(|row| row.get(0)).collect();
        tx.execute("DELETE FROM scheduler.signal WHERE id = ANY($1::bigint[])", &[&ids]).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        Ok(match sent {
            sent if sent < rows.len() => Sending::Stuck,
            sent if sent as i64 == most => Sending::More,
            _ => Sending::Done,
        })
    }
}
