//! What was read, into Postgres: inside the transaction that moves the ledger.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use futures::future::try_join_all;
use millrace_core::{Pipeline, Span, pipeline::Alert};
use millrace_postgres::{Error, Transaction, storable};
use serde_json::json;
use uuid::Uuid;

use super::{
    DUE,
    alert::{self, Occurrence, Raised, Signal, State},
};
use crate::metrics::NotifyMetrics;

/// A group that goes on is told again no sooner than this, whatever its document says.
const SHORTEST_REPEAT: Span = Span::seconds(1);

/// What an alert's document says beside what the verdict carries.
pub(crate) struct Settings {
    pipelines: HashMap<String, Vec<Alert>>,
    /// Whom there is a way to.
    receivers: HashSet<String>,
    signal_receivers: Vec<String>,
    signal_repeat: Span,
}

impl Settings {
    pub(crate) fn new(
        pipelines: &[Pipeline],
        receivers: impl Iterator<Item = String>,
        signal_receivers: Vec<String>,
        signal_repeat: Span,
    ) -> Self {
        let alerts = |pipeline: &Pipeline| (pipeline.name().to_owned(), pipeline.spec.alerts.clone());
        let pipelines = pipelines.iter().map(alerts).collect();
        Self { pipelines, receivers: receivers.collect(), signal_receivers, signal_repeat }
    }

    /// Who is told of a signal: whom it names; where that is nobody, or one to whom there is no way, whoever gets all
    /// others.
    fn told_of(&self, signal: &Signal) -> BTreeSet<String> {
        let (known, unknown): (Vec<_>, Vec<_>) = signal.notify.iter().partition(|name| self.receivers.contains(*name));
        for receiver in &unknown {
            tracing::error!(kind = signal.kind, receiver, "signal names a receiver that is not configured");
        }
        let others = if known.is_empty() || !unknown.is_empty() { self.signal_receivers.as_slice() } else { &[] };
        known.into_iter().chain(others).map(|name| storable(name)).collect()
    }

    /// The alert as the document has it now; one that it has no more is told to nobody.
    fn alert(&self, pipeline: &str, name: &str) -> Option<&Alert> {
        self.pipelines.get(pipeline)?.iter().find(|alert| alert.name == name)
    }
}

/// Notes verdicts of one pipeline: each raises its alerts once, however often it comes.
pub(crate) async fn occurrences(
    transaction: &Transaction<'_>,
    settings: &Settings,
    pipeline: &str,
    occurrences: &[&Occurrence],
    metrics: &NotifyMetrics,
) -> Result<(), Error> {
    let raised: Vec<(&Occurrence, &Raised)> =
        occurrences.iter().flat_map(|&it| it.alerts.iter().map(move |raised| (it, raised))).collect();
    let new = only_new(transaction, raised).await?;
    if new.is_empty() {
        return Ok(());
    }
    let ids = fire(transaction, settings, pipeline, &new).await?;
    note(transaction, &new, |raised| ids[&raised.key(pipeline)]).await?;
    wake(transaction).await?;
    for (_, raised) in &new {
        metrics.events(pipeline, &raised.name, 1);
    }
    Ok(())
}

/// Lets the groups fire, or go on, and returns the alert of each by its key.
async fn fire(
    transaction: &Transaction<'_>,
    settings: &Settings,
    pipeline: &str,
    new: &[(&Occurrence, &Raised)],
) -> Result<HashMap<String, Uuid>, Error> {
    // In the order of their keys: replicas that store at the same time wait for each other and do not lock each other.
    let mut groups: BTreeMap<String, (&Occurrence, &Raised)> = BTreeMap::new();
    for &(occurrence, raised) in new {
        groups.entry(raised.key(pipeline)).or_insert((occurrence, raised));
    }
    let statement = transaction.prepare_cached(FIRE).await?;
    let upserts = groups.iter().map(async |(key, (occurrence, raised))| {
        let alert = settings.alert(pipeline, &raised.name);
        let receivers = alert.map(|alert| alert.notify.clone()).unwrap_or_default();
        let wait = alert.map_or(0, |alert| alert.group_wait.as_millis()) as f64 / 1000.0;
        let repeat = alert.map_or(SHORTEST_REPEAT, |alert| alert.repeat).max(SHORTEST_REPEAT).as_millis() as i64;
        let (labels, details) = (alert::labels(&raised.group), json!({"action": occurrence.action}));
        let name = storable(&raised.name);
        let row = transaction
            .query_one(
                &statement,
                &[&Uuid::now_v7(), &"verdict", &pipeline, &name, key, &labels, &details, &receivers, &repeat, &wait],
            )
            .await?;
        Ok::<_, Error>((key.clone(), row.get::<_, Uuid>(0)))
    });
    Ok(try_join_all(upserts).await?.into_iter().collect())
}

