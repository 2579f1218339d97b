//! Writes, each in one transaction under its subject's lock.

use std::collections::BTreeMap;

use millrace_postgres::{Client, Transaction};
use millrace_schema::{Guid, compatibility::Level};
use uuid::Uuid;

use super::{EVERYONE, Store, change, one};
use crate::{Error, Result, model::Reference, subject::Subject};

/// How a change is told: see `registry.changes`.
pub(super) struct Told<'a> {
    pub(super) kind: &'static str,
    pub(super) subject: &'a str,
    pub(super) version: Option<i32>,
    pub(super) schema_id: Option<i32>,
    pub(super) level: Option<Level>,
}

impl Store {
    /// Begins a transaction in which nobody else writes the subject, and nobody deletes what is referred to.
    pub(crate) async fn lock<'c>(
        &self,
        client: &'c mut Client,
        subject: &Subject,
        references: &[Reference],
    ) -> Result<Transaction<'c>> {
        let transaction = client.transaction().await.map_err(millrace_postgres::Error::from)?;
        // In the order of their names, the same for everybody: no deadlocks.
        let mut locks: BTreeMap<&str, bool> =
            references.iter().map(|reference| (reference.subject.as_str(), false)).collect();
        locks.insert(subject.as_str(), true);
        for (name, exclusive) in locks {
            let sql = if exclusive {
                "SELECT 1 FROM (SELECT pg_advisory_xact_lock(hashtextextended('millrace.registry.' || $1, 0))) AS held"
            } else {
                "SELECT 1 FROM (SELECT pg_advisory_xact_lock_shared(hashtextextended('millrace.registry.' || $1, 0))) AS held"
            };
            one(&transaction, sql, &[&name]).await?;
        }
        Ok(transaction)
    }

    /// Gives the content an id, or finds the one that it has; then the subject's next version. Tells of it.
    pub(crate) async fn insert(
        &self,
        transaction: &Transaction<'_>,
        subject: &Subject,
        (guid, text, references): (Guid, &str, &[Reference]),
    ) -> Result<()> {
        let guid = Uuid::from_bytes(guid.0);
        let references =
            serde_json::to_value(references).map_err(|error| Error::InvalidSchema(format!("references: {error}")))?;
        // `do update` and not `do nothing`: so that the row comes back whoever has put it there.
        let sql = "INSERT INTO registry.schemas AS s (guid, schema, refs) VALUES ($1, $2, $3) \
                   ON CONFLICT (guid) DO UPDATE SET guid = s.guid RETURNING id";
        let known = one(transaction, "SELECT id FROM registry.schemas WHERE guid = $1", &[&guid]).await?;
        let row = match known {
            Some(row) => Some(row),
            None => one(transaction, sql, &[&guid, &text, &references]).await?,
        };
        let id: i32 = row.map(|row| row.get(0)).ok_or(Error::SchemaNotFound)?;
        let sql = "INSERT INTO registry.versions (subject, version, schema_id) \
                   SELECT $1, coalesce(max(version), 0) + 1, $2 FROM registry.versions WHERE subject = $1 \
                   RETURNING version";
        let row = one(transaction, sql, &[&subject.as_str(), &id]).await?;
        let version: Option<i32> = row.map(|row| row.get(0));
        let told = Told { kind: "registered", subject: subject.as_str(), version, schema_id: Some(id), level: None };
        tell(transaction, told).await
    }

    /// Sets a level, the subject's or the default.
    pub(crate) async fn set_level(&self, subject: Option<&Subject>, level: Level) -> Result<()> {
        let name = subject.map_or(EVERYONE, Subject::as_str);
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(millrace_postgres::Error::from)?;
        let sql = "INSERT INTO registry.config (subject, compatibility) VALUES ($1, $2) \
                   ON CONFLICT (subject) DO UPDATE SET compatibility = excluded.compatibility";
        change(&transaction, sql, &[&name, &level.as_str()]).await?;
        let told = Told { kind: "configured", subject: name, version: None, schema_id: None, level: Some(level) };
        tell(&transaction, told).await?;
        Ok(transaction.commit().await.map_err(millrace_postgres::Error::from)?)
    }

    /// Takes a level back and gives what it was. The change tells what is in force now.
    pub(crate) async fn unset_level(&self, subject: Option<&Subject>) -> Result<Option<Level>> {
        let name = subject.map_or(EVERYONE, Subject::as_str);
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(millrace_postgres::Error::from)?;
        let was = self.own_level(&transaction, subject).await?;
        if was.is_some() {
            change(&transaction, "DELETE FROM registry.config WHERE subject = $1", &[&name]).await?;
            let level = Some(self.default_level(&transaction).await?);
            tell(&transaction, Told { kind: "configured", subject: name, version: None, schema_id: None, level })
                .await?;
        }
        transaction.commit().await.map_err(millrace_postgres::Error::from)?;
        Ok(was)
    }
}

/// Records a change under the next revision. The last thing that a transaction does: from here to its commit all other writers wait.
pub(super) async fn tell(transaction: &Transaction<'_>, told: Told<'_>) -> Result<()> {
    let Told { kind, subject, version, schema_id, level } = told;
    let sql = "WITH head AS (UPDATE registry.head SET revision = revision + 1 RETURNING revision) \
               INSERT INTO registry.changes (revision, kind, subject, version, schema_id, compatibility) \
               SELECT revision, $1, $2, $3, $4, $5 FROM head";
    let level = level.map(Level::as_str);
    change(transaction, sql, &[&kind, &subject, &version, &schema_id, &level]).await?;
    one(transaction, "SELECT 1 FROM (SELECT pg_notify($1, '')) AS said", &[&super::changes::CHANNEL]).await?;
    Ok(())
}
