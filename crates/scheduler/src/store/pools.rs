//! Limits on what runs at once: counters that are locked, one row for each pool, while slots are taken or given back.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use millrace_postgres::{GenericClient, Transaction};

use super::{InstanceId, Launch, READY, Share, Store, claim::launch_columns, db};
use crate::error::Result;

/// A pool, and what is in use of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its number.
    pub id: i32,
    /// Its name.
    pub name: String,
    /// How many slots it has.
    pub slots: i32,
    /// Slots that active tasks hold.
    pub used: i32,
    /// Tasks that are ready and wait for a slot.
    pub waiting: i64,
}

/// None of one that was taken over; none is while it claims.
const ALIVE: &str = "SELECT id FROM scheduler.instance WHERE id = $1 AND ended_at IS NULL FOR KEY SHARE";

/// Pools with room that nobody else is claiming from.
const ROOM: &str =
    "SELECT id, slots - used, slots FROM scheduler.pool WHERE used < slots ORDER BY id FOR UPDATE SKIP LOCKED";

/// Candidates of each pool, in the order in which they go. What needs more than a pool has is none: it would be in the way of
/// everything behind it.
const CANDIDATES: &str = "\
SELECT t.run_id, t.no, t.item, t.class, t.slots, p.id FROM unnest($1::integer[], $2::integer[], $4::integer[]) AS p(id, room, whole)
CROSS JOIN LATERAL (
    SELECT run_id, no, item, class, priority, due_at, slots FROM scheduler.task
    WHERE pool = p.id AND state = 1 AND due_at <= now() AND slots <= p.whole
    ORDER BY class, priority DESC, due_at LIMIT least(p.room, $3::bigint) FOR UPDATE SKIP LOCKED
) t ORDER BY t.class, t.priority DESC, t.due_at";

/// As a claim of tasks without a pool.
const TAKE: &str = concat!(
    "\
WITH t AS (
    UPDATE scheduler.task t SET state = 2, attempt = t.attempt + 1
    FROM unnest($2::bigint[], $3::smallint[], $4::integer[]) AS p(run_id, no, item)
    WHERE t.run_id = p.run_id AND t.no = p.no AND t.item = p.item
    RETURNING t.run_id, t.no, t.item, t.attempt, t.retries, t.value, t.due_at, t.epoch
), l AS (
    INSERT INTO scheduler.launch (token, run_id, no, item, attempt, instance, place)
    SELECT nextval('scheduler.token'), t.run_id, t.no, t.item, t.attempt, i.id, i.place FROM t, scheduler.instance i
    WHERE i.id = $1
    RETURNING run_id, no, item, attempt, token, launched_at, cancelled, place
), used AS (
    UPDATE scheduler.pool p SET used = p.used + d.n
    FROM unnest($5::integer[], $6::integer[]) AS d(id, n) WHERE p.id = d.id
)
SELECT ",
    launch_columns!(),
    " FROM l JOIN t USING (run_id, no, item)"
);

/// Whether something that is ready needs a pool: a claim of those is a transaction of several statements.
const WANTED: &str =
    "SELECT EXISTS (SELECT FROM scheduler.task WHERE state = 1 AND pool IS NOT NULL AND due_at <= now())";

pub(super) async fn is_wanted(client: &impl GenericClient) -> Result<bool> {
    let wanted = client.prepare_cached(WANTED).await.map_err(db)?;
    Ok(client.query_one(&wanted, &[]).await.map_err(db)?.get(0))
}

/// What is picked of candidates.
#[derive(Default)]
struct Picked {
    runs: Vec<i64>,
    tasks: Vec<i16>,
    items: Vec<i32>,
    used: BTreeMap<i32, i32>,
    background: usize,
}

