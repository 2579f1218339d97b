//! Which runs begin: as many of each flow as may run at once. Their tasks are made when they do, so that what waits for
//! room takes a row for each run and no more.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use millrace_postgres::Transaction;

use super::{
    FlowId, RunId, Store, WHOLE, db, deadlines,
    successors::locked,
    tasks::{Tasks, seconds},
};
use crate::{
    document::Binding,
    error::{Error, Result},
    plan::Plan,
    state::{Class, RunKind, RunState},
};

/// Flows for which runs wait.
const WAITING: &str = "\
SELECT DISTINCT flow_id FROM scheduler.run WHERE flow_id = ANY($1::integer[]) AND state = 0";

/// Locked by a statement of its own: what runs is counted by another, that sees what came before.
const LOCK: &str = "SELECT id FROM scheduler.flow WHERE id = ANY($1::integer[]) ORDER BY id FOR NO KEY UPDATE";

/// The flows' limits, and what runs of them: all that is live, by schedule, and of that what is caught up.
const ROOM: &str = "\
SELECT f.id, f.runs_limit, f.filling, count(r.id) FILTER (WHERE r.class = 0),
       count(r.id) FILTER (WHERE r.class = 0 AND r.kind = 0), count(r.id) FILTER (WHERE r.caught_up)
FROM scheduler.flow f LEFT JOIN scheduler.run r ON r.flow_id = f.id AND r.state = 1
WHERE f.id = ANY($1::integer[]) GROUP BY f.id";

/// What waits, in the order in which it goes; what is caught up by itself, so that it hides nothing behind its gate.
const QUEUED: &str = "\
SELECT r.id, r.flow_id, r.kind, r.class, r.hash, r.binding_hash, r.gate, r.caught_up, r.rank FROM scheduler.flow f
CROSS JOIN (VALUES (0::smallint, false), (0::smallint, true), (1::smallint, false), (3::smallint, false)) AS k(kind, caught_up)
CROSS JOIN LATERAL (
    SELECT * FROM scheduler.run
    WHERE flow_id = f.id AND state = 0 AND class = 0 AND kind = k.kind AND caught_up = k.caught_up
    ORDER BY rank, id LIMIT f.runs_limit
) r WHERE f.id = ANY($1::integer[])
UNION ALL
SELECT r.id, r.flow_id, r.kind, r.class, r.hash, r.binding_hash, r.gate, r.caught_up, r.rank FROM scheduler.backfill b
CROSS JOIN LATERAL (
    SELECT * FROM scheduler.run WHERE backfill_id = b.id AND state = 0 ORDER BY id
    LIMIT greatest(b.max_parallel - (SELECT count(*) FROM scheduler.run WHERE backfill_id = b.id AND state = 1), 0)
) r WHERE b.flow_id = ANY($1::integer[]) AND NOT b.done
ORDER BY 9, 1";

/// Runs begin, and their tasks are there. Those that wait for nothing are ready at once.
const BEGIN: &str = "\
WITH begun AS (
    UPDATE scheduler.run r SET state = 1, started_at = now(), timeout_at = now() + make_interval(secs => b.timeout)
    FROM unnest($1::bigint[], $2::double precision[]) AS b(id, timeout) WHERE r.id = b.id AND r.state = 0
    RETURNING r.id, r.class
), made AS (
    INSERT INTO scheduler.task (run_id, no, item, state, class, priority, needs, patience, pool, slots, due_at)
    SELECT begun.id, t.no, $3, CASE WHEN t.needs = 0 THEN 1 ELSE 0 END, begun.class, t.priority, t.needs, t.patience, p.id,
           t.slots, CASE WHEN t.needs = 0 THEN now() END
    FROM unnest($4::bigint[], $5::smallint[], $6::integer[], $7::smallint[], $8::double precision[], $9::text[], $10::integer[])
        AS t(run_id, no, needs, priority, patience, pool, slots)
    JOIN begun ON begun.id = t.run_id LEFT JOIN scheduler.pool p ON p.name = t.pool
    RETURNING state
)
SELECT (SELECT count(*) FROM begun), (SELECT count(*) FROM made WHERE state = 1)";

/// What runs of a flow, and may.
struct Room {
    limit: i64,
    filling: bool,
    live: i64,
    scheduled: i64,
    caught_up: i64,
}

struct Admitted {
    id: i64,
    plan: Arc<Plan>,
    binding: Option<Arc<Binding>>,
}

