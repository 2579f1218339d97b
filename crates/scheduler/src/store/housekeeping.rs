//! What the database is asked to do now and then: a partition for each month of history, and what is old away.

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};

use super::{Store, db};
use crate::error::Result;

/// Tables that are partitioned by the month in which something ended.
const BY_MONTH: [&str; 2] = ["attempt", "task_done"];
/// One replica at a time: "sched" in ASCII.
const LOCK: i64 = 0x0073_6368_6564;
/// Rows that are deleted at once.
const BATCH: i64 = 10_000;

/// Backfills of which nothing is left.
const BACKFILLS: &str = "\
UPDATE scheduler.backfill b SET done = true WHERE NOT done
AND NOT EXISTS (SELECT FROM scheduler.run r WHERE r.backfill_id = b.id AND r.state < 10)";

/// Runs, slots, events and instances whose time is over.
const OLD: [&str; 9] = [
    // Locked as it is looked at: one that is cleared meanwhile is not old any more.
    "DELETE FROM scheduler.run WHERE id IN (SELECT id FROM scheduler.run WHERE state >= 10 AND ended_at < $1 \
     LIMIT $2 FOR UPDATE SKIP LOCKED)",
    "DELETE FROM scheduler.slot WHERE (flow_id, at) IN (SELECT flow_id, at FROM scheduler.slot WHERE until < $1 LIMIT $2)",
    "DELETE FROM scheduler.instance WHERE id IN (SELECT id FROM scheduler.instance WHERE ended_at < $1 LIMIT $2)",
    // What has made a run is there for as long as the run is.
    "DELETE FROM scheduler.event_group WHERE id IN (SELECT id FROM scheduler.event_group g WHERE g.ended_at < $1 \
     AND NOT EXISTS (SELECT FROM scheduler.run r WHERE r.id = g.run_id) LIMIT $2)",
    // Those that nothing has to do with any more, and that no trigger is still to look at. With them their ids are forgotten.
    "DELETE FROM scheduler.event WHERE (source_id, seq) IN (SELECT source_id, seq FROM scheduler.event e WHERE e.at < $1 \
     AND NOT EXISTS (SELECT FROM scheduler.event_member m WHERE (m.source_id, m.seq) = (e.source_id, e.seq)) \
     AND NOT EXISTS (SELECT FROM scheduler.event_trigger t JOIN scheduler.flow f ON f.id = t.flow_id \
         WHERE t.source_id = e.source_id AND t.active AND f.active AND t.cursor < e.seq) LIMIT $2)",
    "DELETE FROM scheduler.attempt_other WHERE ctid IN (SELECT ctid FROM scheduler.attempt_other WHERE ended_at < $1 LIMIT $2)",
    "DELETE FROM scheduler.task_done_other WHERE ctid IN (SELECT ctid FROM scheduler.task_done_other WHERE ended_at < $1 LIMIT $2)",
    // With their runs; those of moments that had none, by their time.
    "DELETE FROM scheduler.deadline WHERE id IN (SELECT d.id FROM scheduler.deadline d WHERE (d.run_id IS NULL AND d.slot_at < $1) \
     OR (d.run_id IS NOT NULL AND NOT EXISTS (SELECT FROM scheduler.run r WHERE r.id = d.run_id)) LIMIT $2)",
    // Whatever its age, once its attempt has ended; `$1` is for the others.
    "DELETE FROM scheduler.kept WHERE token IN (SELECT k.token FROM scheduler.kept k WHERE $1::timestamptz IS NOT NULL \
     AND NOT EXISTS (SELECT FROM scheduler.launch l WHERE l.token = k.token) LIMIT $2)",
];

impl Store {
    /// Makes the partitions of this month and the next, and removes what ended before `oldest`. A month of attempts goes
    /// when all of it is older.
    pub async fn keep_house(&self, now: Timestamp, oldest: Timestamp) -> Result<()> {
        let mut client = self.pool.get().await?;
        let tx = client.transaction().await.map_err(db)?;
        // Creating partitions locks their tables: whoever is first does it for all.
        let lock = "SELECT pg_try_advisory_xact_lock($1)";
        if !tx.query_one(lock, &[&LOCK]).await.map_err(db)?.get::<_, bool>(0) {
            return Ok(());
        }
        let names = "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
                     WHERE i.inhparent = to_regclass('scheduler.' || $1)";
        for table in BY_MONTH {
            let rows = tx.query(names, &[&table]).await.map_err(db)?;
            let there: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            for month in [month(now), month(now).saturating_add(1.month())] {
                let name = partition(table, month);
                if !there.contains(&name) {
                    tx.batch_execute(&make(table, &name, month)).await.map_err(db)?;
                }
            }
            let last = partition(table, month(oldest));
            let old = there.iter().filter(|name| name.len() == last.len() && **name < last);
            for name in old {
                tx.batch_execute(&format!("DROP TABLE scheduler.{name}")).await.map_err(db)?;
                tracing::info!(partition = name, "old history is removed");
            }
        }
        tx.execute(BACKFILLS, &[]).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        for delete in OLD {
            while client.execute(delete, &[&oldest, &BATCH]).await.map_err(db)? == BATCH as u64 {}
        }
        Ok(())
    }
}

/// What makes the partition of a month. Rows of that month that came before it lie in the partition for what has none, and
/// move.
fn make(table: &str, name: &str, month: Date) -> String {
    let (from, to) = (format!("{month} 00:00:00+00"), format!("{} 00:00:00+00", month.saturating_add(1.month())));
    format!(
        "LOCK TABLE scheduler.{table}_other IN SHARE ROW EXCLUSIVE MODE; \
         CREATE TEMP TABLE moved ON COMMIT DROP AS \
             SELECT * FROM scheduler.{table}_other WHERE ended_at >= '{from}' AND ended_at < '{to}'; \
         DELETE FROM scheduler.{table}_other WHERE ended_at >= '{from}' AND ended_at < '{to}'; \
         CREATE TABLE scheduler.{name} PARTITION OF scheduler.{table} FOR VALUES FROM ('{from}') TO ('{to}'); \
         INSERT INTO scheduler.{table} SELECT * FROM moved; DROP TABLE moved"
    )
}

/// The first day of a month, in UTC.
fn month(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date().first_of_month()
}

/// `attempt_2026_11`: in the order of time.
fn partition(table: &str, month: Date) -> String {
    format!("{table}_{:04}_{:02}", month.year(), month.month())
}
