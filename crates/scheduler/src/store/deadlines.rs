//! Deadlines of runs: watched until what must be done is done.
//!
//! They are looked at when they are due, when there is news of their run and, where a risk is to be told before, in between.
//! The transaction that takes a decision writes what is told of it; it goes to Kafka from there (`store/signals.rs`).

mod known;
mod say;

pub(super) use known::{Pasts, pasts};

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use millrace_postgres::{GenericClient, Row, Transaction};

use self::known::Known;
use super::{DEADLINES, FlowId, Launch, NewRun, RunId, RunInfo, Store, db, flows::named, signals, tasks::seconds};
use crate::{
    deadline::{Decision, Next, Target, Told, Watch},
    document::{After, Deadline},
    error::{Error, Result},
    plan::{Hash, Plan},
    state::Class,
};

/// Deadlines of one transaction.
const BATCH: i64 = 50;
/// How long one transaction looks: whoever reports the end of a task of these runs waits for it.
const BUDGET: Duration = Duration::from_millis(50);
/// How soon a moment without a run is looked at again that was missed, at least: no run of it tells news. Later it is ever
/// more seldom, by a tenth of its age.
const MISSED: SignedDuration = SignedDuration::from_mins(10);
/// When one is looked at again that this version cannot read.
const LATER: SignedDuration = SignedDuration::from_mins(1);

/// What had passed before the document was in force that asks for it is not watched.
const ADD: &str = "\
INSERT INTO scheduler.deadline (flow_id, run_id, slot_at, hash, place, due_at, look_at)
SELECT d.flow_id, d.run_id, d.slot_at, d.hash, d.place, d.due_at, CASE WHEN d.predict AND d.due_at IS NOT NULL THEN now() ELSE d.due_at END
FROM (
    SELECT flow_id, run_id, slot_at, hash, place, predict, coalesce(due_at, now() + make_interval(secs => within)) AS due_at
    FROM unnest($1::integer[], $2::bigint[], $3::timestamptz[], $4::bytea[], $5::smallint[], $6::boolean[], $7::timestamptz[],
                $8::double precision[]) AS d(flow_id, run_id, slot_at, hash, place, predict, due_at, within)
) d JOIN scheduler.document t ON t.hash = d.hash JOIN scheduler.flow f ON f.id = d.flow_id
LEFT JOIN scheduler.document b ON b.hash = f.binding_hash
WHERE d.due_at IS NULL OR d.due_at > greatest(t.applied_at, b.applied_at)
ON CONFLICT DO NOTHING";

/// What they are counted from has begun, or it matters from now on how their tasks go.
const BEGIN: &str = "\
UPDATE scheduler.deadline d
SET due_at = coalesce(d.due_at, coalesce($5::timestamptz, now()) + make_interval(secs => b.within)),
    look_at = CASE WHEN b.predict THEN now()
                   ELSE coalesce(d.due_at, coalesce($5::timestamptz, now()) + make_interval(secs => b.within)) END
FROM unnest($1::bigint[], $2::smallint[], $3::boolean[], $4::double precision[], $6::bytea[]) AS b(run_id, place, predict, within, hash)
WHERE d.run_id = b.run_id AND d.place = b.place AND d.hash = b.hash AND (d.due_at IS NULL OR $5::timestamptz IS NULL)";

const NEWS: &str = "UPDATE scheduler.deadline SET look_at = now() WHERE run_id = ANY($1::bigint[])";

const LOOK: &str = "\
SELECT d.id, d.flow_id, d.run_id, d.slot_at, d.hash, d.place, d.due_at, d.told, d.since, f.dag, f.binding, now()
FROM scheduler.deadline d JOIN scheduler.flow f ON f.id = d.flow_id
WHERE d.look_at <= now() ORDER BY d.look_at LIMIT $1 FOR UPDATE OF d SKIP LOCKED";

const LOOKED: &str = "UPDATE scheduler.deadline SET told = $2, since = $3, look_at = $4 WHERE id = $1";

