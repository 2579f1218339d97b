//! Schedules: what becomes of the moments that have come, in the transaction that makes their runs.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use millrace_postgres::{Row, Transaction};

use super::{Flow, FlowId, NewRun, READY, RunId, Store, admit, db, deadlines, flows::FLOW, runs, runs::SlotRun};
use crate::{
    document::{Binding, Overlap},
    error::{Error, Result},
    plan::Plan,
    slots::{self, Account, Budget, Coalescing, Cursor, Live, Next, Queued, Run, Slot},
    state::{Class, RunKind, SlotState},
};

/// What has come of the schedules that were due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fired {
    /// Flows that were looked at.
    pub flows: usize,
    /// Runs that were made.
    pub runs: usize,
    /// How long until the next one is to be looked at; none while there is none.
    pub next: Option<SignedDuration>,
}

/// Flows of one transaction.
const BATCH: i64 = 200;

/// What is known of flows under a condition, each locked.
fn select(condition: &str) -> String {
    format!(
        "SELECT {FLOW}, f.coalescing_since, f.coalescing_into, f.resumed_at, now() FROM scheduler.flow f \
         WHERE f.active AND NOT f.paused AND {condition}"
    )
}

/// What is to be looked at, and nobody else is looking at.
const DUE: &str = "f.next_at <= now() ORDER BY f.next_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED";

/// One flow, whoever is looking at it.
const ONE: &str = "f.dag = $1 AND f.binding = $2 AND f.cursor_at IS NOT NULL FOR NO KEY UPDATE";

const LATER: &str = "UPDATE scheduler.flow SET next_at = now() + interval '1 minute' WHERE id = $1";

/// Scheduled runs that have not ended.
const LIVE: &str = "\
SELECT flow_id, id, state, slot_at FROM scheduler.run
WHERE flow_id = ANY($1::integer[]) AND kind = 0 AND state < 10 AND slot_at IS NOT NULL ORDER BY id";

const SLOTS: &str = "\
INSERT INTO scheduler.slot (flow_id, at, until, count, state, reason, run_id)
SELECT * FROM unnest($1::integer[], $2::timestamptz[], $3::timestamptz[], $4::bigint[], $5::smallint[], $6::text[], $7::bigint[])
ON CONFLICT DO NOTHING";

const REPLACED: &str = "\
UPDATE scheduler.slot s SET state = $4, reason = d.reason, run_id = NULL
FROM unnest($1::integer[], $2::timestamptz[], $3::text[]) AS d(flow_id, at, reason)
WHERE s.flow_id = d.flow_id AND s.at = d.at AND s.run_id IS NOT NULL";

const CURSORS: &str = "\
UPDATE scheduler.flow f SET cursor_at = d.at, coalescing_since = d.since, coalescing_into = d.into, filling = d.filling,
       next_at = CASE WHEN d.filling THEN now() ELSE d.next END, due_at = d.due
