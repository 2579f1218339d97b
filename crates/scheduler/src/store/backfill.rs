//! Moments of the past, in the background: planned first, then run, and never in the way of what is live.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use millrace_postgres::GenericClient;
use serde_json::Value;

use super::{Flow, NewRun, READY, Store, db, runs};
use crate::{
    document::{Interval as IntervalKind, Order},
    error::{Error, Result},
    plan::Plan,
    render::Interval,
    slots,
    state::{Class, RunKind},
};

/// The most runs of one backfill.
const MAX_RUNS: usize = 100_000;
/// Runs that are added in one statement.
const BATCH: usize = 1_000;

/// What is to be backfilled.
#[derive(Clone, Debug)]
pub struct Backfill {
    /// Moments from here,
    pub from: Timestamp,
    /// up to here, without it.
    pub to: Timestamp,
    /// Also those that have a run which has succeeded, or is on its way.
    pub all: bool,
    /// Which come first.
    pub order: Order,
    /// Runs at once.
    pub max_parallel: u32,
    /// Values of parameters.
    pub params: BTreeMap<String, Value>,
}

/// What a backfill runs, or would.
#[derive(Clone, Debug)]
pub struct Backfilled {
    /// The moments, in the order in which they run.
    pub moments: Vec<Timestamp>,
    /// How long it takes, by the runs of the past; none where there are none.
    pub estimate: Option<Duration>,
    /// Its number; none when it was only planned.
    pub id: Option<i64>,
}

/// Moments that need no run: one of theirs has succeeded, or is on its way. By hand or by schedule, it is about the same.
const PRESENT: &str = "\
SELECT DISTINCT interval_end FROM scheduler.run
WHERE flow_id = $1 AND interval_end >= $2 AND interval_end < $3 AND kind IN (0, 2) AND state <= 10";

/// How long the newest runs that succeeded took, half of them less.
const MEDIAN: &str = "\
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM ended_at - started_at)::double precision) FROM (
    SELECT started_at, ended_at FROM scheduler.run WHERE flow_id = $1 AND state = 10 AND started_at IS NOT NULL
    ORDER BY id DESC LIMIT 100
) r";

impl Store {
    /// The parameters that a flow's binding gives.
    pub async fn binding_params(&self, flow: &Flow) -> Result<BTreeMap<String, Value>> {
        let Some(hash) = flow.binding_hash else { return Ok(BTreeMap::new()) };
        let client = self.pool.get().await?;
        Ok(self.plans.binding(&client, hash).await?.spec.params.clone())
    }

    /// Plans a backfill and, unless it is only to be planned, begins it.
    pub async fn backfill(&self, flow: &Flow, backfill: &Backfill, dry_run: bool) -> Result<Backfilled> {
        let plan = self.plan(flow.hash).await?;
        let bound = self.binding_params(flow).await?;
        let params = plan.params.resolve([&bound, &backfill.params]).map_err(|problems| Error::params(&problems))?;
        let moments = self.moments(flow, &plan, backfill).await?;
        let estimate = self.estimate(flow, moments.len(), backfill.max_parallel).await?;
        let mut planned = Backfilled { moments, estimate, id: None };
        if !dry_run && !planned.moments.is_empty() {
            let make = |at: &Timestamp, id: i64| new_run(flow, &plan, *at, &params, id);
            planned.id = Some(Self::again(|| self.begin_backfill(flow, backfill, &planned.moments, &make)).await?);
        }
        Ok(planned)
    }