/// A deadline that is looked at.
pub(super) struct Watched {
    id: i64,
    flow: FlowId,
    dag: String,
    binding: String,
    run: Option<RunId>,
    slot_at: Option<Timestamp>,
    hash: Hash,
    place: i16,
    due: Option<Timestamp>,
    told: Told,
    since: Option<Timestamp>,
    now: Timestamp,
}

/// What has come of a look at deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looked {
    /// How many were looked at.
    pub deadlines: usize,
    /// There are more to be looked at now.
    pub more: bool,
    /// How many signals were given.
    pub signals: usize,
    /// How long until the next one is to be looked at; none while there is none.
    pub next: Option<SignedDuration>,
}

/// Rows of deadlines, as Postgres takes them.
#[derive(Default)]
struct Rows {
    flows: Vec<i32>,
    runs: Vec<Option<i64>>,
    slots: Vec<Option<Timestamp>>,
    hashes: Vec<Vec<u8>>,
    places: Vec<i16>,
    predict: Vec<bool>,
    due: Vec<Option<Timestamp>>,
    within: Vec<Option<f64>>,
}

impl Rows {
    fn run(&mut self, run: &NewRun, id: RunId) {
        for (place, deadline) in run.plan.deadlines() {
            let (due, within) = match deadline.after {
                // The past that a backfill is about was missed long ago.
                After::IntervalEnd | After::Queued if run.class == Class::Background => continue,
                After::IntervalEnd => match run.interval {
                    Some(interval) => (Some(after(interval.end, deadline)), None),
                    None => continue,
                },
                After::Queued => (None, Some(seconds(deadline.within))),
                After::Started => (None, None),
            };
            self.push(run.flow.0, Some(id.0), run.slot.map(|slot| slot.at), &run.plan, (place, deadline));
            self.due.push(due);
            self.within.push(within);
        }
    }

    /// A moment that has no run.
    fn moment(&mut self, flow: FlowId, plan: &Plan, at: Timestamp) {
        for (place, deadline) in plan.deadlines().filter(|(_, deadline)| deadline.slots) {
            self.push(flow.0, None, Some(at), plan, (place, deadline));
            self.due.push(Some(after(at, deadline)));
            self.within.push(None);
        }
    }

    fn push(&mut self, flow: i32, run: Option<i64>, slot: Option<Timestamp>, plan: &Plan, which: (i16, &Deadline)) {
        self.flows.push(flow);
        self.runs.push(run);
        self.slots.push(slot);
        self.hashes.push(plan.hash.0.to_vec());
        self.places.push(which.0);
        self.predict.push(which.1.predict.is_some());
    }

    async fn add(&self, store: &Store, tx: &Transaction<'_>) -> Result<()> {
        if self.flows.is_empty() {
            return Ok(());
        }
        let Self { flows, runs, slots, hashes, places, predict, due, within } = self;
        let add = tx.prepare_cached(ADD).await.map_err(db)?;
        tx.execute(&add, &[flows, runs, slots, hashes, places, predict, due, within]).await.map_err(db)?;
        store.notify(tx, DEADLINES).await
    }
}

fn after(at: Timestamp, deadline: &Deadline) -> Timestamp {
    let within = SignedDuration::from_millis(i64::try_from(deadline.within.as_millis()).unwrap_or(i64::MAX));
    at.saturating_add(within).unwrap_or(Timestamp::MAX)
}

/// Watches the deadlines of runs that are new.
pub(super) async fn add(store: &Store, tx: &Transaction<'_>, runs: &[NewRun], ids: &[Option<RunId>]) -> Result<()> {
    let mut rows = Rows::default();
    for (run, id) in runs.iter().zip(ids).filter_map(|(run, id)| Some((run, (*id)?))) {
        rows.run(run, id);
    }
    rows.add(store, tx).await
}

/// Watches the deadlines of moments that have no run.
pub(super) async fn add_moments<'a>(
    store: &Store,
    tx: &Transaction<'_>,
    moments: impl Iterator<Item = (FlowId, &'a Plan, Timestamp)>,
) -> Result<()> {
    let mut rows = Rows::default();
    for (flow, plan, at) in moments {
        rows.moment(flow, plan, at);
    }
    rows.add(store, tx).await
}