FROM unnest($1::integer[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[], $5::boolean[], $6::timestamptz[],
            $7::timestamptz[]) AS d(id, at, since, \"into\", filling, next, due)
WHERE f.id = d.id";

/// A flow that is due, with what is needed to account for it.
struct Due {
    flow: Flow,
    plan: Arc<Plan>,
    binding: Option<Arc<Binding>>,
    cursor: Cursor,
    resumed: Option<Timestamp>,
    now: Timestamp,
}

impl Store {
    /// Accounts for the moments of schedules that have come, and makes their runs.
    pub async fn fire(&self) -> Result<Fired> {
        let (fired, cancelled) = Self::again(|| self.fire_once()).await?;
        // Should this not come to be, the sweep does it: they have timed out.
        if !cancelled.is_empty() {
            self.cancel(&cancelled, "a later run took its place").await?;
        }
        Ok(fired)
    }

    async fn fire_once(&self) -> Result<(Fired, Vec<RunId>)> {
        let mut client = self.pool.get().await?;
        let tx = client.transaction().await.map_err(db)?;
        let select = tx.prepare_cached(&select(DUE)).await.map_err(db)?;
        let mut accounts = Vec::new();
        let rows = tx.query(&select, &[&BATCH]).await.map_err(db)?;
        let mut due = Vec::with_capacity(rows.len());
        for row in &rows {
            match self.due(&tx, row).await {
                Ok(it) => due.push(it),
                // Its moments wait for a version that can read it; those of the others do not.
                Err(error @ Error::Document { .. }) => {
                    tracing::error!(%error, flow = row.get::<_, i32>(0), "schedule cannot be read");
                    tx.execute(LATER, &[&row.get::<_, i32>(0)]).await.map_err(db)?;
                }
                Err(error) => return Err(error),
            }
        }
        let mut live = self.live(&tx, &due).await?;
        for it in due {
            let account = it.account(&live.remove(&it.flow.id).unwrap_or_default());
            accounts.push((it, account));
        }
        let (runs, cancelled) = self.enter(&tx, &accounts).await?;
        let next = "SELECT min(next_at), now() FROM scheduler.flow WHERE next_at IS NOT NULL AND active AND NOT paused";
        let next = tx.prepare_cached(next).await.map_err(db)?;
        let row = tx.query_one(&next, &[]).await.map_err(db)?;
        let next = row.get::<_, Option<Timestamp>>(0).map(|next| next.duration_since(row.get(1)));
        tx.commit().await.map_err(db)?;
        Ok((Fired { flows: accounts.len(), runs, next }, cancelled))
    }

    /// Accounts for the moments of a flow up to now, before its schedule becomes another. Of one that is paused they are
    /// left: they would run.
    pub(super) async fn catch_up_with(&self, tx: &Transaction<'_>, dag: &str, binding: &str) -> Result<()> {
        let select = tx.prepare_cached(&select(ONE)).await.map_err(db)?;
        while let Some(row) = tx.query_opt(&select, &[&dag, &binding]).await.map_err(db)? {
            let due = self.due(tx, &row).await?;
            let live = self.live(tx, std::slice::from_ref(&due)).await?.remove(&due.flow.id).unwrap_or_default();
            let account = due.account(&live);
            let more = account.next == Next::Now;
            // Runs that are told to end have timed out by now, and the sweep ends them.
            self.enter(tx, &[(due, account)]).await?;
            if !more {
                break;
            }
        }
        Ok(())
    }

    async fn due(&self, tx: &Transaction<'_>, row: &Row) -> Result<Due> {
        let flow = Flow::read(row)?;
        let (plan, binding) = self.plans.pinned(tx, row.get(3), row.get(4)).await?;
        let now = row.get(12);
        let coalescing = match (row.get(9), row.get(10)) {
            (Some(since), Some(into)) => Some(Coalescing { since, into }),
            _ => None,
        };
        let cursor = Cursor { at: flow.cursor_at.unwrap_or(now), coalescing };
        Ok(Due { flow, plan, binding, cursor, resumed: row.get(11), now })
    }

    /// The scheduled runs that have not ended, of flows where that matters.
    async fn live(&self, tx: &Transaction<'_>, due: &[Due]) -> Result<HashMap<FlowId, Live>> {
        let matters = |it: &&Due| {
            let overlap = it.plan.dag.spec.schedule.as_ref().map(|schedule| schedule.overlap);
            !matches!(overlap, None | Some(Overlap::Allow | Overlap::BufferAll))
        };
        let flows: Vec<i32> = due.iter().filter(matters).map(|it| it.flow.id.0).collect();
        let mut live: HashMap<FlowId, Live> = HashMap::new();
        if flows.is_empty() {
            return Ok(live);
        }
        let select = tx.prepare_cached(LIVE).await.map_err(db)?;
        for row in tx.query(&select, &[&flows]).await.map_err(db)? {
            let live = live.entry(FlowId(row.get(0))).or_default();
            let run = RunId(row.get(1));
            match row.get::<_, i16>(2) {
                0 => live.queued.push(Queued { run, at: row.get(3) }),
                _ => live.running.push(run),
            }
        }
        Ok(live)
    }

    /// Writes what has become of moments. Gives how many runs were made, and those that are told to end.
    async fn enter(&self, tx: &Transaction<'_>, accounts: &[(Due, Account)]) -> Result<(usize, Vec<RunId>)> {
        if accounts.is_empty() {
            return Ok((0, Vec::new()));
        }
        let flows: BTreeSet<FlowId> = accounts.iter().map(|(due, _)| due.flow.id).collect();
        let cancelled: Vec<RunId> = accounts.iter().flat_map(|(_, account)| account.cancelled.clone()).collect();
        if !cancelled.is_empty() {
            let ids: Vec<i64> = cancelled.iter().map(|run| run.0).collect();
            let time_out = "UPDATE scheduler.run SET timeout_at = now() WHERE id = ANY($1::bigint[]) AND state = 1";
            tx.execute(time_out, &[&ids]).await.map_err(db)?;
        }
        replace(self, tx, accounts).await?;
        cursors(tx, accounts).await?;
        let mut made = Vec::new();
        for (due, account) in accounts {
            made.extend(account.runs.iter().filter_map(|run| due.new_run(run)));
        }
        let ids = runs::insert(self, tx, &made).await?;
        let runs: BTreeMap<(FlowId, Timestamp), RunId> =
            made.iter().zip(&ids).filter_map(|(run, id)| Some(((run.flow, run.slot?.at), (*id)?))).collect();
        enter_slots(tx, accounts, &runs).await?;
        deadlines::add_moments(self, tx, without_a_run(accounts)).await?;
        // Those, and what waited for a cursor to come to its end or for the place of what was dropped.
        let ready = admit::admit(self, tx, &flows).await?;
        if ready > 0 {
            self.notify(tx, READY).await?;
        }
        Ok((runs.len(), cancelled))
    }
}

impl Due {
    fn account(&self, live: &Live) -> Account {
        match (&self.plan.timetable, &self.plan.dag.spec.schedule) {
            (Some(timetable), Some(spec)) => {
                let flow = slots::Flow { timetable, spec, cursor: self.cursor, resumed: self.resumed };
                slots::account(&flow, live, self.now, Budget::default())
            }
            _ => Account {
                slots: Vec::new(),
                runs: Vec::new(),
                replaced: Vec::new(),
                cancelled: Vec::new(),
                cursor: self.cursor,
                next: Next::Never,
                due: None,
            },
        }
    }

    /// The run of a slot. Its parameters were checked when its documents were applied.
    fn new_run(&self, run: &Run) -> Option<NewRun> {
        let given = self.binding.as_ref().map(|binding| &binding.spec.params);
        let params = match self.plan.params.resolve(given) {
            Ok(params) => params,
            Err(problems) => {
                tracing::error!(flow = self.flow.name(), ?problems, "cannot make a run of a slot");
                return None;
            }
        };
        Some(NewRun {
            flow: self.flow.id,
            plan: Arc::clone(&self.plan),
            binding_hash: self.flow.binding_hash,
            key: slots::key(RunKind::Scheduled, run.at),
            kind: RunKind::Scheduled,
            class: Class::Live,
            backfill: None,
            slot: Some(SlotRun { at: run.at, caught_up: run.caught_up, rank: run.rank, gate: run.gate }),
            logical_at: Some(run.logical_at),
            interval: Some(run.interval),
            params,
        })
    }
}

async fn replace(store: &Store, tx: &Transaction<'_>, accounts: &[(Due, Account)]) -> Result<()> {
    let (mut dropped, mut flows, mut moments, mut reasons) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (due, account) in accounts {
        for replaced in &account.replaced {
            dropped.push(replaced.run);
            flows.push(due.flow.id.0);
            moments.push(replaced.at);
            reasons.push(replaced.reason.to_string());
        }
    }
    if dropped.is_empty() {
        return Ok(());
    }
    admit::drop_queued(store, tx, &dropped).await?;
    let suppressed = SlotState::Suppressed.number();
    tx.execute(REPLACED, &[&flows, &moments, &reasons, &suppressed]).await.map_err(db)?;
    Ok(())
}

/// Moments that have no run, each with the flow and the plan; of several that were passed over together, the last.
fn without_a_run(accounts: &[(Due, Account)]) -> impl Iterator<Item = (FlowId, &Plan, Timestamp)> {
    accounts.iter().flat_map(|(due, account)| {
        let no_run = |slot: &&Slot| matches!(slot.state, SlotState::Skipped | SlotState::Suppressed);
        let slots = account.slots.iter().filter(no_run).map(|slot| slot.until);
        let replaced = account.replaced.iter().map(|replaced| replaced.at);
        slots.chain(replaced).map(|at| (due.flow.id, &*due.plan, at))
    })
}

async fn enter_slots(
    tx: &Transaction<'_>,
    accounts: &[(Due, Account)],
    runs: &BTreeMap<(FlowId, Timestamp), RunId>,
) -> Result<()> {
    let (mut flows, mut moments, mut untils, mut counts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut states, mut reasons, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    for (due, account) in accounts {
        for slot in &account.slots {
            flows.push(due.flow.id.0);
            moments.push(slot.at);
            untils.push(slot.until);
            counts.push(i64::from(slot.count));
            states.push(slot.state.number());
            reasons.push(slot.explanation());
            ids.push(slot.runs_at().and_then(|at| runs.get(&(due.flow.id, at))).map(|run| run.0));
        }
    }
    if flows.is_empty() {
        return Ok(());
    }
    let statement = tx.prepare_cached(SLOTS).await.map_err(db)?;
    tx.execute(&statement, &[&flows, &moments, &untils, &counts, &states, &reasons, &ids]).await.map_err(db)?;
    Ok(())
}

async fn cursors(tx: &Transaction<'_>, accounts: &[(Due, Account)]) -> Result<()> {
    let (mut flows, mut at, mut since, mut into) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut filling, mut next, mut due_at) = (Vec::new(), Vec::new(), Vec::new());
    for (due, account) in accounts {
        let cursor = account.cursor;
        flows.push(due.flow.id.0);
        at.push(cursor.at);
        since.push(cursor.coalescing.map(|it| it.since));
        into.push(cursor.coalescing.map(|it| it.into));
        filling.push(account.next == Next::Now);
        next.push(match account.next {
            Next::At(at) => Some(at),
            Next::Now | Next::Never => None,
        });
        due_at.push(account.due);
    }
    let statement = tx.prepare_cached(CURSORS).await.map_err(db)?;
    tx.execute(&statement, &[&flows, &at, &since, &into, &filling, &next, &due_at]).await.map_err(db)?;
    Ok(())
}