/// Notes the verdicts under their alerts, and counts them there.
async fn note(
    transaction: &Transaction<'_>,
    new: &[(&Occurrence, &Raised)],
    alert_of: impl Fn(&Raised) -> Uuid,
) -> Result<(), Error> {
    let statement = transaction.prepare_cached(NOTE).await?;
    transaction
        .execute(
            &statement,
            &[
                &new.iter().map(|(it, _)| it.verdict_id).collect::<Vec<_>>(),
                &new.iter().map(|(_, raised)| storable(&raised.name)).collect::<Vec<_>>(),
                &new.iter().map(|(_, raised)| alert_of(raised)).collect::<Vec<_>>(),
                &new.iter().map(|(it, _)| it.event_id.as_str()).collect::<Vec<_>>(),
                &new.iter().map(|(it, _)| it.correlation_id.as_str()).collect::<Vec<_>>(),
                &new.iter().map(|(it, _)| it.rule.as_str()).collect::<Vec<_>>(),
                &new.iter().map(|(it, _)| it.score).collect::<Vec<_>>(),
                &new.iter().map(|(it, _)| it.model_version.as_str()).collect::<Vec<_>>(),
                &new.iter().map(|(it, _)| it.received_at).collect::<Vec<_>>(),
                &new.iter().map(|(it, _)| it.judged_at).collect::<Vec<_>>(),
            ],
        )
        .await?;
    Ok(())
}

/// Those that are not noted yet, each once.
async fn only_new<'a>(
    transaction: &Transaction<'_>,
    raised: Vec<(&'a Occurrence, &'a Raised)>,
) -> Result<Vec<(&'a Occurrence, &'a Raised)>, Error> {
    let (ids, names): (Vec<Uuid>, Vec<&str>) =
        raised.iter().map(|(occurrence, raised)| (occurrence.verdict_id, raised.name.as_str())).unzip();
    let known = transaction.query(&transaction.prepare_cached(KNOWN).await?, &[&ids, &names]).await?;
    let mut seen: HashSet<(Uuid, String)> = known.iter().map(|row| (row.get(0), row.get(1))).collect();
    let is_new =
        |(occurrence, raised): &(&Occurrence, &Raised)| seen.insert((occurrence.verdict_id, storable(&raised.name)));
    Ok(raised.into_iter().filter(is_new).collect())
}

/// Notes a signal.
pub(crate) async fn signal(
    transaction: &Transaction<'_>,
    settings: &Settings,
    signal: &Signal,
    metrics: &NotifyMetrics,
) -> Result<(), Error> {
    let details = json!({
        "severity": signal.severity,
        "source": storable(&signal.source),
        "subject": storable(&signal.subject),
        "since": signal.since,
        "summary": storable(&signal.summary),
        "link": signal.link.as_deref().map(storable),
        "dedup_key": storable(&signal.dedup_key),
    });
    let (key, kind) = (signal.key(), storable(&signal.kind));
    match signal.state {
        State::Firing => {
            let receivers: Vec<String> = settings.told_of(signal).into_iter().collect();
            let repeat = settings.signal_repeat.max(SHORTEST_REPEAT).as_millis() as i64;
            let labels = alert::labels(&signal.labels);
            let id = transaction
                .query_one(
                    &transaction.prepare_cached(FIRE).await?,
                    &[
                        &Uuid::now_v7(),
                        &"signal",
                        &None::<&str>,
                        &kind,
                        &key,
                        &labels,
                        &details,
                        &receivers,
                        &repeat,
                        &0.0_f64,
                    ],
                )
                .await?
                .get::<_, Uuid>(0);
            transaction.execute(&transaction.prepare_cached(COUNT).await?, &[&id]).await?;
        }
        State::Resolved => {
            transaction.execute(&transaction.prepare_cached(RESOLVE).await?, &[&key, &details]).await?;
        }
    }
    metrics.signal(&signal.kind, signal.state.as_str());
    wake(transaction).await
}

/// Tells the other loop, once this transaction is committed.
async fn wake(transaction: &Transaction<'_>) -> Result<(), Error> {
    transaction.execute("SELECT pg_notify($1, '')", &[&DUE]).await?;
    Ok(())
}

const KNOWN: &str = "SELECT e.verdict_id, e.alert FROM unnest($1::uuid[], $2::text[]) AS k (verdict_id, alert) \
     JOIN alerter.alert_events e USING (verdict_id, alert)";

/// A group begins to fire, or goes on. Receivers and repeat follow the document as it is now.
const FIRE: &str = "INSERT INTO alerter.alerts \
     (id, kind, pipeline, name, group_key, labels, details, receivers, repeat_ms, state, next_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'firing', now() + make_interval(secs => $10)) \
     ON CONFLICT (group_key) WHERE state = 'firing' DO UPDATE \
     SET last_at = now(), receivers = excluded.receivers, repeat_ms = excluded.repeat_ms, details = excluded.details \
     RETURNING id";

const NOTE: &str = "WITH noted AS ( \
         INSERT INTO alerter.alert_events (verdict_id, alert, alert_id, event_id, correlation_id, rule, score, \
             model_version, received_at, judged_at) \
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::float8[], \
             $8::text[], $9::timestamptz[], $10::timestamptz[]) \
         ON CONFLICT DO NOTHING RETURNING alert_id), \
     counted AS (SELECT alert_id, count(*) AS n FROM noted GROUP BY alert_id) \
     UPDATE alerter.alerts a SET occurrences = a.occurrences + counted.n, last_at = now() \
     FROM counted WHERE a.id = counted.alert_id";

const COUNT: &str = "UPDATE alerter.alerts SET occurrences = occurrences + 1 WHERE id = $1";

const RESOLVE: &str = "UPDATE alerter.alerts \
     SET state = 'resolved', resolved_at = now(), last_at = now(), next_at = now(), details = $2 \
     WHERE group_key = $1 AND state = 'firing'";
