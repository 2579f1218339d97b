//! What has runs: a DAG with one binding, or without any.

use std::sync::Arc;

use jiff::Timestamp;
use millrace_postgres::{Row, Transaction};

use super::{SCHEDULES, Store, db, events};
use crate::{
    error::{Error, Result},
    plan::{Hash, Plan},
    slots::Cursor,
};

/// The number of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId(pub i32);

/// A DAG with one binding, or without any.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Its number.
    pub id: FlowId,
    /// The DAG's name.
    pub dag: String,
    /// The binding's name; empty where it has none.
    pub binding: String,
    /// The plan that new runs have.
    pub hash: Hash,
    /// The binding that they have.
    pub binding_hash: Option<Hash>,
    /// False where the DAG has bindings now, and this is the DAG alone, or the other way round.
    pub active: bool,
    /// Its schedule is stopped.
    pub paused: bool,
    /// Every moment of its schedule up to here is accounted for.
    pub cursor_at: Option<Timestamp>,
    /// When its schedule is due next.
    pub due_at: Option<Timestamp>,
}

/// The columns of a [`Flow`] `f`.
pub(super) const FLOW: &str =
    "f.id, f.dag, f.binding, f.hash, f.binding_hash, f.active, f.paused, f.cursor_at, f.due_at";

impl Flow {
    pub(super) fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            id: FlowId(row.get(0)),
            dag: row.get(1),
            binding: row.get(2),
            hash: Hash::read(row.get(3))?,
            binding_hash: row.get::<_, Option<&[u8]>>(4).map(Hash::read).transpose()?,
            active: row.get(5),
            paused: row.get(6),
            cursor_at: row.get(7),
            due_at: row.get(8),
        })
    }

    /// `dag`, or `dag/binding`.
    pub fn name(&self) -> String {
        named(&self.dag, &self.binding)
    }
}

/// `dag`, or `dag/binding`.
pub(crate) fn named(dag: &str, binding: &str) -> String {
    if binding.is_empty() { dag.to_owned() } else { format!("{dag}/{binding}") }
}

impl Hash {
    /// From the database.
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        let bytes = bytes.try_into().map_err(|_| Error::Strange(format!("a hash of {} bytes", bytes.len())))?;
        Ok(Self(bytes))
    }
}

/// What puts a plan in force for a flow. The first binding of a DAG that is paused is paused as well. A schedule that is new is accounted for from now on.
const PUT: &str = "\
INSERT INTO scheduler.flow AS f (dag, binding, hash, binding_hash, runs_limit, cursor_at, next_at, paused)
VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN $6::timestamptz IS NOT NULL THEN now() END,
        $2 <> '' AND EXISTS (SELECT FROM scheduler.flow WHERE dag = $1 AND binding = '' AND active AND paused))
ON CONFLICT (dag, binding) DO UPDATE
SET hash = excluded.hash, binding_hash = excluded.binding_hash, active = true, runs_limit = excluded.runs_limit,
    cursor_at = CASE WHEN excluded.cursor_at IS NULL THEN NULL WHEN f.cursor_at IS NULL THEN greatest(excluded.cursor_at,
                         (SELECT max(s.until) FROM scheduler.slot s WHERE s.flow_id = f.id))
                     WHEN $7 AND f.active THEN f.cursor_at ELSE greatest(f.cursor_at, now()) END,
    coalescing_since = CASE WHEN $7 THEN f.coalescing_since END, coalescing_into = CASE WHEN $7 THEN f.coalescing_into END,
    filling = f.filling AND excluded.cursor_at IS NOT NULL, next_at = excluded.next_at, due_at = NULL
RETURNING id";

/// A plan that is to be in force.
#[derive(Clone, Debug)]
pub(super) struct Put<'a> {
    /// The plan.
    pub(super) plan: &'a Arc<Plan>,
    /// The binding's name; empty: none.
    pub(super) binding: &'a str,
    /// The binding.
    pub(super) binding_hash: Option<Hash>,
    /// Whether the schedule is the one that it was: then nothing of it is left out.
    pub(super) same_schedule: bool,
}

