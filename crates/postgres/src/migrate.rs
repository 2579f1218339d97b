//! A service's own Postgres schema, at the version that its binary needs.
//!
//! The history is a table inside that schema, so that services share a database without knowing of each other. Only
//! `<service> migrate` changes anything; `serve` calls [`check`]. A binary of version N runs on N and on N + 1 (expand,
//! then contract), so that a rollout and its rollback need no order.

use std::time::Duration;

use deadpool_postgres::Object;
use refinery::{Migration, Runner};

use crate::{Error, Pool, Result};

/// Migrations by name (`V1__keys`) and text, in order:
/// `&[("V1__keys", include_str!("../migrations/V1__keys.sql"))]`.
pub type Embedded = [(&'static str, &'static str)];

/// Name of the history's table in the service's schema.
const HISTORY: &str = "schema_history";
/// How long one migrator waits for another.
const LOCK_TIMEOUT: Duration = Duration::from_mins(1);

/// Brings the Postgres schema `schema` to the newest of `embedded`, and returns how many migrations that took. Several
/// at once wait for each other. Names without a schema land in `schema`.
pub async fn migrate(pool: &Pool, schema: &str, embedded: &Embedded) -> Result<usize> {
    let known = newest(schema, embedded)?;
    // Out of the pool for good: the session is changed, and with its end the lock is free.
    let mut client = Object::take(pool.get().await?);
    client.batch_execute(&prepare(schema)).await?;
    let found = version(&client, schema).await?;
    if found > known {
        return judge(schema, found, known).map(|()| 0);
    }
    let mut runner = Runner::new(&parse(schema, embedded)?).set_abort_divergent(true).set_abort_missing(true);
    runner.set_migration_table_name(format!("{}.{HISTORY}", quote(schema)));
    let report = runner.run_async(&mut *client).await.map_err(|error| failed(schema, &error))?;
    let applied = report.applied_migrations().len();
    tracing::info!(schema, from = found, to = known, applied, "postgres schema migrated");
    Ok(applied)
}

/// Whether a binary that knows `embedded` can work on the database as it is.
pub async fn check(pool: &Pool, schema: &str, embedded: &Embedded) -> Result<()> {
    let known = newest(schema, embedded)?;
    let client = pool.get().await?;
    judge(schema, version(&client, schema).await?, known)
}

fn judge(schema: &str, found: i32, known: i32) -> Result<()> {
    let schema = schema.to_owned();
    match found {
        found if found < known => Err(Error::Older { schema, found, needed: known }),
        found if found > known + 1 => Err(Error::Newer { schema, found, known }),
        _ => Ok(()),
    }
}

/// One session that may take its time; the lock ends with it at the latest.
fn prepare(schema: &str) -> String {
    let (quoted, literal) = (quote(schema), schema.replace('\'', "''"));
    let timeout = LOCK_TIMEOUT.as_millis();
    format!(
        "SET statement_timeout = 0; SET lock_timeout = {timeout}; \
         SELECT pg_advisory_lock(hashtextextended('millrace.migrate.{literal}', 0)); \
         CREATE SCHEMA IF NOT EXISTS {quoted}; SET search_path = {quoted}, public"
    )
}

/// The newest applied migration; 0 where there is none.
async fn version(client: &tokio_postgres::Client, schema: &str) -> Result<i32> {
    let table = format!("{}.{HISTORY}", quote(schema));
    let exists: bool = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table]).await?.get(0);
    if !exists {
        return Ok(0);
    }
    Ok(client.query_one(&format!("SELECT coalesce(max(version), 0) FROM {table}"), &[]).await?.get(0))
}

fn parse(schema: &str, embedded: &Embedded) -> Result<Vec<Migration>> {
    let parsed = embedded.iter().map(|(name, sql)| Migration::unapplied(name, sql));
    parsed.collect::<Result<_, _>>().map_err(|error| failed(schema, &error))
}

fn newest(schema: &str, embedded: &Embedded) -> Result<i32> {
    Ok(parse(schema, embedded)?.iter().map(Migration::version).max().unwrap_or(0))
}

/// The whole chain in one line: the cause is what a person can act on.
fn failed(schema: &str, error: &refinery::Error) -> Error {
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let text =
            inner.downcast_ref::<tokio_postgres::Error>().map_or_else(|| inner.to_string(), crate::error::describe);
        if !reason.contains(&text) {
            reason = format!("{reason}: {text}");
        }
        cause = inner.source();
    }
    Error::Migration { schema: schema.to_owned(), reason }
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