/// Runs have begun.
pub(super) async fn begin<'a>(
    store: &Store,
    tx: &Transaction<'_>,
    runs: impl Iterator<Item = (i64, &'a Plan)>,
) -> Result<()> {
    let counts = |deadline: &Deadline| deadline.after == After::Started && deadline.task.is_none();
    let which = runs.flat_map(|(run, plan)| plan.deadlines().map(move |it| (run, plan, it)));
    let which = which.filter(|(_, _, (_, deadline))| deadline.predict.is_some() || counts(deadline));
    let mut counted = Counted::default();
    for (run, plan, (place, deadline)) in which {
        counted.push(run, plan, (place, deadline), counts(deadline).then(|| seconds(deadline.within)));
    }
    counted.write(store, tx, None).await
}

/// Deadlines that count from now on, or whose risk matters from now on.
#[derive(Default)]
struct Counted {
    runs: Vec<i64>,
    places: Vec<i16>,
    predict: Vec<bool>,
    within: Vec<Option<f64>>,
    hashes: Vec<Vec<u8>>,
}

impl Counted {
    fn push(&mut self, run: i64, plan: &Plan, (place, deadline): (i16, &Deadline), within: Option<f64>) {
        self.runs.push(run);
        self.hashes.push(plan.hash.0.to_vec());
        self.places.push(place);
        self.predict.push(deadline.predict.is_some());
        self.within.push(within);
    }

    /// `at`: from when on they count, where that is not now.
    async fn write(&self, store: &Store, client: &impl GenericClient, at: Option<Timestamp>) -> Result<()> {
        if self.runs.is_empty() {
            return Ok(());
        }
        let begin = client.prepare_cached(BEGIN).await.map_err(db)?;
        let Self { runs, places, predict, within, hashes } = self;
        let found = client.execute(&begin, &[runs, places, predict, within, &at, hashes]).await.map_err(db)?;
        if found > 0 { store.notify(client, DEADLINES).await } else { Ok(()) }
    }
}

/// Tasks of runs are done.
pub(super) async fn news(store: &Store, tx: &Transaction<'_>, runs: &BTreeSet<RunId>) -> Result<()> {
    if runs.is_empty() {
        return Ok(());
    }
    let runs: Vec<i64> = runs.iter().map(|run| run.0).collect();
    let news = tx.prepare_cached(NEWS).await.map_err(db)?;
    let found = tx.execute(&news, &[&runs]).await.map_err(db)?;
    if found > 0 { store.notify(tx, DEADLINES).await } else { Ok(()) }
}

impl Store {
    /// A task of a run has begun, and deadlines may count from there.
    pub async fn task_has_begun(&self, run: &RunInfo, launch: &Launch) -> Result<()> {
        let task = run.plan.graph.name(launch.key.task as usize);
        let mut counted = Counted::default();
        for (place, deadline) in run.plan.deadlines() {
            if deadline.after == After::Started && deadline.task.as_deref() == Some(task) {
                counted.push(run.id.0, &run.plan, (place, deadline), Some(seconds(deadline.within)));
            }
        }
        let client = self.pool.get().await?;
        counted.write(self, &client, Some(launch.launched_at)).await
    }

    /// Looks at the deadlines for which it is time, and gives signals of what is to be told.
    pub async fn look_at_deadlines(&self) -> Result<Looked> {
        Self::again(|| self.look_once()).await
    }

