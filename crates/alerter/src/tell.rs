//! The loop that decides when a group is told, and writes the log.
//!
//! ```text
//! firing, never told, group_wait over -> tell: firing
//! firing, told, repeat over, more came -> tell: repeat
//! firing, told, repeat over, nothing came -> resolved: a verdict's alert has no end but quiet
//! resolved by a signal -> tell: resolved
//! ```
//!
//! Several replicas do it at once: each takes what no other has locked.

mod payload;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use millrace_postgres::{Error, Pool, Row, Transaction};
use millrace_runtime::Shutdown;
use tokio::sync::Notify;
use uuid::Uuid;

use self::payload::Sample;
use crate::{deliver::SEND, metrics::DeliveryMetrics};

/// Groups that one transaction tells.
const AT_ONCE: i64 = 100;
/// How often due groups are looked for when nobody says that there are some.
const POLL: Duration = Duration::from_secs(5);
/// The pause after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a group is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Firing,
    Repeat,
    Resolved,
}

impl Reason {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Repeat => "repeat",
            Self::Resolved => "resolved",
        }
    }
}

/// What is done about a group that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Tell(Reason),
    /// Nobody was told that it fired, so nobody is told that it is over.
    Silence,
}

/// A group that is due, with its row locked.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) id: Uuid,
    pub(crate) kind: String,
    pub(crate) pipeline: Option<String>,
    pub(crate) name: String,
    pub(crate) labels: serde_json::Value,
    pub(crate) details: serde_json::Value,
    pub(crate) firing: bool,
    pub(crate) receivers: Vec<String>,
    pub(crate) occurrences: i64,
    pub(crate) told: i64,
    pub(crate) started_at: Timestamp,
    pub(crate) last_at: Timestamp,
    pub(crate) told_at: Option<Timestamp>,
}

impl Group {
    fn of(row: &Row) -> Self {
        Self {
            id: row.get("id"),
            kind: row.get("kind"),
            pipeline: row.get("pipeline"),
            name: row.get("name"),
            labels: row.get("labels"),
            details: row.get("details"),
            firing: row.get::<_, &str>("state") == "firing",
            receivers: row.get("receivers"),
            occurrences: row.get("occurrences"),
            told: row.get("told"),
            started_at: row.get("started_at"),
            last_at: row.get("last_at"),
            told_at: row.get("told_at"),
        }
    }

    fn step(&self) -> Step {
        match (self.firing, self.told_at.is_some()) {
            (true, false) => Step::Tell(Reason::Firing),
            (true, true) if self.kind == "signal" || self.occurrences > self.told => Step::Tell(Reason::Repeat),
            (true | false, true) => Step::Tell(Reason::Resolved),
            (false, false) => Step::Silence,
        }
    }
}

/// Tells what is due until the shutdown. `due` is rung when something may be.
pub(crate) async fn run(
    pool: Pool,
    due: Arc<Notify>,
    metrics: DeliveryMetrics,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    while !shutdown.is_triggered() {
        let pause = match tell_all(&pool, &metrics).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::warn!(%error, "cannot tell due groups, trying again");
                PAUSE
            }
        };
        tokio::select! {
            () = shutdown.wait() => {}
            () = due.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    Ok(())
}

/// Tells everything that is due, and returns how long nothing else is.
async fn tell_all(pool: &Pool, metrics: &DeliveryMetrics) -> Result<Duration, Error> {
    let mut client = pool.get().await?;
    loop {
        let transaction = client.transaction().await?;
        let rows = transaction.query(&transaction.prepare_cached(DUE).await?, &[&AT_ONCE]).await?;
        let mut written = Vec::new();
        for row in &rows {
            written.extend(tell(&transaction, &Group::of(row)).await?);
        }
        if !written.is_empty() {
            transaction.execute("SELECT pg_notify($1, '')", &[&SEND]).await?;
        }
        transaction.commit().await?;
        for (receiver, reason) in written {
            metrics.told(&receiver, reason.as_str());
        }
        if (rows.len() as i64) < AT_ONCE {
            break;
        }
    }
    let next = client.query_one(&client.prepare_cached(NEXT).await?, &[]).await?.get::<_, Option<f64>>(0);
    Ok(next.map_or(POLL, |seconds| Duration::from_secs_f64(seconds.clamp(0.01, POLL.as_secs_f64()))))
}

