//! What becomes of events, in the transaction that moves the cursor of the trigger that has looked at them.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use jiff::Timestamp;
use millrace_postgres::{Row, Transaction};
use serde_json::Value;

use super::{
    super::{Fired, Flow, NewRun, READY, Store, admit, db, flows::FLOW},
    EVENT, event,
    ledger::{Entry, Ledger},
};
use crate::{
    document::Binding,
    error::{Error, Result},
    events::{Event, Folded, Group, Listener, Scope, Taken, fold},
    plan::Plan,
    state::{Class, GroupState, RunKind},
};

/// Triggers of one transaction.
const TRIGGERS: i64 = 50;
/// Events of one trigger that are looked at in one transaction.
const EVENTS: i64 = 200;
/// Groups of one trigger that become due in one transaction.
const DUE: i64 = 100;

/// Triggers that have something to look at, one after the other.
const ELIGIBLE: &str = "\
scheduler.event_trigger t JOIN scheduler.flow f ON f.id = t.flow_id JOIN scheduler.event_source s ON s.id = t.source_id
WHERE t.active AND f.active AND NOT f.paused";

/// Where groups are due: whoever was recording has finished, so that a later event is not before the time that is given.
/// The locks are given back at once: nobody waits for what is done afterwards.
const HORIZONS: &str = "\
SELECT id, clock_timestamp() FROM scheduler.event_source WHERE id IN (
    SELECT source_id FROM scheduler.event_trigger WHERE active AND next_at <= now()
) AND id <> ALL($1::integer[]) ORDER BY id FOR SHARE";
/// How long those are waited for who are recording; should one of them not end, groups of other sources go on meanwhile.
const PATIENCE: &str = "SET LOCAL lock_timeout = '1s'";

const LATER: &str = "UPDATE scheduler.event_trigger SET not_before = now() + interval '1 minute' WHERE id = $1";

/// The groups that events may join, those that are due, and those that are sealed.
const GROUPS: &str = "\
SELECT id, key, first_at, last_at, events, bytes, state FROM scheduler.event_group
WHERE trigger_id = $1 AND state = 0 AND key = ANY($2::text[])
UNION
(SELECT id, key, first_at, last_at, events, bytes, state FROM scheduler.event_group
 WHERE trigger_id = $1 AND state < 10 AND due_at <= $3 ORDER BY due_at LIMIT $4)";

/// A trigger, with what is needed to look at its events.
struct Looking {
    id: i32,
    name: String,
    source: i32,
    cursor: i64,
    flow: Flow,
    plan: Arc<Plan>,
    binding: Option<Arc<Binding>>,
    /// Defaults of parameters, and what the binding gives.
    params: Value,
    /// Every event that was recorded before it can be seen.
    horizon: Option<Timestamp>,
}

impl Store {
    /// Looks at events that no trigger has looked at, and at groups that are due, and makes their runs.
    pub async fn consume(&self) -> Result<Fired> {
        let horizons = self.horizons().await?;
        Self::again(|| self.consume_once(&horizons)).await
    }

    async fn horizons(&self) -> Result<HashMap<i32, Timestamp>> {
        let mut client = self.pool.get().await?;
        let (mut horizons, none): (HashMap<i32, Timestamp>, Vec<i32>) = Default::default();
        let free = client.prepare_cached(&format!("{HORIZONS} SKIP LOCKED")).await.map_err(db)?;
        for row in client.query(&free, &[&none]).await.map_err(db)? {
            horizons.insert(row.get(0), row.get(1));
        }
        let known: Vec<i32> = horizons.keys().copied().collect();
        let tx = client.transaction().await.map_err(db)?;
        tx.batch_execute(PATIENCE).await.map_err(db)?;
        let others = tx.prepare_cached(HORIZONS).await.map_err(db)?;
        match tx.query(&others, &[&known]).await.map_err(db) {
            Ok(rows) => horizons.extend(rows.iter().map(|row| (row.get::<_, i32>(0), row.get::<_, Timestamp>(1)))),
            Err(Error::Postgres(error)) if error.class() == millrace_postgres::Class::Timeout => {
                tracing::warn!("events are being recorded for more than a second: groups that are due wait for them");
            }
            Err(error) => return Err(error),
        }
        tx.rollback().await.map_err(db)?;
        Ok(horizons)
    }

