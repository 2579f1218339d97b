//! The log of notifications, as one receiver's courier uses it.

use std::time::Duration;

use millrace_postgres::{Error, Pool};

use super::{
    schedule::{Answer, Next, jitter},
    webhook::Attempt,
};

/// A notification that this process may send until its lease ends.
pub(super) struct Claimed {
    pub(super) id: String,
    pub(super) payload: String,
    /// From 1.
    pub(super) attempt: usize,
    /// Since it was written. Seconds.
    pub(super) age: f64,
}

/// The log, for one receiver.
pub(super) struct Log {
    pool: Pool,
    receiver: String,
}

impl Log {
    pub(super) fn new(pool: Pool, receiver: String) -> Self {
        Self { pool, receiver }
    }

    /// Makes the receiver known, and one that was gone under another address usable again.
    pub(super) async fn enrol(&self, address: &str) -> Result<(), Error> {
        self.pool.get().await?.execute(ENROL, &[&self.receiver, &address]).await?;
        Ok(())
    }

    /// Takes what is due and nobody else has.
    pub(super) async fn claim(&self, most: usize, lease: Duration) -> Result<Vec<Claimed>, Error> {
        let client = self.pool.get().await?;
        let statement = client.prepare_cached(CLAIM).await?;
        let rows = client.query(&statement, &[&self.receiver, &(most as i64), &lease.as_secs_f64()]).await?;
        let claimed = rows.iter().map(|row| Claimed {
            id: row.get(0),
            payload: row.get(1),
            attempt: row.get::<_, i32>(2).max(1) as usize,
            age: row.get(3),
        });
        Ok(claimed.collect())
    }

    /// Writes down what came of an attempt. One that another process has taken over meanwhile is left to that one.
    pub(super) async fn record(&self, it: &Claimed, attempt: &Attempt, next: Next, address: &str) -> Result<(), Error> {
        let (state, pause) = match next {
            Next::Delivered => ("delivered", Duration::ZERO),
            Next::Failed => ("failed", Duration::ZERO),
            Next::Disabled => ("disabled", Duration::ZERO),
            Next::Retry(pause) => ("pending", jitter(pause)),
        };
        let status = match attempt.answer {
            Answer::Status { status, .. } => Some(i32::from(status)),
            Answer::Nothing | Answer::Unusable => None,
        };
        let (number, took) = (it.attempt as i32, attempt.took.as_millis() as i32);
        let mut client = self.pool.get().await?;
        let transaction = client.transaction().await?;
        let parameters: [&(dyn millrace_postgres::types::ToSql + Sync); 6] =
            [&it.id, &number, &state, &pause.as_secs_f64(), &status, &attempt.error];
        transaction.execute(&transaction.prepare_cached(FINISH).await?, &parameters).await?;
        let parameters: [&(dyn millrace_postgres::types::ToSql + Sync); 5] =
            [&it.id, &number, &took, &status, &attempt.error];
        transaction.execute(&transaction.prepare_cached(NOTE).await?, &parameters).await?;
        if next == Next::Disabled && transaction.execute(DISABLE, &[&self.receiver, &address]).await? > 0 {
            transaction.execute(DROP, &[&self.receiver]).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// How many wait, and how long until the next of them is due.
    pub(super) async fn pending(&self) -> Result<(u64, Option<Duration>), Error> {
        let client = self.pool.get().await?;
        let row = client.query_one(&client.prepare_cached(PENDING).await?, &[&self.receiver]).await?;
        let next = row.get::<_, Option<f64>>(1).map(|seconds| Duration::from_secs_f64(seconds.max(0.0)));
        Ok((row.get::<_, i64>(0) as u64, next))
    }
}

const ENROL: &str = "INSERT INTO alerter.receivers AS r (name, address) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE \
     SET address = excluded.address, updated_at = now(), \
     disabled_at = CASE WHEN r.address = excluded.address THEN r.disabled_at END";

const CLAIM: &str = "UPDATE alerter.notifications n \
     SET attempts = attempts + 1, next_at = now() + make_interval(secs => $3), updated_at = now() \
     FROM (SELECT id FROM alerter.notifications WHERE receiver = $1 AND state = 'pending' AND next_at <= now() \
           ORDER BY next_at LIMIT $2 FOR UPDATE SKIP LOCKED) AS due \
     WHERE n.id = due.id \
     RETURNING n.id, n.payload, n.attempts, extract(epoch FROM now() - n.created_at)::float8";

const FINISH: &str = "UPDATE alerter.notifications \
     SET state = $3, next_at = now() + make_interval(secs => $4), last_status = $5, last_error = $6, \
     updated_at = now(), finished_at = CASE WHEN $3 <> 'pending' THEN now() END \
     WHERE id = $1 AND state = 'pending' AND ($3 = 'delivered' OR attempts = $2)";

const NOTE: &str = "INSERT INTO alerter.notification_attempts (notification_id, attempt, began_at, duration_ms, status, error) \
     VALUES ($1, $2, now() - make_interval(secs => $3::integer / 1000.0), $3, $4, $5) ON CONFLICT DO NOTHING";

/// Only under the address that answered so: another process may have a newer one.
const DISABLE: &str =
    "UPDATE alerter.receivers SET disabled_at = now(), updated_at = now() WHERE name = $1 AND address = $2";

const DROP: &str = "UPDATE alerter.notifications SET state = 'disabled', updated_at = now(), finished_at = now() \
     WHERE receiver = $1 AND state = 'pending'";

const PENDING: &str = "SELECT count(*), extract(epoch FROM min(next_at) - now())::float8 \
     FROM alerter.notifications WHERE receiver = $1 AND state = 'pending'";
