//! Messages that attempts were given, kept until the attempts have ended.

use serde_json::Value;

use super::{Store, db, finish::storable_json};
use crate::error::Result;

/// A message that an attempt was given.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// What the attempt's output is.
    pub output: Value,
    /// What removes the message from its queue.
    pub receipt: String,
}

/// What becomes of a message that is to be kept for an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Keep {
    /// It is kept.
    Kept,
    /// The attempt has one already: another process has kept it.
    Other(Kept),
    /// The attempt is not alive any more.
    Gone,
}

/// Only for an attempt that is alive; its row is held, so that it does not end meanwhile. What attempts have left that are
/// not alive goes with the next that comes, a hundred at once.
const KEEP: &str = "\
WITH alive AS MATERIALIZED (SELECT token FROM scheduler.launch WHERE token = $1 FOR KEY SHARE),
old AS (
    DELETE FROM scheduler.kept WHERE token IN (
        SELECT k.token FROM scheduler.kept k WHERE NOT EXISTS (SELECT FROM scheduler.launch l WHERE l.token = k.token)
        LIMIT 100 FOR UPDATE SKIP LOCKED)
), kept AS (
    INSERT INTO scheduler.kept (token, output, receipt) SELECT token, $2::jsonb, $3::text FROM alive
    ON CONFLICT (token) DO NOTHING RETURNING token
)
SELECT EXISTS (SELECT FROM alive), EXISTS (SELECT FROM kept)";

impl Store {
    /// Keeps a message for an attempt, by its token: one for each.
    pub async fn keep(&self, token: i64, kept: &Kept) -> Result<Keep> {
        let client = self.pool.get().await?;
        let keep = client.prepare_cached(KEEP).await.map_err(db)?;
        let row = client.query_one(&keep, &[&token, &storable_json(&kept.output), &kept.receipt]).await.map_err(db)?;
        Ok(match (row.get(0), row.get(1)) {
            (false, _) => Keep::Gone,
            (true, true) => Keep::Kept,
            (true, false) => self.kept(token).await?.map_or(Keep::Gone, Keep::Other),
        })
    }

    /// The message that is kept for an attempt.
    pub async fn kept(&self, token: i64) -> Result<Option<Kept>> {
        let client = self.pool.get().await?;
        let select = "SELECT output, receipt FROM scheduler.kept WHERE token = $1";
        let row = client.query_opt(select, &[&token]).await.map_err(db)?;
        Ok(row.map(|row| Kept { output: row.get(0), receipt: row.get(1) }))
    }
}