    /// The moments that a backfill runs, in its order.
    async fn moments(&self, flow: &Flow, plan: &Plan, backfill: &Backfill) -> Result<Vec<Timestamp>> {
        let Backfill { from, to, order, .. } = backfill;
        let timetable = plan.timetable.as_ref();
        let timetable = timetable.ok_or_else(|| Error::Invalid(format!("{} has no schedule", flow.name())))?;
        if from >= to {
            return Err(Error::Invalid(format!("nothing is between {from} and {to}")));
        }
        let before = from.checked_sub(jiff::SignedDuration::from_nanos(1)).unwrap_or(*from);
        let due = std::iter::successors(timetable.due_after(before), |last| timetable.due_after(last.at));
        let mut moments: Vec<Timestamp> =
            due.map(|moment| moment.at).take_while(|at| at < to).take(MAX_RUNS + 1).collect();
        if moments.len() > MAX_RUNS {
            return Err(Error::Invalid(format!("more than {MAX_RUNS} moments: backfill a shorter time")));
        }
        leave_out(&self.pool.get().await?, flow, backfill, &mut moments).await?;
        if *order == Order::NewestFirst {
            moments.reverse();
        }
        Ok(moments)
    }

    async fn estimate(&self, flow: &Flow, runs: usize, at_once: u32) -> Result<Option<Duration>> {
        let client = self.pool.get().await?;
        let median: Option<f64> = client.query_one(MEDIAN, &[&flow.id.0]).await.map_err(db)?.get(0);
        let rounds = runs.div_ceil(at_once.max(1) as usize) as f64;
        Ok(median.and_then(|median| Duration::try_from_secs_f64(median * rounds).ok()))
    }

    async fn begin_backfill(
        &self,
        flow: &Flow,
        backfill: &Backfill,
        moments: &[Timestamp],
        make: &impl Fn(&Timestamp, i64) -> NewRun,
    ) -> Result<i64> {
        let mut client = self.pool.get().await?;
        let tx = client.transaction().await.map_err(db)?;
        // One backfill of a flow begins at a time: the next sees what this one has taken.
        let lock = "SELECT id FROM scheduler.flow WHERE id = $1 FOR NO KEY UPDATE";
        tx.query(lock, &[&flow.id.0]).await.map_err(db)?;
        let mut moments = moments.to_vec();
        leave_out(&tx, flow, backfill, &mut moments).await?;
        let insert = "INSERT INTO scheduler.backfill (flow_id, max_parallel) VALUES ($1, $2) RETURNING id";
        let most = i32::try_from(backfill.max_parallel).unwrap_or(i32::MAX);
        let id: i64 = tx.query_one(insert, &[&flow.id.0, &most]).await.map_err(db)?.get(0);
        for moments in moments.chunks(BATCH) {
            let made: Vec<NewRun> = moments.iter().map(|at| make(at, id)).collect();
            runs::add(self, &tx, &made).await?;
        }
        self.notify(&tx, READY).await?;
        tx.commit().await.map_err(db)?;
        Ok(id)
    }
}

/// Leaves those out that need no run, unless all are to run.
async fn leave_out(
    client: &impl GenericClient,
    flow: &Flow,
    backfill: &Backfill,
    moments: &mut Vec<Timestamp>,
) -> Result<()> {
    if !backfill.all {
        let rows = client.query(PRESENT, &[&flow.id.0, &backfill.from, &backfill.to]).await.map_err(db)?;
        let present: BTreeSet<Timestamp> = rows.iter().map(|row| row.get(0)).collect();
        moments.retain(|at| !present.contains(at));
    }
    Ok(())
}

fn new_run(flow: &Flow, plan: &Arc<Plan>, at: Timestamp, params: &Value, id: i64) -> NewRun {
    let spec = plan.dag.spec.schedule.as_ref();
    let begins = plan.timetable.as_ref().and_then(|it| it.tick_before(at));
    let start = match spec.map(|spec| spec.interval) {
        Some(IntervalKind::Previous) => begins.unwrap_or(at),
        Some(IntervalKind::None) | None => at,
    };
    // All of them again are others than those that are there.
    let key = slots::key(RunKind::Backfill, at);
    NewRun {
        flow: flow.id,
        plan: Arc::clone(plan),
        binding_hash: flow.binding_hash,
        key: format!("{key}__{id}"),
        kind: RunKind::Backfill,
        class: Class::Background,
        backfill: Some(id),
        slot: None,
        logical_at: Some(start),
        interval: Some(Interval { start, end: at }),
        params: params.clone(),
    }
}
