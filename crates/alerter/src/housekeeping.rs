//! What is old is forgotten.

use std::time::Duration;

use millrace_core::Span;
use millrace_postgres::{Error, Pool};
use millrace_runtime::Shutdown;

/// How often it is looked at.
const EVERY: Duration = Duration::from_mins(10);
/// Rows that one statement deletes: a long backlog holds nobody up.
const AT_ONCE: i64 = 5_000;

/// Deletes resolved alerts with their log, and events of alerts that go on, when they are older than `retention`.
pub(crate) async fn run(pool: Pool, retention: Span, shutdown: Shutdown) -> anyhow::Result<()> {
    loop {
        if let Err(error) = sweep(&pool, retention).await {
            tracing::warn!(%error, "cannot delete old alerts, trying again later");
        }
        tokio::select! {
            () = shutdown.wait() => return Ok(()),
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn sweep(pool: &Pool, retention: Span) -> Result<(), Error> {
    let client = pool.get().await?;
    let seconds = retention.as_millis() as f64 / 1000.0;
    for statement in [ALERTS, EVENTS, NOTIFICATIONS] {
        while client.execute(statement, &[&seconds, &AT_ONCE]).await? >= AT_ONCE as u64 {}
    }
    Ok(())
}

/// Not while somebody is still to be told.
const ALERTS: &str = "DELETE FROM alerter.alerts WHERE id IN (SELECT id FROM alerter.alerts a \
     WHERE state = 'resolved' AND next_at IS NULL AND resolved_at < now() - make_interval(secs => $1) \
     AND NOT EXISTS (SELECT 1 FROM alerter.notifications n WHERE n.alert_id = a.id AND n.state = 'pending') LIMIT $2)";

const EVENTS: &str = "DELETE FROM alerter.alert_events WHERE (verdict_id, alert) IN (SELECT verdict_id, alert \
     FROM alerter.alert_events WHERE noted_at < now() - make_interval(secs => $1) LIMIT $2)";

/// Also those that nobody takes up: their receiver is in no document any more.
const NOTIFICATIONS: &str = "DELETE FROM alerter.notifications WHERE id IN (SELECT id FROM alerter.notifications \
     WHERE coalesce(finished_at, created_at) < now() - make_interval(secs => $1) LIMIT $2)";