/// Writes what one group is told, and to whom.
async fn tell(transaction: &Transaction<'_>, group: &Group) -> Result<Vec<(String, Reason)>, Error> {
    let Step::Tell(reason) = group.step() else {
        transaction.execute("UPDATE alerter.alerts SET next_at = NULL WHERE id = $1", &[&group.id]).await?;
        return Ok(Vec::new());
    };
    let samples = transaction.query(&transaction.prepare_cached(SAMPLES).await?, &[&group.id]).await?;
    let samples: Vec<Sample> = samples.iter().map(Sample::of).collect();
    let payload = payload::render(group, reason, &samples, Timestamp::now());
    let insert = transaction.prepare_cached(INSERT).await?;
    for receiver in &group.receivers {
        let id = format!("msg_{}", Uuid::now_v7().simple());
        transaction.execute(&insert, &[&id, &group.id, receiver, &reason.as_str(), &payload]).await?;
    }
    let resolved = reason == Reason::Resolved;
    transaction.execute(&transaction.prepare_cached(TOLD).await?, &[&group.id, &resolved]).await?;
    Ok(group.receivers.iter().map(|receiver| (receiver.clone(), reason)).collect())
}

const DUE: &str = "SELECT * FROM alerter.alerts WHERE next_at <= now() \
     ORDER BY next_at LIMIT $1 FOR UPDATE SKIP LOCKED";

const NEXT: &str =
    "SELECT extract(epoch FROM min(next_at) - now())::float8 FROM alerter.alerts WHERE next_at IS NOT NULL";

const SAMPLES: &str = "SELECT * FROM alerter.alert_events WHERE alert_id = $1 ORDER BY judged_at DESC LIMIT 10";

/// A receiver that is gone is told nothing; that it was to be told is in the log.
const INSERT: &str = "INSERT INTO alerter.notifications (id, alert_id, receiver, reason, payload, state, finished_at) \
     SELECT $1, $2, $3, $4, $5, CASE WHEN gone THEN 'disabled' ELSE 'pending' END, CASE WHEN gone THEN now() END \
     FROM (SELECT EXISTS (SELECT 1 FROM alerter.receivers WHERE name = $3 AND disabled_at IS NOT NULL) AS gone) AS it";

const TOLD: &str = "UPDATE alerter.alerts SET told = occurrences, told_at = now(), \
     state = CASE WHEN $2 THEN 'resolved' ELSE state END, \
     resolved_at = CASE WHEN $2 THEN coalesce(resolved_at, now()) END, \
     next_at = CASE WHEN $2 THEN NULL ELSE now() + make_interval(secs => repeat_ms / 1000.0) END \
     WHERE id = $1";

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn group() -> Group {
        Group {
            id: Uuid::nil(),
            kind: "verdict".into(),
            pipeline: Some("mail".into()),
            name: "quarantined".into(),
            labels: serde_json::json!({"event.org": "acme"}),
            details: serde_json::json!({"action": "quarantine"}),
            firing: true,
            receivers: vec!["ops".into()],
            occurrences: 3,
            told: 0,
            started_at: Timestamp::UNIX_EPOCH,
            last_at: Timestamp::UNIX_EPOCH,
            told_at: None,
        }
    }

    fn step(change: impl FnOnce(&mut Group)) -> Step {
        let mut group = group();
        change(&mut group);
        group.step()
    }

    #[test]
    fn a_group_is_told_when_it_fires_and_again_when_it_goes_on() {
        let told = |group: &mut Group| (group.told_at, group.told) = (Some(Timestamp::UNIX_EPOCH), 3);
        assert_eq!(step(|_| {}), Step::Tell(Reason::Firing));
        assert_eq!(
            step(|group| {
                told(group);
                group.occurrences = 4;
            }),
            Step::Tell(Reason::Repeat)
        );
        assert_eq!(step(told), Step::Tell(Reason::Resolved), "quiet for as long as the repeat");
    }

    #[test]
    fn a_signal_goes_on_until_it_is_resolved() {
        let signal = |group: &mut Group, firing, told: bool| {
            group.kind = "signal".into();
            group.firing = firing;
            (group.told_at, group.told) = (told.then_some(Timestamp::UNIX_EPOCH), 3);
        };
        assert_eq!(step(|group| signal(group, true, false)), Step::Tell(Reason::Firing));
        assert_eq!(step(|group| signal(group, true, true)), Step::Tell(Reason::Repeat));
        assert_eq!(step(|group| signal(group, false, true)), Step::Tell(Reason::Resolved));
        assert_eq!(step(|group| signal(group, false, false)), Step::Silence, "over before anybody was told");
    }
}