    async fn consume_once(&self, horizons: &HashMap<i32, Timestamp>) -> Result<Fired> {
        let mut client = self.pool.get().await?;
        let tx = client.transaction().await.map_err(db)?;
        let mut ledger = Ledger::default();
        let mut looked = 0;
        for row in held(&tx).await? {
            if ledger.is_full() {
                break;
            }
            match self.looking(&tx, &row, horizons).await {
                Ok(it) => {
                    it.look(&tx, &mut ledger).await?;
                    looked += 1;
                }
                // Its events wait for a version that can read it; those of the others do not.
                Err(error @ Error::Document { .. }) => {
                    tracing::error!(%error, trigger = row.get::<_, i32>(9), "trigger cannot be read");
                    tx.execute(LATER, &[&row.get::<_, i32>(9)]).await.map_err(db)?;
                }
                Err(error) => return Err(error),
            }
        }
        let runs = ledger.write(self, &tx).await?;
        let flows: BTreeSet<_> = ledger.flows();
        if admit::admit(self, &tx, &flows).await? > 0 {
            self.notify(&tx, READY).await?;
        }
        let next = format!(
            "SELECT min(greatest(CASE WHEN t.cursor < s.last_seq THEN now() ELSE t.next_at END, t.not_before)), now() \
             FROM {ELIGIBLE} AND (t.cursor < s.last_seq OR t.next_at IS NOT NULL)"
        );
        let next = tx.prepare_cached(&next).await.map_err(db)?;
        let row = tx.query_one(&next, &[]).await.map_err(db)?;
        let next = row.get::<_, Option<Timestamp>>(0).map(|next| next.duration_since(row.get(1)));
        tx.commit().await.map_err(db)?;
        Ok(Fired { flows: looked, runs, next })
    }

    async fn looking(&self, tx: &Transaction<'_>, row: &Row, horizons: &HashMap<i32, Timestamp>) -> Result<Looking> {
        let flow = Flow::read(row)?;
        let (plan, binding) = self.plans.pinned(tx, row.get(3), row.get(4)).await?;
        let source = row.get(11);
        let bound = binding.as_ref().map(|binding| &binding.spec.params);
        let mut params = plan.params.defaults().clone();
        params.extend(bound.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())));
        Ok(Looking {
            id: row.get(9),
            name: row.get(10),
            source,
            cursor: row.get(12),
            flow,
            plan,
            binding,
            params: serde_json::json!(params),
            horizon: horizons.get(&source).copied(),
        })
    }
}

/// Triggers that nobody else is looking at, locked; then what they are, as it is when they are locked: one that was paused
/// before is not among them.
async fn held(tx: &Transaction<'_>) -> Result<Vec<Row>> {
    let lock = format!(
        "SELECT t.id FROM {ELIGIBLE} AND (t.not_before IS NULL OR t.not_before <= now()) \
         AND (t.cursor < s.last_seq OR t.next_at <= now()) \
         ORDER BY t.looked_at LIMIT $1 FOR NO KEY UPDATE OF t SKIP LOCKED"
    );
    let lock = tx.prepare_cached(&lock).await.map_err(db)?;
    let rows = tx.query(&lock, &[&TRIGGERS]).await.map_err(db)?;
    let ids: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let read =
        format!("SELECT {FLOW}, t.id, t.name, t.source_id, t.cursor FROM {ELIGIBLE} AND t.id = ANY($1::integer[])");
    let read = tx.prepare_cached(&read).await.map_err(db)?;
    tx.query(&read, &[&ids]).await.map_err(db)
}

impl Looking {
    fn listener(&self) -> Result<&Listener> {
        let Self { plan, name, flow, .. } = self;
        plan.listeners.get(name).ok_or_else(|| Error::Strange(format!("trigger {name} of {}", flow.name())))
    }

