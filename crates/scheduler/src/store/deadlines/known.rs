//! What is known of what a deadline is about, and of how long it took before.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use millrace_postgres::{GenericClient, Transaction};

use super::Watched;
use crate::{
    deadline::Target,
    document::Deadline,
    error::{Error, Result},
    forecast::{self, FEWEST, Forecast, Step},
    plan::{Hash, Plan},
    state::{RunState, TaskState},
    store::{FlowId, RunId, Store, db},
};

/// Runs of the past that are looked at, and among how many of the latest.
const RUNS: usize = 50;
const AMONG: i64 = 300;
/// Flows whose pasts are kept, and for how long.
const FLOWS: u64 = 1_000;
const FRESH: Duration = Duration::from_mins(1);
/// Tasks of the past that are read, about.
const TASKS: usize = 100_000;

const RUN: &str = "SELECT state, key, started_at, ended_at, hash FROM scheduler.run WHERE id = $1";

/// The first run that did the work of a moment.
const MOMENT: &str = "SELECT min(ended_at) FROM scheduler.run WHERE flow_id = $1 AND interval_end = $2 AND state = 10";

const STATES: &str = "\
SELECT no, state, ended_at FROM scheduler.task WHERE run_id = $1 AND item = -1
UNION ALL SELECT no, state, ended_at FROM scheduler.task_done WHERE run_id = $1 AND item = -1";

/// What was cleared has times of its own.
const PAST_RUNS: &str = "\
SELECT id, hash, started_at FROM (
    SELECT id, hash, started_at, state, epoch FROM scheduler.run WHERE flow_id = $1 ORDER BY id DESC LIMIT $2
) r WHERE state = 10 AND epoch = 0 AND started_at IS NOT NULL ORDER BY id DESC LIMIT $3";

/// By the whole key of the index, so that the instances of mapped tasks are not looked at.
const PAST_TASKS: &str = "\
SELECT run_id, no, ended_at FROM scheduler.task_done
WHERE run_id = ANY($1::bigint[]) AND no = ANY($2::smallint[]) AND item = -1";

/// What tasks took in the past, by their names, in seconds and in order; each from when nothing was left that it waited for.
pub(crate) type Past = BTreeMap<String, Arc<[f64]>>;

/// The pasts of flows. They change slowly, and are asked for with each task that is done.
pub(crate) type Pasts = moka::sync::Cache<FlowId, Arc<Past>>;

/// None yet.
pub(crate) fn pasts() -> Pasts {
    moka::sync::Cache::builder().max_capacity(FLOWS).time_to_live(FRESH).build()
}

/// What is known of a run, or of a moment that has none.
pub(super) struct Known {
    /// None: there is no run, or it is gone.
    run: Option<Run>,
    /// Of a moment, when another run had done its work.
    made_up: Option<Timestamp>,
}

struct Run {
    key: String,
    state: RunState,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    /// By number; empty where nobody asks for them.
    tasks: BTreeMap<usize, (TaskState, Option<Timestamp>)>,
}

impl Known {
    pub(super) async fn read(
        store: &Store,
        tx: &Transaction<'_>,
        watched: &Watched,
        plan: &Plan,
        deadline: &Deadline,
    ) -> Result<Self> {
        let Some(run) = watched.run else {
            let moment = tx.prepare_cached(MOMENT).await.map_err(db)?;
            let row = tx.query_one(&moment, &[&watched.flow.0, &watched.slot_at]).await.map_err(db)?;
            return Ok(Self { run: None, made_up: row.get(0) });
        };
        let select = tx.prepare_cached(RUN).await.map_err(db)?;
        let gone = Self { run: None, made_up: None };
        let Some(row) = tx.query_opt(&select, &[&run.0]).await.map_err(db)? else { return Ok(gone) };
        let state =
            RunState::from_number(row.get(0)).ok_or_else(|| Error::Strange(format!("the state of run {}", run.0)))?;
        let asked = deadline.task.is_some() || (deadline.predict.is_some() && state == RunState::Running);
        let mut tasks = if asked { tasks(tx, run).await? } else { BTreeMap::new() };
        let hash = Hash::read(row.get(4))?;
        if asked && hash != watched.hash {
            // It has another plan since it was cleared: its tasks are known by their names.
            let other = store.plans.get(tx, hash).await?;
            let here =
                |number: usize| (number < other.graph.len()).then(|| plan.graph.number(other.graph.name(number)));
            tasks = tasks.into_iter().filter_map(|(number, it)| Some((here(number)??, it))).collect();
        }
        let run = Run { key: row.get(1), state, started: row.get(2), ended: row.get(3), tasks };
        Ok(Self { run: Some(run), made_up: None })
    }

    /// What makes the run the one that it is, where there is one.
    pub(super) fn key(&self) -> Option<&str> {
        self.run.as_ref().map(|run| run.key.as_str())
    }

