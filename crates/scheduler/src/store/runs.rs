use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use jiff::Timestamp;
use millrace_postgres::Transaction;
use serde_json::{Value, json};

use super::{FlowId, READY, Store, WHOLE, admit, db, deadlines, finish::storable_json};
use crate::{
    error::Result,
    plan::{Hash, Plan},
    render::Interval,
    slots::Gate,
    state::{Class, RunKind, RunState, TaskState},
};

/// A run's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(pub i64);

/// A run that is to be.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// What it is a run of.
    pub flow: FlowId,
    /// The plan that it is pinned to.
    pub plan: Arc<Plan>,
    /// The binding that it is pinned to.
    pub binding_hash: Option<Hash>,
    /// What makes it the run that it is: a second run of the same flow and key is the same run.
    pub key: String,
    /// How it came to be.
    pub kind: RunKind,
    /// Who goes first.
    pub class: Class,
    /// The backfill that it belongs to.
    pub backfill: Option<i64>,
    /// Of a scheduled run, its slot.
    pub slot: Option<SlotRun>,
    /// The moment that it is about.
    pub logical_at: Option<Timestamp>,
    /// The data that it is about.
    pub interval: Option<Interval>,
    /// Every parameter.
    pub params: Value,
}

/// What a run of a slot waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotRun {
    /// The slot.
    pub at: Timestamp,
    /// It was missed.
    pub caught_up: bool,
    /// Which goes first: the lowest.
    pub rank: i64,
    /// What it waits for.
    pub gate: Gate,
}

impl SlotRun {
    fn gate(&self) -> i32 {
        match self.gate {
            Gate::Open => 0,
            Gate::Alone => -1,
            Gate::Fewer(most) => i32::try_from(most.max(1)).unwrap_or(i32::MAX),
        }
    }
}

impl NewRun {
    /// A run by hand: of no moment, with the defaults of its parameters.
    pub fn by_hand(flow: FlowId, plan: &Arc<Plan>, key: impl Into<String>) -> Self {
        Self {
            flow,
            plan: Arc::clone(plan),
            binding_hash: None,
            key: key.into(),
            kind: RunKind::Manual,
            class: Class::Live,
            backfill: None,
            slot: None,
            logical_at: None,
            interval: None,
            params: json!(plan.params.defaults()),
        }
    }
}

/// Runs that wait for room, unless there are some of their keys.
const ADD: &str = "\
INSERT INTO scheduler.run (flow_id, key, hash, binding_hash, kind, class, state, backfill_id, logical_at, interval_start,
                           interval_end, params, tasks_left, slot_at, caught_up, rank, gate)
SELECT flow_id, key, hash, binding_hash, kind, class, 0, backfill_id, logical_at, interval_start, interval_end, params, tasks,
       slot_at, coalesce(caught_up, false), coalesce(rank, 0), coalesce(gate, 0)
FROM unnest($1::integer[], $2::text[], $3::bytea[], $4::bytea[], $5::smallint[], $6::smallint[], $7::bigint[],
            $8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::jsonb[], $12::integer[],
            $13::timestamptz[], $14::boolean[], $15::bigint[], $16::integer[])
    AS r(flow_id, key, hash, binding_hash, kind, class, backfill_id, logical_at, interval_start, interval_end, params, tasks,
         slot_at, caught_up, rank, gate)
ON CONFLICT DO NOTHING RETURNING id, flow_id, key";

/// Adds runs, and lets those begin for which there is room. Gives the number of each that is new, in their order, and
/// how many tasks have become ready.
pub(super) async fn add(store: &Store, tx: &Transaction<'_>, runs: &[NewRun]) -> Result<(Vec<Option<RunId>>, usize)> {
    let ids = insert(store, tx, runs).await?;
    let new = runs.iter().zip(&ids).filter(|(_, id)| id.is_some());
    let flows: BTreeSet<FlowId> = new.map(|(run, _)| run.flow).collect();
    let ready = admit::admit(store, tx, &flows).await?;
    Ok((ids, ready))
}

