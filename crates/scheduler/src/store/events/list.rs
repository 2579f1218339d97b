//! Events and what became of them, for people and for templates.

use std::collections::HashMap;

use jiff::Timestamp;
use millrace_postgres::{GenericClient, types::ToSql};
use serde_json::Value;

use super::{
    super::{FlowId, RunId, Store, db},
    EVENT, event,
};
use crate::{
    error::{Error, Result},
    events::Event,
    state::GroupState,
};

/// Which events.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    /// Of this source; none: of all.
    pub source: Option<String>,
    /// Only the one of this id. Then its data is read as well.
    pub id: Option<String>,
    /// Of lower numbers than this.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: usize,
}

/// An event, and what became of it.
#[derive(Clone, Debug)]
pub struct EventRow {
    /// The event. Without its data, unless it was asked for by its id.
    pub event: Event,
    /// What triggers have made of it.
    pub uses: Vec<Use>,
    /// Triggers that have not looked at it.
    pub pending: Vec<Pending>,
}

/// What a trigger has made of an event.
#[derive(Clone, Debug)]
pub struct Use {
    /// The DAG's name.
    pub dag: String,
    /// The binding's name; empty: none.
    pub binding: String,
    /// The trigger's.
    pub trigger: String,
    /// What the group is that it is in.
    pub group: GroupRow,
}

/// Events that go together, as they stand.
#[derive(Clone, Debug)]
pub struct GroupRow {
    /// What they have in common.
    pub key: String,
    /// What has become of them.
    pub state: GroupState,
    /// How many there are.
    pub events: i32,
    /// When they make a run at the latest.
    pub due_at: Option<Timestamp>,
    /// The run that they made.
    pub run: Option<RunId>,
    /// Why they made none.
    pub reason: Option<String>,
}

/// A trigger that has not looked at an event.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The DAG's name.
    pub dag: String,
    /// The binding's name; empty: none.
    pub binding: String,
    /// The trigger's.
    pub trigger: String,
    /// Its DAG is paused.
    pub paused: bool,
}

/// A trigger, as it stands.
#[derive(Clone, Debug)]
pub struct TriggerRow {
    /// Its name.
    pub name: String,
    /// Where its events come from.
    pub source: String,
    /// Events that it has not looked at.
    pub unseen: i64,
    /// Groups that wait.
    pub open: i64,
    /// Some of them, those that are due first.
    pub groups: Vec<GroupRow>,
}

/// Triggers of one event that are told.
const MOST: i64 = 100;

const USES: &str = "\
SELECT a.source_id, a.seq, f.dag, f.binding, t.name, g.key, g.state, g.events, g.due_at, g.run_id, g.reason
FROM unnest($1::integer[], $2::bigint[]) AS a(source_id, seq) CROSS JOIN LATERAL (
    SELECT group_id FROM scheduler.event_member m WHERE (m.source_id, m.seq) = (a.source_id, a.seq) LIMIT $3
) m JOIN scheduler.event_group g ON g.id = m.group_id JOIN scheduler.event_trigger t ON t.id = g.trigger_id
JOIN scheduler.flow f ON f.id = t.flow_id ORDER BY f.dag, f.binding, t.name";

const PENDING: &str = "\
SELECT a.source_id, a.seq, t.dag, t.binding, t.name, t.paused
FROM unnest($1::integer[], $2::bigint[]) AS a(source_id, seq) CROSS JOIN LATERAL (
    SELECT f.dag, f.binding, t.name, f.paused FROM scheduler.event_trigger t JOIN scheduler.flow f ON f.id = t.flow_id
    WHERE t.source_id = a.source_id AND t.active AND f.active AND t.cursor < a.seq
    ORDER BY f.dag, f.binding, t.name LIMIT $3
) t";

const TRIGGERS: &str = "\
SELECT t.id, t.name, s.name, s.last_seq - t.cursor,
       (SELECT count(*) FROM scheduler.event_group g WHERE g.trigger_id = t.id AND g.state < 10)
FROM scheduler.event_trigger t JOIN scheduler.event_source s ON s.id = t.source_id
WHERE t.flow_id = $1 AND t.active ORDER BY t.name";

const OPEN: &str = "\
SELECT key, state, events, due_at, run_id, reason FROM scheduler.event_group
WHERE trigger_id = $1 AND state < 10 ORDER BY due_at, id LIMIT $2";