    fn scope(&self) -> Scope<'_> {
        let binding = Some(self.flow.binding.as_str()).filter(|binding| !binding.is_empty());
        Scope { binding, params: &self.params }
    }

    /// Looks at the next events, and at the groups that are due.
    async fn look(&self, tx: &Transaction<'_>, ledger: &mut Ledger) -> Result<()> {
        let listener = self.listener()?;
        let events = self.events(tx).await?;
        let all = events.len() < EVENTS as usize;
        let mut taken = Vec::new();
        for event in events.values() {
            match listener.take(event, self.scope()) {
                Ok(event) => taken.extend(event),
                Err(reason) => ledger.enter(self.refused(event, reason)),
            }
        }
        taken.sort_by_key(|event: &Taken| event.seq);
        // Where there are more events, some of them may be before it.
        let horizon = self.horizon.filter(|_| all);
        let (sealed, open) = self.groups(tx, &taken, horizon).await?;
        let Folded { complete, open } = fold(&listener.rule, open, taken, horizon);
        for group in sealed.into_iter().chain(complete) {
            let made = self.make(tx, listener, &group, &events).await?;
            ledger.enter(self.ended(group, made));
        }
        for group in open.into_iter().filter(|group| !group.joined.is_empty()) {
            let due = listener.rule.due(&group);
            ledger.enter(Entry { due, ..self.entry(group, GroupState::Open) });
        }
        let last = events.keys().max().copied().unwrap_or(self.cursor);
        ledger.look(self.id, last);
        Ok(())
    }

    async fn events(&self, tx: &Transaction<'_>) -> Result<HashMap<i64, Event>> {
        let select = format!(
            "SELECT {EVENT} FROM scheduler.event e JOIN scheduler.event_source s ON s.id = e.source_id \
             WHERE e.source_id = $1 AND e.seq > $2 ORDER BY e.seq LIMIT $3"
        );
        let select = tx.prepare_cached(&select).await.map_err(db)?;
        let rows = tx.query(&select, &[&self.source, &self.cursor, &EVENTS]).await.map_err(db)?;
        Ok(rows.iter().map(event).map(|event| (event.seq, event)).collect())
    }

    /// Groups that are sealed, and those that are open.
    async fn groups(
        &self,
        tx: &Transaction<'_>,
        taken: &[Taken],
        horizon: Option<Timestamp>,
    ) -> Result<(Vec<Group>, Vec<Group>)> {
        let keys: BTreeSet<&str> = taken.iter().map(|event| event.key.as_str()).collect();
        if keys.is_empty() && horizon.is_none() {
            return Ok((Vec::new(), Vec::new()));
        }
        let keys: Vec<&str> = keys.into_iter().collect();
        let select = tx.prepare_cached(GROUPS).await.map_err(db)?;
        let rows = tx.query(&select, &[&self.id, &keys, &horizon, &DUE]).await.map_err(db)?;
        let (sealed, open): (Vec<&Row>, Vec<&Row>) =
            rows.iter().partition(|row| row.get::<_, i16>(6) == GroupState::Sealed.number());
        let groups = |rows: Vec<&Row>| rows.into_iter().map(group).collect();
        Ok((groups(sealed), groups(open)))
    }

    /// The run of a group that is complete, or why there is none.
    async fn make(
        &self,
        tx: &Transaction<'_>,
        listener: &Listener,
        group: &Group,
        now: &HashMap<i64, Event>,
    ) -> Result<Result<NewRun, String>> {
        let mut events = match group.id {
            Some(id) => members(tx, id).await?,
            None => Vec::new(),
        };
        events.extend(group.joined.iter().filter_map(|seq| now.get(seq)).cloned());
        let made = match listener.make(&self.name, group, &events, self.scope()) {
            Ok(made) => made,
            Err(reason) => return Ok(Err(reason)),
        };
        let bound = self.binding.as_ref().map(|binding| &binding.spec.params);
        let params = match self.plan.params.resolve(bound.into_iter().chain([&made.params])) {
            Ok(params) => params,
            Err(problems) => return Ok(Err(Error::params(&problems).to_string())),
        };
        Ok(Ok(NewRun {
            flow: self.flow.id,
            plan: Arc::clone(&self.plan),
            binding_hash: self.flow.binding_hash,
            key: made.key,
            kind: RunKind::Event,
            class: Class::Live,
            backfill: None,
            slot: None,
            logical_at: Some(made.logical_at),
            interval: made.interval,
            params,
        }))
    }

    fn entry(&self, group: Group, state: GroupState) -> Entry {
        Entry { trigger: self.id, source: self.source, group, state, due: None, run: None, reason: None }
    }

    fn ended(&self, group: Group, made: Result<NewRun, String>) -> Entry {
        match made {
            Ok(run) => Entry { run: Some(run), ..self.entry(group, GroupState::Run) },
            Err(reason) => {
                tracing::error!(flow = self.flow.name(), trigger = self.name, reason, "events can make no run");
                Entry { reason: Some(reason), ..self.entry(group, GroupState::Refused) }
            }
        }
    }

    /// An event of which nobody can tell whether or how it is taken.
    fn refused(&self, event: &Event, reason: String) -> Entry {
        let (first_at, last_at, key) = (event.at, event.at, String::new());
        let group = Group { id: None, key, first_at, last_at, events: 1, bytes: event.bytes, joined: vec![event.seq] };
        self.ended(group, Err(reason))
    }
}

fn group(row: &Row) -> Group {
    Group {
        id: Some(row.get(0)),
        key: row.get(1),
        first_at: row.get(2),
        last_at: row.get(3),
        events: usize::try_from(row.get::<_, i32>(4)).unwrap_or_default(),
        bytes: u64::try_from(row.get::<_, i64>(5)).unwrap_or_default(),
        joined: Vec::new(),
    }
}

/// The events of a group, in their order.
async fn members(tx: &Transaction<'_>, group: i64) -> Result<Vec<Event>> {
    let select = format!(
        "SELECT {EVENT} FROM scheduler.event_member m JOIN scheduler.event e ON (e.source_id, e.seq) = (m.source_id, m.seq) \
         JOIN scheduler.event_source s ON s.id = e.source_id WHERE m.group_id = $1 ORDER BY e.seq"
    );
    let select = tx.prepare_cached(&select).await.map_err(db)?;
    Ok(tx.query(&select, &[&group]).await.map_err(db)?.iter().map(event).collect())
}