pub(super) async fn claim(tx: &Transaction<'_>, instance: InstanceId, share: Share) -> Result<(Vec<Launch>, usize)> {
    let room = tx.prepare_cached(ROOM).await.map_err(db)?;
    let rows = tx.query(&room, &[]).await.map_err(db)?;
    let alive = tx.prepare_cached(ALIVE).await.map_err(db)?;
    if rows.is_empty() || tx.query_opt(&alive, &[&instance.0]).await.map_err(db)?.is_none() {
        return Ok((Vec::new(), 0));
    }
    let (pools, mut free): (Vec<i32>, BTreeMap<i32, i32>) =
        rows.iter().map(|row| (row.get::<_, i32>(0), (row.get::<_, i32>(0), row.get::<_, i32>(1)))).unzip();
    let rooms: Vec<i32> = free.values().copied().collect();
    let wholes: Vec<i32> = rows.iter().map(|row| row.get(2)).collect();
    let candidates = tx.prepare_cached(CANDIDATES).await.map_err(db)?;
    let mut picked = Picked::default();
    for row in tx.query(&candidates, &[&pools, &rooms, &(share.most as i64), &wholes]).await.map_err(db)? {
        let (class, slots, pool): (i16, i32, i32) = (row.get(3), row.get(4), row.get(5));
        let Some(left) = free.get_mut(&pool) else { continue };
        let is_background = class != 0;
        if picked.runs.len() >= share.most || (is_background && picked.background >= share.background) {
            continue;
        }
        if *left < slots {
            // What is behind it must not overtake it for ever: the pool fills up to it.
            *left = 0;
            continue;
        }
        *left -= slots;
        *picked.used.entry(pool).or_default() += slots;
        picked.background += usize::from(is_background);
        picked.runs.push(row.get(0));
        picked.tasks.push(row.get(1));
        picked.items.push(row.get(2));
    }
    if picked.runs.is_empty() {
        return Ok((Vec::new(), 0));
    }
    let (ids, used): (Vec<i32>, Vec<i32>) = picked.used.iter().map(|(pool, slots)| (*pool, *slots)).unzip();
    let take = tx.prepare_cached(TAKE).await.map_err(db)?;
    let rows =
        tx.query(&take, &[&instance.0, &picked.runs, &picked.tasks, &picked.items, &ids, &used]).await.map_err(db)?;
    Ok((rows.iter().map(Launch::from).collect(), picked.background))
}

/// Gives slots back.
pub(super) async fn give_back(tx: &Transaction<'_>, slots: &BTreeMap<i32, i32>) -> Result<()> {
    if slots.is_empty() {
        return Ok(());
    }
    let ids: Vec<i32> = slots.keys().copied().collect();
    let given: Vec<i32> = slots.values().copied().collect();
    let lock = "SELECT id FROM scheduler.pool WHERE id = ANY($1::integer[]) ORDER BY id FOR UPDATE";
    let change = "UPDATE scheduler.pool p SET used = greatest(p.used - d.n, 0) \
                  FROM unnest($1::integer[], $2::integer[]) AS d(id, n) WHERE p.id = d.id";
    super::successors::locked(tx, lock, 1, change, &[&ids, &given]).await?;
    Ok(())
}

impl Store {
    /// Makes a pool, or changes its size. What is active beyond a smaller size goes on.
    pub async fn set_pool(&self, name: &str, slots: u32) -> Result<()> {
        let client = self.pool.get().await?;
        let set = "INSERT INTO scheduler.pool (name, slots) VALUES ($1, $2) \
                   ON CONFLICT (name) DO UPDATE SET slots = excluded.slots";
        client.execute(set, &[&name, &i32::try_from(slots).unwrap_or(i32::MAX)]).await.map_err(db)?;
        client.execute("SELECT pg_notify($1, '')", &[&READY]).await.map_err(db)?;
        self.pooled.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// All pools, by name.
    pub async fn pools(&self) -> Result<Vec<Pool>> {
        let client = self.pool.get().await?;
        let select = "SELECT p.id, p.name, p.slots, p.used, \
                      (SELECT count(*) FROM scheduler.task t WHERE t.pool = p.id AND t.state = 1 AND t.due_at <= now()) \
                      FROM scheduler.pool p ORDER BY p.name";
        let rows = client.query(select, &[]).await.map_err(db)?;
        let pool = |row: &millrace_postgres::Row| Pool {
            id: row.get(0),
            name: row.get(1),
            slots: row.get(2),
            used: row.get(3),
            waiting: row.get(4),
        };
        Ok(rows.iter().map(pool).collect())
    }

    /// Learns whether there are pools: others may have made the first.
    pub async fn look_for_pools(&self) -> Result<()> {
        let client = self.pool.get().await?;
        let row = client.query_one("SELECT EXISTS (SELECT FROM scheduler.pool)", &[]).await.map_err(db)?;
        self.pooled.store(row.get(0), Ordering::Relaxed);
        Ok(())
    }
}
