use std::collections::BTreeSet;

use jiff::Timestamp;
use millrace_postgres::Transaction;

use super::super::{FlowId, NewRun, Store, db, runs};
use crate::{
    error::{Error, Result},
    events::Group,
    state::GroupState,
};

/// What becomes of a group.
pub(super) struct Entry {
    pub(super) trigger: i32,
    pub(super) source: i32,
    pub(super) group: Group,
    pub(super) state: GroupState,
    /// When an open one is due.
    pub(super) due: Option<Timestamp>,
    pub(super) run: Option<NewRun>,
    /// Why there is none.
    pub(super) reason: Option<String>,
}

/// What a transaction writes about events.
#[derive(Default)]
pub(super) struct Ledger {
    entries: Vec<Entry>,
    triggers: Vec<i32>,
    cursors: Vec<i64>,
}

/// Groups of one transaction, but for those of the last trigger.
const ENTRIES: usize = 500;

const NUMBERS: &str = "SELECT nextval('scheduler.event_group_id') FROM generate_series(1, $1)";

const GROUPS: &str = "\
INSERT INTO scheduler.event_group (id, trigger_id, source_id, key, state, events, bytes, first_at, last_at, due_at, run_id,
                                   reason, ended_at)
SELECT g.*, CASE WHEN g.state >= 10 THEN now() END
FROM unnest($1::bigint[], $2::integer[], $3::integer[], $4::text[], $5::smallint[], $6::integer[], $7::bigint[],
            $8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::bigint[], $12::text[])
    AS g(id, trigger_id, source_id, key, state, events, bytes, first_at, last_at, due_at, run_id, reason)
ON CONFLICT (id) DO UPDATE
SET state = excluded.state, events = excluded.events, bytes = excluded.bytes, last_at = excluded.last_at,
    due_at = excluded.due_at, run_id = excluded.run_id, reason = excluded.reason, ended_at = excluded.ended_at";

const MEMBERS: &str = "\
INSERT INTO scheduler.event_member (group_id, source_id, seq)
SELECT * FROM unnest($1::bigint[], $2::integer[], $3::bigint[])";

const CURSORS: &str = "\
UPDATE scheduler.event_trigger t SET cursor = d.cursor, looked_at = clock_timestamp(), not_before = NULL,
    next_at = (SELECT min(g.due_at) FROM scheduler.event_group g WHERE g.trigger_id = t.id AND g.state < 10)
FROM unnest($1::integer[], $2::bigint[]) AS d(id, cursor) WHERE t.id = d.id";

impl Ledger {
    pub(super) fn enter(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Whether the transaction is large enough: what is not looked at now is looked at by the next.
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= ENTRIES
    }

    /// A trigger has looked at its events up to a number.
    pub(super) fn look(&mut self, trigger: i32, cursor: i64) {
        self.triggers.push(trigger);
        self.cursors.push(cursor);
    }

    /// Those that have new runs.
    pub(super) fn flows(&self) -> BTreeSet<FlowId> {
        self.entries.iter().filter_map(|entry| Some(entry.run.as_ref()?.flow)).collect()
    }