/// Lets runs of these flows begin. Gives how many tasks are ready.
pub(super) async fn admit(store: &Store, tx: &Transaction<'_>, flows: &BTreeSet<FlowId>) -> Result<usize> {
    if flows.is_empty() {
        return Ok(0);
    }
    // The set is in order. Locked first and looked at afterwards: one that ends a run and one that adds another would else
    // each see what was there before the other, and nobody would let it begin.
    let flows: Vec<i32> = flows.iter().map(|flow| flow.0).collect();
    let waiting = locked(tx, LOCK, 1, WAITING, &[&flows]).await?;
    let flows: Vec<i32> = waiting.iter().map(|row| row.get(0)).collect();
    let mut ready = 0;
    while !flows.is_empty() {
        let admitted = pick(store, tx, &flows).await?;
        let (more, all) = begin(store, tx, &admitted).await?;
        ready += more;
        // One that was told to end meanwhile leaves its place to the next.
        if all {
            break;
        }
    }
    Ok(ready)
}

/// The runs that may begin now.
async fn pick(store: &Store, tx: &Transaction<'_>, flows: &[i32]) -> Result<Vec<Admitted>> {
    let room = tx.prepare_cached(ROOM).await.map_err(db)?;
    let mut room: HashMap<i32, Room> = tx
        .query(&room, &[&flows])
        .await
        .map_err(db)?
        .iter()
        .map(|row| {
            let (limit, filling): (i32, bool) = (row.get(1), row.get(2));
            let (live, scheduled, caught_up) = (row.get(3), row.get(4), row.get(5));
            (row.get(0), Room { limit: limit.into(), filling, live, scheduled, caught_up })
        })
        .collect();
    let queued = tx.prepare_cached(QUEUED).await.map_err(db)?;
    let mut admitted = Vec::new();
    for row in tx.query(&queued, &[&flows]).await.map_err(db)? {
        let (flow, kind, class): (i32, i16, i16) = (row.get(1), row.get(2), row.get(3));
        if class == Class::Live.number()
            && !room.get_mut(&flow).is_some_and(|room| room.take(kind, row.get(6), row.get(7)))
        {
            continue;
        }
        match store.plans.pinned(tx, row.get(4), row.get(5)).await {
            Ok((plan, binding)) => admitted.push(Admitted { id: row.get(0), plan, binding }),
            // It waits for a version that can read it, and is in nobody's way.
            Err(error @ Error::Document { .. }) => {
                tracing::error!(%error, run = row.get::<_, i64>(0), "run cannot begin");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(admitted)
}

impl Room {
    /// Takes room for a live run, if there is some.
    fn take(&mut self, kind: i16, gate: i32, caught_up: bool) -> bool {
        let is_open = match gate {
            0 => true,
            fewer @ 1.. => self.caught_up < i64::from(fewer),
            _ => self.scheduled == 0,
        };
        if self.live >= self.limit || !is_open || (caught_up && self.filling) {
            return false;
        }
        self.live += 1;
        self.scheduled += i64::from(kind == RunKind::Scheduled.number());
        self.caught_up += i64::from(caught_up);
        true
    }
}

/// Gives how many tasks are ready, and whether all of the runs have begun.
async fn begin(store: &Store, tx: &Transaction<'_>, admitted: &[Admitted]) -> Result<(usize, bool)> {
    if admitted.is_empty() {
        return Ok((0, true));
    }
    let (mut runs, mut tasks) = (Vec::new(), Tasks::default());
    for Admitted { id, plan, binding } in admitted {
        for number in 0..plan.graph.len() {
            runs.push(*id);
            tasks.push(plan, number, binding.as_deref());
        }
    }
    tasks.make_pools(tx).await?;
    let ids: Vec<i64> = admitted.iter().map(|it| it.id).collect();
    let timeouts: Vec<Option<f64>> = admitted.iter().map(|it| it.plan.dag.spec.timeout.map(seconds)).collect();
    let begin = tx.prepare_cached(BEGIN).await.map_err(db)?;
    let Tasks { numbers, needs, priorities, patience, pools, slots } = &tasks;
    let row = tx
        .query_one(&begin, &[&ids, &timeouts, &WHOLE, &runs, numbers, needs, priorities, patience, pools, slots])
        .await
        .map_err(db)?;
    let (begun, ready): (i64, i64) = (row.get(0), row.get(1));
    deadlines::begin(store, tx, admitted.iter().map(|it| (it.id, &*it.plan))).await?;
    Ok((ready as usize, begun as usize == admitted.len()))
}

/// Runs that have not begun, told to end before they do.
pub(super) async fn drop_queued(store: &Store, tx: &Transaction<'_>, runs: &[RunId]) -> Result<()> {
    let ids: Vec<i64> = runs.iter().map(|run| run.0).collect();
    let update = "UPDATE scheduler.run SET state = $2, cancelled = true, ended_at = now() \
                  WHERE id = ANY($1::bigint[]) AND state = 0";
    tx.execute(update, &[&ids, &RunState::Cancelled.number()]).await.map_err(db)?;
    deadlines::news(store, tx, &runs.iter().copied().collect()).await
}
