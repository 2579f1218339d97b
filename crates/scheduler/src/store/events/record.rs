use std::collections::HashMap;

use jiff::Timestamp;
use millrace_postgres::Transaction;
use serde_json::Value;

use super::super::{EVENTS, Store, db, finish::storable_json};
use crate::error::{Error, Result};

/// The most sources.
const MAX_SOURCES: i64 = 10_000;

/// An event that is to be recorded. It has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// What makes it the event that it is.
    pub id: String,
    /// What kind of event; may be empty.
    pub kind: String,
    /// What it is about; may be empty.
    pub subject: String,
    /// What it says.
    pub data: Value,
    /// Of that as JSON.
    pub bytes: i32,
}

/// What became of an event that was to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Its number in its source.
    pub seq: i64,
    /// It was known already: nothing has changed.
    pub existed: bool,
}

const LOCK: &str = "SELECT id FROM scheduler.event_source WHERE name = $1 FOR NO KEY UPDATE";
const SOURCE: &str = "\
INSERT INTO scheduler.event_source (name)
SELECT $1 WHERE (SELECT count(*) FROM scheduler.event_source) < $2 ON CONFLICT DO NOTHING";
/// Looked at when it is locked: a time from before could be lower than that of whoever held it.
const LAST: &str = "SELECT last_seq, greatest(clock_timestamp(), last_at) FROM scheduler.event_source WHERE id = $1";
const KNOWN: &str = "SELECT event_id, seq FROM scheduler.event WHERE source_id = $1 AND event_id = ANY($2::text[])";
const INSERT: &str = "\
INSERT INTO scheduler.event (source_id, seq, event_id, type, subject, data, bytes, at)
SELECT $1, e.*, $8 FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::jsonb[], $7::integer[]) AS e";
const MOVE: &str = "UPDATE scheduler.event_source SET last_seq = $2, last_at = $3 WHERE id = $1";

impl Store {
    /// Records events of a source, each once for its id: all that are new, or none. Gives what became of each, in their
    /// order, once that is durable.
    pub async fn record_events(&self, source: &str, events: &[NewEvent]) -> Result<Vec<Recorded>> {
        Self::again(|| self.record_once(source, events)).await
    }

    async fn record_once(&self, source: &str, events: &[NewEvent]) -> Result<Vec<Recorded>> {
        let mut client = self.pool.get().await?;
        let tx = client.transaction().await.map_err(db)?;
        let source = self::source(&tx, source).await?;
        let last = tx.prepare_cached(LAST).await.map_err(db)?;
        let row = tx.query_one(&last, &[&source]).await.map_err(db)?;
        let (last, at): (i64, Timestamp) = (row.get(0), row.get(1));
        let known = tx.prepare_cached(KNOWN).await.map_err(db)?;
        let ids: Vec<&str> = events.iter().map(|event| event.id.as_str()).collect();
        let rows = tx.query(&known, &[&source, &ids]).await.map_err(db)?;
        let mut known: HashMap<&str, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let (mut recorded, mut new, mut seq) = (Vec::with_capacity(events.len()), Vec::new(), last);
        for event in events {
            let existing = known.get(event.id.as_str()).copied();
            if existing.is_none() {
                seq += 1;
                known.insert(&event.id, seq);
                new.push((seq, event));
            }
            recorded.push(Recorded { seq: existing.unwrap_or(seq), existed: existing.is_some() });
        }
        if !new.is_empty() {
            insert(&tx, source, &new, at).await?;
            tx.execute(MOVE, &[&source, &seq, &at]).await.map_err(db)?;
            self.notify(&tx, EVENTS).await?;
        }
        tx.commit().await.map_err(db)?;
        Ok(recorded)
    }
}

/// The number of a source, which is locked; it is made where it is not there.
pub(super) async fn source(tx: &Transaction<'_>, name: &str) -> Result<i32> {
    let lock = tx.prepare_cached(LOCK).await.map_err(db)?;
    if let Some(row) = tx.query_opt(&lock, &[&name]).await.map_err(db)? {
        return Ok(row.get(0));
    }
    tx.execute(SOURCE, &[&name, &MAX_SOURCES]).await.map_err(db)?;
    let row = tx.query_opt(&lock, &[&name]).await.map_err(db)?;
    let full = || Error::Invalid(format!("source {name:?}: there are {MAX_SOURCES} others, and no more can be made"));
    row.map(|row| row.get(0)).ok_or_else(full)
}

async fn insert(tx: &Transaction<'_>, source: i32, new: &[(i64, &NewEvent)], at: Timestamp) -> Result<()> {
    let numbers: Vec<i64> = new.iter().map(|(seq, _)| *seq).collect();
    let ids: Vec<&str> = new.iter().map(|(_, event)| event.id.as_str()).collect();
    let kinds: Vec<&str> = new.iter().map(|(_, event)| event.kind.as_str()).collect();
    let subjects: Vec<&str> = new.iter().map(|(_, event)| event.subject.as_str()).collect();
    let data: Vec<Value> = new.iter().map(|(_, event)| storable_json(&event.data)).collect();
    let bytes: Vec<i32> = new.iter().map(|(_, event)| event.bytes).collect();
    let insert = tx.prepare_cached(INSERT).await.map_err(db)?;
    tx.execute(&insert, &[&source, &numbers, &ids, &kinds, &subjects, &data, &bytes, &at]).await.map_err(db)?;
    Ok(())
}
