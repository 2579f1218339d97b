//! API keys in Postgres.

use jiff::Timestamp;
use millrace_postgres::{self as postgres, Client, Pool, Row};
use tracing::error;

use super::{Key, KeyId, Scope, Token, token::Hash};

/// The gateway's own Postgres schema.
pub const SCHEMA: &str = "gateway";

/// How it comes to its present version, for [`postgres::migrate`].
pub const MIGRATIONS: &postgres::migrate::Embedded = &[("V1__keys", include_str!("../../migrations/V1__keys.sql"))];

/// The channel on which Postgres says that a key has changed; the payload is its id.
pub(super) const CHANNEL: &str = "gateway_keys";

const COLUMNS: &str = "id, name, secret_hash, pipelines, created_at, revoked_at";

/// A key as it is stored, for people.
#[derive(Clone, Debug)]
pub struct Record {
    /// The public part.
    pub id: KeyId,
    /// What it is for.
    pub name: String,
    /// What it may publish to.
    pub pipelines: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

/// The table.
#[derive(Clone)]
pub(super) struct Store {
    pool: Pool,
}

impl Store {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool }
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Says in the log when the table is not what this binary needs: only `migrate` may change it.
    pub(super) async fn check(&self) {
        if let Err(error) = postgres::check(&self.pool, SCHEMA, MIGRATIONS).await {
            error!(%error, "API keys cannot be looked up");
        }
    }

    /// The key of that id, unless it is revoked.
    pub(super) async fn find(&self, id: KeyId) -> postgres::Result<Option<Key>> {
        let client = self.pool.get().await?;
        let sql = format!("select {COLUMNS} from gateway.keys where id = $1 and revoked_at is null");
        let row = first(&client, &sql, &[&id.as_i64()]).await?;
        Ok(row.and_then(|row| {
            let hash = Hash::from_bytes(row.get("secret_hash"))?;
            let record = Record::from(&row);
            Some(Key { id: record.id, hash, scope: Scope::new(record.pipelines) })
        }))
    }

    /// Makes a key.
    pub(super) async fn create(&self, name: &str, pipelines: &[String]) -> postgres::Result<(Token, Record)> {
        let client = self.pool.get().await?;
        let sql = format!(
            "insert into gateway.keys (id, name, secret_hash, pipelines) values ($1, $2, $3, $4) \
             on conflict (id) do nothing returning {COLUMNS}"
        );
        loop {
            let token = Token::mint();
            let hash = token.hash();
            let row = first(&client, &sql, &[&token.id.as_i64(), &name, &hash.as_bytes(), &pipelines]).await?;
            if let Some(row) = row {
                return Ok((token, Record::from(&row)));
            }
        }
    }

    /// All of them, newest first.
    pub(super) async fn list(&self, include_revoked: bool) -> postgres::Result<Vec<Record>> {
        let client = self.pool.get().await?;
        let sql =
            format!("select {COLUMNS} from gateway.keys where $1 or revoked_at is null order by created_at desc, id");
        let statement = client.prepare_cached(&sql).await?;
        let rows = client.query(&statement, &[&include_revoked]).await?;
        Ok(rows.iter().map(Record::from).collect())
    }

    /// Revokes a key, once: a second time changes nothing. `None`: there is none of that id.
    pub(super) async fn revoke(&self, id: KeyId) -> postgres::Result<Option<Record>> {
        let client = self.pool.get().await?;
        let sql = format!(
            "update gateway.keys set revoked_at = coalesce(revoked_at, now()) where id = $1 returning {COLUMNS}"
        );
        let row = first(&client, &sql, &[&id.as_i64()]).await?;
        Ok(row.as_ref().map(Record::from))
    }
}

async fn first(
    client: &Client,
    sql: &str,
    parameters: &[&(dyn postgres::types::ToSql + Sync)],
) -> postgres::Result<Option<Row>> {
    let statement = client.prepare_cached(sql).await?;
    Ok(client.query_opt(&statement, parameters).await?)
}

impl From<&Row> for Record {
    fn from(row: &Row) -> Self {
        Self {
            id: KeyId::from_i64(row.get("id")),
            name: row.get("name"),
            pipelines: row.get("pipelines"),
            created_at: row.get("created_at"),
            revoked_at: row.get("revoked_at"),
        }
    }
}
