//! What happened, by revision.

use millrace_postgres::{Listener, Row};

use super::{Store, all, one, parse_level};
use crate::{
    Error, Result,
    model::{Change, What},
};

/// The channel on which changes are announced; the announcement says only that there is something to read.
pub(crate) const CHANNEL: &str = "registry_changes";
/// Changes read at once.
const BATCH: i64 = 500;

impl Store {
    /// Hears of changes by anybody.
    pub(crate) fn listen(&self) -> Listener {
        Listener::start(&self.pool, &[CHANNEL])
    }

    /// The newest revision.
    pub(crate) async fn head(&self) -> Result<u64> {
        let client = self.client().await?;
        let row = one(&client, "SELECT revision FROM registry.head", &[]).await?;
        Ok(row.map_or(0, |row| row.get::<_, i64>(0)).unsigned_abs())
    }

    /// What happened after a revision, in order, to subjects that begin so: a bounded number of changes, and the revision up to which
    /// they are complete.
    pub(crate) async fn changes(&self, after: u64, prefix: &str) -> Result<(Vec<Change>, u64)> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let client = self.client().await?;
        let sql = "SELECT revision, kind, subject, version, schema_id, compatibility \
                   FROM registry.changes WHERE revision > $1 ORDER BY revision LIMIT $2";
        let rows = all(&client, sql, &[&after, &BATCH]).await?;
        drop(client);
        let complete = rows.last().map_or(after, |row| row.get("revision"));
        let mut changes = Vec::new();
        for row in rows.iter().filter(|row| row.get::<_, &str>("subject").starts_with(prefix)) {
            changes.push(self.read_change(row).await?);
        }
        Ok((changes, complete.unsigned_abs()))
    }

    async fn read_change(&self, row: &Row) -> Result<Change> {
        let what = match row.get("kind") {
            "configured" => What::Configured { level: parse_level(row.get("compatibility"))? },
            kind => {
                let id = row.get::<_, i32>("schema_id").unsigned_abs();
                let content = self.by_id(id).await?.ok_or_else(|| Error::SchemaIdNotFound(id.to_string()))?;
                let version = row.get::<_, i32>("version").unsigned_abs();
                if kind == "registered" {
                    What::Registered { version, content }
                } else {
                    What::Deleted { version, content }
                }
            }
        };
        Ok(Change { revision: row.get::<_, i64>("revision").unsigned_abs(), subject: row.get("subject"), what })
    }
}