    /// Writes all of it. Gives how many runs were made.
    pub(super) async fn write(&mut self, store: &Store, tx: &Transaction<'_>) -> Result<usize> {
        if self.triggers.is_empty() {
            return Ok(0);
        }
        self.number(tx).await?;
        let runs: Vec<NewRun> = self.entries.iter().filter_map(|entry| entry.run.clone()).collect();
        let made = runs::insert(store, tx, &runs).await?;
        let mut ids = Vec::with_capacity(runs.len());
        for (run, id) in runs.iter().zip(&made) {
            ids.push(match id {
                Some(id) => id.0,
                None => existing(tx, run).await?,
            });
        }
        let mut ids = ids.into_iter();
        let entries: Vec<(&Entry, Option<i64>)> =
            self.entries.iter().map(|entry| (entry, entry.run.as_ref().and_then(|_| ids.next()))).collect();
        // A key has one open group: the one before it ends first.
        let (ended, open): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(entry, _)| entry.state.is_final());
        groups(tx, &ended).await?;
        groups(tx, &open).await?;
        self.members(tx).await?;
        let cursors = tx.prepare_cached(CURSORS).await.map_err(db)?;
        tx.execute(&cursors, &[&self.triggers, &self.cursors]).await.map_err(db)?;
        Ok(made.iter().flatten().count())
    }

    /// Gives new groups their numbers.
    async fn number(&mut self, tx: &Transaction<'_>) -> Result<()> {
        let mut new: Vec<&mut Group> =
            self.entries.iter_mut().map(|entry| &mut entry.group).filter(|group| group.id.is_none()).collect();
        if new.is_empty() {
            return Ok(());
        }
        let numbers = tx.prepare_cached(NUMBERS).await.map_err(db)?;
        let rows = tx.query(&numbers, &[&(new.len() as i32)]).await.map_err(db)?;
        for (group, row) in new.iter_mut().zip(rows) {
            group.id = Some(row.get(0));
        }
        Ok(())
    }

    async fn members(&self, tx: &Transaction<'_>) -> Result<()> {
        let (mut ids, mut sources, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        for Entry { source, group, .. } in &self.entries {
            for seq in &group.joined {
                ids.push(group.id);
                sources.push(*source);
                numbers.push(*seq);
            }
        }
        if !ids.is_empty() {
            let insert = tx.prepare_cached(MEMBERS).await.map_err(db)?;
            tx.execute(&insert, &[&ids, &sources, &numbers]).await.map_err(db)?;
        }
        Ok(())
    }
}

/// A run of this key was there already: it is this one.
async fn existing(tx: &Transaction<'_>, run: &NewRun) -> Result<i64> {
    let select = "SELECT id FROM scheduler.run WHERE flow_id = $1 AND key = $2";
    let row = tx.query_opt(select, &[&run.flow.0, &run.key]).await.map_err(db)?;
    row.map(|row| row.get(0)).ok_or_else(|| Error::Strange("a run that is there and is not".to_owned()))
}

async fn groups(tx: &Transaction<'_>, entries: &[(&Entry, Option<i64>)]) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let of = |read: fn(&Entry) -> i32| entries.iter().map(|(entry, _)| read(entry)).collect::<Vec<i32>>();
    let (triggers, sources) = (of(|it| it.trigger), of(|it| it.source));
    let events = of(|it| i32::try_from(it.group.events).unwrap_or(i32::MAX));
    let ids: Vec<Option<i64>> = entries.iter().map(|(it, _)| it.group.id).collect();
    let keys: Vec<&str> = entries.iter().map(|(it, _)| it.group.key.as_str()).collect();
    let states: Vec<i16> = entries.iter().map(|(it, _)| it.state.number()).collect();
    let bytes: Vec<i64> = entries.iter().map(|(it, _)| i64::try_from(it.group.bytes).unwrap_or(i64::MAX)).collect();
    let first: Vec<Timestamp> = entries.iter().map(|(it, _)| it.group.first_at).collect();
    let last: Vec<Timestamp> = entries.iter().map(|(it, _)| it.group.last_at).collect();
    let due: Vec<Option<Timestamp>> = entries.iter().map(|(it, _)| it.due).collect();
    let runs: Vec<Option<i64>> = entries.iter().map(|(_, run)| *run).collect();
    let reasons: Vec<Option<&str>> = entries.iter().map(|(it, _)| it.reason.as_deref()).collect();
    let insert = tx.prepare_cached(GROUPS).await.map_err(db)?;
    tx.execute(
        &insert,
        &[&ids, &triggers, &sources, &keys, &states, &events, &bytes, &first, &last, &due, &runs, &reasons],
    )
    .await
    .map_err(db)?;
    Ok(())
}