    async fn look_once(&self) -> Result<Looked> {
        let mut client = self.pool.get().await?;
        let tx = client.transaction().await.map_err(db)?;
        let look = tx.prepare_cached(LOOK).await.map_err(db)?;
        let rows = tx.query(&look, &[&BATCH]).await.map_err(db)?;
        let (began, mut deadlines, mut said) = (Instant::now(), 0, Vec::new());
        for row in &rows {
            if deadlines > 0 && began.elapsed() > BUDGET {
                break;
            }
            deadlines += 1;
            let watched = Watched::read(row)?;
            match self.look(&tx, &watched).await {
                Ok(say) => said.extend(say),
                // It waits for a version that can read it; the others do not.
                Err(error @ Error::Document { .. }) => {
                    tracing::error!(%error, deadline = watched.id, "deadline cannot be read");
                    watched
                        .write(&tx, watched.told, Some(watched.now.saturating_add(LATER).unwrap_or(watched.now)))
                        .await?;
                }
                Err(error) => return Err(error),
            }
        }
        signals::add(self, &tx, &said).await?;
        let next = "SELECT min(look_at), now() FROM scheduler.deadline WHERE look_at IS NOT NULL";
        let next = tx.prepare_cached(next).await.map_err(db)?;
        let row = tx.query_one(&next, &[]).await.map_err(db)?;
        let next = row.get::<_, Option<Timestamp>>(0).map(|next| next.duration_since(row.get(1)));
        tx.commit().await.map_err(db)?;
        Ok(Looked { deadlines, more: deadlines < rows.len() || rows.len() as i64 == BATCH, signals: said.len(), next })
    }

    /// Looks at one, and gives the signals.
    async fn look(&self, tx: &Transaction<'_>, watched: &Watched) -> Result<Vec<serde_json::Value>> {
        let plan = self.plans.get(tx, watched.hash).await?;
        let Some(deadline) = usize::try_from(watched.place).ok().and_then(|place| plan.dag.spec.deadlines.get(place))
        else {
            return Err(Error::Strange(format!("deadline {} of a plan that has none of its place", watched.id)));
        };
        let known = Known::read(self, tx, watched, &plan, deadline).await?;
        let target = known.target(watched, &plan, deadline);
        let mut watch = Watch { due: watched.due, predict: deadline.predict, told: watched.told };
        // Without a run that could be in time there is nothing to foresee.
        if watched.run.is_none() {
            watch.predict = None;
        }
        let past = match target {
            Target::Open if watch.predict.is_some() => Some(self.past(tx, watched.flow, &plan).await?),
            _ => None,
        };
        let decision =
            watch.look(target, watched.now, |due| known.forecast(watched, &plan, deadline, past.as_deref()?, due));
        let Decision { told, say, next } = decision;
        match next {
            Next::Over => {
                tx.execute("DELETE FROM scheduler.deadline WHERE id = $1", &[&watched.id]).await.map_err(db)?;
            }
            Next::At(at) => watched.write(tx, told, Some(at)).await?,
            // Of a moment without a run no news come.
            Next::News if watched.run.is_none() => {
                let age = watched.now.duration_since(watched.slot_at.unwrap_or(watched.now));
                watched.write(tx, told, watched.now.saturating_add(MISSED.max(age / 10)).ok()).await?;
            }
            Next::News => watched.write(tx, told, None).await?,
        }
        Ok(say.iter().map(|say| say::signal(watched, &known, &plan, deadline, say)).collect())
    }
}

impl Watched {
    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.get(0),
            flow: FlowId(row.get(1)),
            run: row.get::<_, Option<i64>>(2).map(RunId),
            slot_at: row.get(3),
            hash: Hash::read(row.get(4))?,
            place: row.get(5),
            due: row.get(6),
            told: Told::from_number(row.get(7)),
            since: row.get(8),
            dag: row.get(9),
            binding: row.get(10),
            now: row.get(11),
        })
    }

    /// What it is about: a DAG, with its binding.
    fn subject(&self) -> String {
        named(&self.dag, &self.binding)
    }

    /// Since when something is to be told, if anything is.
    fn since(&self) -> Timestamp {
        self.since.unwrap_or(self.now)
    }

    async fn write(&self, tx: &Transaction<'_>, told: Told, look_at: Option<Timestamp>) -> Result<()> {
        let since = (told != Told::Nothing).then(|| self.since());
        let looked = tx.prepare_cached(LOOKED).await.map_err(db)?;
        tx.execute(&looked, &[&self.id, &told.number(), &since, &look_at]).await.map_err(db)?;
        Ok(())
    }
}