impl Store {
    /// Events, those that were recorded last first.
    pub async fn events(&self, query: &EventQuery) -> Result<Vec<EventRow>> {
        let client = self.pool.get().await?;
        let data = query.id.is_some();
        let columns = EVENT.replace("e.data", if data { "e.data" } else { "'null'::jsonb" });
        let select = format!(
            "SELECT {columns}, e.source_id FROM scheduler.event e JOIN scheduler.event_source s ON s.id = e.source_id \
             WHERE ($1::text IS NULL OR s.name = $1) AND ($2::text IS NULL OR e.event_id = $2) \
               AND ($3::bigint IS NULL OR e.seq < $3) ORDER BY e.at DESC, e.source_id, e.seq DESC LIMIT $4"
        );
        let limit = query.limit as i64;
        let rows = client.query(&select, &[&query.source, &query.id, &query.before, &limit]).await.map_err(db)?;
        let places: Vec<(i32, i64)> = rows.iter().map(|row| (row.get(8), row.get(0))).collect();
        let mut uses = self::uses(&client, &places).await?;
        let mut pending = self::pending(&client, &places).await?;
        let row = |(row, place): (&millrace_postgres::Row, &(i32, i64))| EventRow {
            event: event(row),
            uses: uses.remove(place).unwrap_or_default(),
            pending: pending.remove(place).unwrap_or_default(),
        };
        Ok(rows.iter().zip(&places).map(row).collect())
    }

    /// The events that made a run, in their order, as templates have them.
    pub async fn events_of(&self, run: RunId) -> Result<Vec<Value>> {
        let client = self.pool.get().await?;
        let select = format!(
            "SELECT {EVENT} FROM scheduler.event_group g JOIN scheduler.event_member m ON m.group_id = g.id \
             JOIN scheduler.event e ON (e.source_id, e.seq) = (m.source_id, m.seq) \
             JOIN scheduler.event_source s ON s.id = e.source_id WHERE g.run_id = $1 ORDER BY e.seq"
        );
        let select = client.prepare_cached(&select).await.map_err(db)?;
        let rows = client.query(&select, &[&run.0]).await.map_err(db)?;
        Ok(rows.iter().map(|row| event(row).value()).collect())
    }

    /// The triggers of a flow, each with some of the groups that wait.
    pub async fn triggers(&self, flow: FlowId, groups: i64) -> Result<Vec<TriggerRow>> {
        let client = self.pool.get().await?;
        let mut triggers = Vec::new();
        for row in client.query(TRIGGERS, &[&flow.0]).await.map_err(db)? {
            let open = client.query(OPEN, &[&row.get::<_, i32>(0), &groups]).await.map_err(db)?;
            triggers.push(TriggerRow {
                name: row.get(1),
                source: row.get(2),
                unseen: row.get(3),
                open: row.get(4),
                groups: open.iter().map(|row| group(row, 0)).collect::<Result<_>>()?,
            });
        }
        Ok(triggers)
    }
}

/// A group whose columns begin with one of a row.
fn group(row: &millrace_postgres::Row, from: usize) -> Result<GroupRow> {
    let state =
        GroupState::from_number(row.get(from + 1)).ok_or_else(|| Error::Strange("a group's state".to_owned()))?;
    Ok(GroupRow {
        key: row.get(from),
        state,
        events: row.get(from + 2),
        due_at: row.get(from + 3),
        run: row.get::<_, Option<i64>>(from + 4).map(RunId),
        reason: row.get(from + 5),
    })
}

type Places<T> = HashMap<(i32, i64), Vec<T>>;

async fn uses(client: &impl GenericClient, places: &[(i32, i64)]) -> Result<Places<Use>> {
    let mut uses = Places::new();
    for row in of(client, USES, places).await? {
        let it = Use { dag: row.get(2), binding: row.get(3), trigger: row.get(4), group: group(&row, 5)? };
        uses.entry((row.get(0), row.get(1))).or_default().push(it);
    }
    Ok(uses)
}

async fn pending(client: &impl GenericClient, places: &[(i32, i64)]) -> Result<Places<Pending>> {
    let mut pending = Places::new();
    for row in of(client, PENDING, places).await? {
        let it = Pending { dag: row.get(2), binding: row.get(3), trigger: row.get(4), paused: row.get(5) };
        pending.entry((row.get(0), row.get(1))).or_default().push(it);
    }
    Ok(pending)
}

async fn of(client: &impl GenericClient, select: &str, places: &[(i32, i64)]) -> Result<Vec<millrace_postgres::Row>> {
    let (sources, numbers): (Vec<i32>, Vec<i64>) = places.iter().copied().unzip();
    let parameters: [&(dyn ToSql + Sync); 3] = [&sources, &numbers, &MOST];
    client.query(select, &parameters).await.map_err(db)
}