/// Keeps a text that runs are pinned to.
pub(super) async fn keep(tx: &Transaction<'_>, hash: Hash, kind: &str, name: &str, text: &str) -> Result<()> {
    let insert =
        "INSERT INTO scheduler.document (hash, kind, name, body) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    tx.execute(insert, &[&hash.0.as_slice(), &kind, &name, &text]).await.map_err(db)?;
    Ok(())
}

/// Puts a plan in force.
pub(super) async fn put(tx: &Transaction<'_>, it: &Put<'_>) -> Result<FlowId> {
    let Put { plan, binding, binding_hash, same_schedule } = it;
    let spec = &plan.dag.spec;
    keep(tx, plan.hash, "Dag", &plan.dag.metadata.name, &plan.text).await?;
    let runs = spec.concurrency.runs as i32;
    let first = match (&plan.timetable, &spec.schedule) {
        (Some(timetable), Some(schedule)) => {
            let now = tx.query_one("SELECT now()", &[]).await.map_err(db)?.get(0);
            Some(Cursor::first(timetable, &schedule.catchup, now).at)
        }
        _ => None,
    };
    if let Some(tasks) = spec.concurrency.tasks {
        let pool = "INSERT INTO scheduler.pool (name, slots) VALUES ($1, $2) \
                    ON CONFLICT (name) DO UPDATE SET slots = excluded.slots";
        tx.execute(pool, &[&Plan::pool_of(&plan.dag.metadata.name), &(tasks as i32)]).await.map_err(db)?;
    }
    let put = tx.prepare_cached(PUT).await.map_err(db)?;
    let row = tx
        .query_one(
            &put,
            &[
                &plan.dag.metadata.name,
                binding,
                &plan.hash.0.as_slice(),
                &binding_hash.map(|hash| hash.0.to_vec()),
                &runs,
                &first,
                same_schedule,
            ],
        )
        .await
        .map_err(db)?;
    let flow = FlowId(row.get(0));
    events::listen(tx, flow, plan).await?;
    Ok(flow)
}

impl Store {
    /// Keeps a plan, and makes it the one that new runs of its DAG have, without a binding.
    pub async fn save_plan(&self, plan: &Arc<Plan>) -> Result<FlowId> {
        let mut client = self.pool.get().await?;
        let transaction = client.transaction().await.map_err(db)?;
        events::hold(&transaction, &[&plan.dag.metadata.name]).await?;
        let put = Put { plan, binding: "", binding_hash: None, same_schedule: false };
        let id = self::put(&transaction, &put).await?;
        transaction.execute("SELECT pg_notify($1, '')", &[&SCHEDULES]).await.map_err(db)?;
        transaction.commit().await.map_err(db)?;
        drop(client);
        self.plans.remember(plan);
        self.look_for_pools().await?;
        Ok(id)
    }

    /// A flow by the names of its DAG and binding.
    pub async fn flow(&self, dag: &str, binding: &str) -> Result<Option<Flow>> {
        let client = self.pool.get().await?;
        let select = format!("SELECT {FLOW} FROM scheduler.flow f WHERE dag = $1 AND binding = $2");
        let select = client.prepare_cached(&select).await.map_err(db)?;
        client.query_opt(&select, &[&dag, &binding]).await.map_err(db)?.as_ref().map(Flow::read).transpose()
    }

    /// Stops or resumes a flow's schedule and its triggers. What they have begun to make is made when this returns.
    pub async fn set_paused(&self, flow: FlowId, paused: bool) -> Result<()> {
        Self::again(|| self.set_paused_once(flow, paused)).await
    }

    async fn set_paused_once(&self, flow: FlowId, paused: bool) -> Result<()> {
        let mut client = self.pool.get().await?;
        let tx = client.transaction().await.map_err(db)?;
        events::hold_one(&tx, flow).await?;
        // Resumed, it is looked at at once: what was missed goes by its policy.
        let update = "UPDATE scheduler.flow SET paused = $2, resumed_at = CASE WHEN $2 THEN NULL ELSE now() END, \
                      next_at = CASE WHEN cursor_at IS NULL THEN NULL ELSE now() END WHERE id = $1 AND paused <> $2";
        tx.execute(update, &[&flow.0, &paused]).await.map_err(db)?;
        tx.execute("SELECT pg_notify($1, '')", &[&SCHEDULES]).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        Ok(())
    }
}