/// Adds runs, all of which wait. Gives the number of each that is new, in their order.
pub(super) async fn insert(store: &Store, tx: &Transaction<'_>, runs: &[NewRun]) -> Result<Vec<Option<RunId>>> {
    if runs.is_empty() {
        return Ok(Vec::new());
    }
    let flows: Vec<i32> = runs.iter().map(|run| run.flow.0).collect();
    let keys: Vec<&str> = runs.iter().map(|run| run.key.as_str()).collect();
    let hashes: Vec<&[u8]> = runs.iter().map(|run| run.plan.hash.0.as_slice()).collect();
    let bindings: Vec<Option<Vec<u8>>> = runs.iter().map(|run| run.binding_hash.map(|it| it.0.to_vec())).collect();
    let kinds: Vec<i16> = runs.iter().map(|run| run.kind.number()).collect();
    let classes: Vec<i16> = runs.iter().map(|run| run.class.number()).collect();
    let backfills: Vec<Option<i64>> = runs.iter().map(|run| run.backfill).collect();
    let moments: Vec<Option<Timestamp>> = runs.iter().map(|run| run.logical_at).collect();
    let starts: Vec<Option<Timestamp>> = runs.iter().map(|run| run.interval.map(|it| it.start)).collect();
    let ends: Vec<Option<Timestamp>> = runs.iter().map(|run| run.interval.map(|it| it.end)).collect();
    let params: Vec<Value> = runs.iter().map(|run| storable_json(&run.params)).collect();
    let tasks: Vec<i32> = runs.iter().map(|run| run.plan.graph.len() as i32).collect();
    let slots: Vec<Option<Timestamp>> = runs.iter().map(|run| run.slot.map(|slot| slot.at)).collect();
    let caught_up: Vec<Option<bool>> = runs.iter().map(|run| run.slot.map(|slot| slot.caught_up)).collect();
    let ranks: Vec<Option<i64>> = runs.iter().map(|run| run.slot.map(|slot| slot.rank)).collect();
    let gates: Vec<Option<i32>> = runs.iter().map(|run| run.slot.map(|slot| slot.gate())).collect();
    let statement = tx.prepare_cached(ADD).await.map_err(db)?;
    let rows = tx
        .query(
            &statement,
            &[
                &flows, &keys, &hashes, &bindings, &kinds, &classes, &backfills, &moments, &starts, &ends, &params,
                &tasks, &slots, &caught_up, &ranks, &gates,
            ],
        )
        .await
        .map_err(db)?;
    for run in runs {
        store.plans.remember(&run.plan);
    }
    let added: HashMap<(i32, &str), i64> = rows.iter().map(|row| ((row.get(1), row.get(2)), row.get(0))).collect();
    let ids: Vec<Option<RunId>> =
        runs.iter().map(|run| added.get(&(run.flow.0, run.key.as_str())).copied().map(RunId)).collect();
    deadlines::add(store, tx, runs, &ids).await?;
    Ok(ids)
}

impl Store {
    /// Adds a run, unless there is one of its key.
    pub async fn add_run(&self, run: &NewRun) -> Result<Option<RunId>> {
        Ok(self.add_runs(std::slice::from_ref(run)).await?.pop().flatten())
    }

    /// Adds runs, each unless there is one of its key: all of them or none.
    pub async fn add_runs(&self, runs: &[NewRun]) -> Result<Vec<Option<RunId>>> {
        Self::again(|| self.add_runs_once(runs)).await
    }

    async fn add_runs_once(&self, runs: &[NewRun]) -> Result<Vec<Option<RunId>>> {
        let mut client = self.pool.get().await?;
        let transaction = client.transaction().await.map_err(db)?;
        let (ids, ready) = add(self, &transaction, runs).await?;
        if ready > 0 {
            self.notify(&transaction, READY).await?;
        }
        transaction.commit().await.map_err(db)?;
        Ok(ids)
    }

    /// What a run is, and what has become of its tasks, by their numbers.
    pub async fn run_state(&self, run: RunId) -> Result<Option<(RunState, Vec<(i16, TaskState)>)>> {
        let client = self.pool.get().await?;
        let select = "SELECT r.state, t.no, t.state FROM scheduler.run r LEFT JOIN (
                          SELECT run_id, no, item, state FROM scheduler.task UNION ALL
                          SELECT run_id, no, item, state FROM scheduler.task_done
                      ) t ON t.run_id = r.id AND t.item = $2 WHERE r.id = $1 ORDER BY t.no";
        let rows = client.query(select, &[&run.0, &WHOLE]).await.map_err(db)?;
        let Some(state) = rows.first().and_then(|row| RunState::from_number(row.get(0))) else { return Ok(None) };
        let task = |row: &millrace_postgres::Row| {
            Some((row.get::<_, Option<i16>>(1)?, TaskState::from_number(row.get::<_, Option<i16>>(2)?)?))
        };
        Ok(Some((state, rows.iter().filter_map(task).collect())))
    }
}
