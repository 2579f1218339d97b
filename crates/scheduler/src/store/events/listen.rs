//! Triggers of DAGs that are put in force, and what becomes of those that are there no more.

use millrace_postgres::Transaction;
use serde_json::{Value, json};

use super::{
    super::{FlowId, db},
    record,
};
use crate::{document::Trigger, error::Result, plan::Plan};

/// The triggers of DAGs, locked before their flows are: nobody is looking at them.
const HOLD: &str = "\
SELECT t.id FROM scheduler.event_trigger t JOIN scheduler.flow f ON f.id = t.flow_id
WHERE f.dag = ANY($1::text[]) ORDER BY t.id FOR NO KEY UPDATE OF t";
const HOLD_ONE: &str = "SELECT id FROM scheduler.event_trigger WHERE flow_id = $1 ORDER BY id FOR NO KEY UPDATE";

/// Groups of another rule, or of another source, get no more events, and make their runs.
const SEAL: &str = "\
UPDATE scheduler.event_group g SET state = 1, due_at = now() FROM scheduler.event_trigger t
WHERE t.flow_id = $1 AND t.name = $2 AND t.id = g.trigger_id AND g.state = 0
  AND (t.source_id <> $3 OR t.rule <> $4::jsonb)";

/// One that is new begins after the events that are there, and so does one whose source is another.
const PUT: &str = "\
INSERT INTO scheduler.event_trigger AS t (flow_id, name, source_id, rule, cursor)
SELECT $1, $2, s.id, $4, s.last_seq FROM scheduler.event_source s WHERE s.id = $3
ON CONFLICT (flow_id, name) DO UPDATE
SET source_id = excluded.source_id, rule = excluded.rule, active = true, not_before = NULL,
    cursor = CASE WHEN t.active AND t.source_id = excluded.source_id THEN t.cursor ELSE excluded.cursor END,
    next_at = (SELECT min(due_at) FROM scheduler.event_group g WHERE g.trigger_id = t.id AND g.state < 10)";

const LEAVE: &str = "\
WITH gone AS (
    UPDATE scheduler.event_trigger SET active = false, next_at = NULL
    WHERE flow_id = $1 AND active AND name <> ALL($2::text[]) RETURNING id
)
UPDATE scheduler.event_group SET state = 12, due_at = NULL, ended_at = now(), reason = 'the trigger was removed'
WHERE trigger_id IN (SELECT id FROM gone) AND state < 10";

/// Locks the triggers of DAGs. Before anything else is locked.
pub(in crate::store) async fn hold(tx: &Transaction<'_>, dags: &[&str]) -> Result<()> {
    tx.query(HOLD, &[&dags]).await.map_err(db)?;
    Ok(())
}

/// Locks the triggers of a flow. Before anything else is locked.
pub(in crate::store) async fn hold_one(tx: &Transaction<'_>, flow: FlowId) -> Result<()> {
    tx.query(HOLD_ONE, &[&flow.0]).await.map_err(db)?;
    Ok(())
}

/// Puts the triggers of a plan in force for a flow.
pub(in crate::store) async fn listen(tx: &Transaction<'_>, flow: FlowId, plan: &Plan) -> Result<()> {
    for (name, listener) in &plan.listeners {
        // Locked: what is recorded afterwards comes after the cursor, and nothing else does.
        let source = record::source(tx, &listener.trigger.source).await?;
        let rule = rule(&listener.trigger);
        let seal = tx.prepare_cached(SEAL).await.map_err(db)?;
        tx.execute(&seal, &[&flow.0, name, &source, &rule]).await.map_err(db)?;
        let put = tx.prepare_cached(PUT).await.map_err(db)?;
        tx.execute(&put, &[&flow.0, name, &source, &rule]).await.map_err(db)?;
    }
    let names: Vec<&str> = plan.listeners.keys().map(String::as_str).collect();
    let leave = tx.prepare_cached(LEAVE).await.map_err(db)?;
    tx.execute(&leave, &[&flow.0, &names]).await.map_err(db)?;
    Ok(())
}

/// Lets the triggers of the flows of a DAG go that are not in force any more.
pub(in crate::store) async fn leave(tx: &Transaction<'_>, dag: &str) -> Result<()> {
    let select = "SELECT DISTINCT f.id FROM scheduler.flow f JOIN scheduler.event_trigger t ON t.flow_id = f.id \
                  WHERE f.dag = $1 AND NOT f.active AND t.active";
    let nothing: [&str; 0] = [];
    for row in tx.query(select, &[&dag]).await.map_err(db)? {
        tx.execute(LEAVE, &[&row.get::<_, i32>(0), &nothing.as_slice()]).await.map_err(db)?;
    }
    Ok(())
}

/// What of a trigger says which events go together.
fn rule(trigger: &Trigger) -> Value {
    json!(trigger.together)
}