    /// What has become of what must be done.
    pub(super) fn target(&self, watched: &Watched, plan: &Plan, deadline: &Deadline) -> Target {
        let Some(run) = &self.run else {
            return match (watched.run, self.made_up) {
                (Some(_), _) => Target::Dropped,
                (None, Some(at)) => Target::Done(at),
                (None, None) => Target::Open,
            };
        };
        let task = deadline.task.as_deref().and_then(|task| plan.graph.number(task));
        match (run.state, task) {
            (RunState::Cancelled, _) => Target::Dropped,
            (RunState::Queued, _) | (RunState::Running, None) => Target::Open,
            (RunState::Succeeded, None) => Target::Done(run.ended.unwrap_or(watched.now)),
            (RunState::Failed, None) => Target::Failed,
            (_, Some(task)) => match run.tasks.get(&task) {
                Some((TaskState::Succeeded | TaskState::Skipped, at)) => Target::Done(at.unwrap_or(watched.now)),
                Some((state, _)) if state.is_final() => Target::Failed,
                // It has another plan since, in which there is no such task.
                None if run.state.is_final() => Target::Dropped,
                _ => Target::Open,
            },
        }
    }

    /// Whether there are runs of the past enough, how likely it is that what must be done is late.
    pub(super) fn forecast(
        &self,
        watched: &Watched,
        plan: &Plan,
        deadline: &Deadline,
        past: &Past,
        due: Timestamp,
    ) -> Option<Forecast> {
        let run = self.run.as_ref()?;
        let from_now = |at: Timestamp| at.duration_since(watched.now).as_secs_f64();
        let steps: Vec<Step> = (0..plan.graph.len())
            .map(|task| {
                let done = run.tasks.get(&task).filter(|(state, _)| state.is_final()).and_then(|(_, at)| *at);
                Step {
                    needs: plan.waits_for(task).to_vec(),
                    past: past.get(plan.graph.name(task)).cloned().unwrap_or_default(),
                    done: done.map(|at| from_now(at).min(0.0)),
                }
            })
            .collect();
        let target = deadline.task.as_deref().and_then(|task| plan.graph.number(task));
        let known = steps.iter().map(|step| step.past.len()).max().unwrap_or_default();
        (known >= FEWEST)
            .then(|| forecast::forecast(&steps, target, run.started.map(from_now), from_now(due), watched.id as u64))
    }
}

async fn tasks(tx: &Transaction<'_>, run: RunId) -> Result<BTreeMap<usize, (TaskState, Option<Timestamp>)>> {
    let select = tx.prepare_cached(STATES).await.map_err(db)?;
    let rows = tx.query(&select, &[&run.0]).await.map_err(db)?;
    let task = |row: &millrace_postgres::Row| {
        Some((usize::try_from(row.get::<_, i16>(0)).ok()?, (TaskState::from_number(row.get(1))?, row.get(2))))
    };
    Ok(rows.iter().filter_map(task).collect())
}

impl Store {
    /// What the tasks of a flow took, in runs that have succeeded, up to a minute ago.
    pub(super) async fn past(&self, client: &impl GenericClient, flow: FlowId, plan: &Plan) -> Result<Arc<Past>> {
        if let Some(past) = self.pasts.get(&flow) {
            return Ok(past);
        }
        let past = Arc::new(self.read_past(client, flow, plan).await?);
        // What is too little may be enough with the next run.
        if past.values().any(|it| it.len() >= FEWEST) {
            self.pasts.insert(flow, Arc::clone(&past));
        }
        Ok(past)
    }

    async fn read_past(&self, client: &impl GenericClient, flow: FlowId, plan: &Plan) -> Result<Past> {
        let most = (TASKS / plan.graph.len().max(1)).clamp(FEWEST, RUNS) as i64;
        let select = client.prepare_cached(PAST_RUNS).await.map_err(db)?;
        let rows = client.query(&select, &[&flow.0, &AMONG, &most]).await.map_err(db)?;
        let mut runs = HashMap::with_capacity(rows.len());
        for row in &rows {
            // Numbers of tasks are those of the run's own plan.
            let Ok(plan) = self.plans.get(client, Hash::read(row.get(1))?).await else { continue };
            runs.insert(row.get::<_, i64>(0), (plan, row.get::<_, Timestamp>(2), BTreeMap::new()));
        }
        let ids: Vec<i64> = runs.keys().copied().collect();
        let numbers: Vec<i16> =
            (0..runs.values().map(|(plan, ..)| plan.graph.len()).max().unwrap_or(0) as i16).collect();
        let select = client.prepare_cached(PAST_TASKS).await.map_err(db)?;
        for row in client.query(&select, &[&ids, &numbers]).await.map_err(db)? {
            if let Some((_, _, ended)) = runs.get_mut(&row.get::<_, i64>(0)) {
                ended.insert(row.get::<_, i16>(1) as usize, row.get::<_, Timestamp>(2));
            }
        }
        let mut took: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (plan, started, ended) in runs.into_values() {
            for (&task, &end) in &ended {
                let needs = plan.waits_for(task).iter().filter_map(|needed| ended.get(needed)).copied();
                let from = needs.max().unwrap_or(started).max(started);
                let seconds = end.duration_since(from).as_secs_f64().max(0.0);
                took.entry(plan.graph.name(task).to_owned()).or_default().push(seconds);
            }
        }
        let in_order = |(task, mut took): (String, Vec<f64>)| {
            took.sort_by(f64::total_cmp);
            (task, took.into())
        };
        Ok(took.into_iter().map(in_order).collect())
    }
}
