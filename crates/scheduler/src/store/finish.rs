use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use millrace_postgres::{Transaction, storable, types::ToSql};
use serde_json::Value;

use super::{
    InstanceId, Key, Launch, READY, RunId, Share, Store, WHOLE, db, key, pools,
    successors::{Progress, locked},
};
use crate::{
    error::{Error, Result},
    plan::{Hash, MAX_ITEMS, Plan},
    state::{RunState, TaskState},
};

/// What somebody says of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The attempt, by its fencing token.
    pub token: i64,
    /// What has become of it.
    pub outcome: Outcome,
    /// The end of its log; empty where it has none.
    pub log: String,
}

impl Report {
    /// Of an attempt without a log.
    pub fn new(token: i64, outcome: Outcome) -> Self {
        Self { token, outcome, log: String::new() }
    }
}

/// What has become of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It has done its work, and this came of it.
    Succeeded(Option<Value>),
    /// It has failed.
    Failed {
        /// Why, for a person.
        error: String,
        /// How long from now it is tried again; none if it is not.
        retry_after: Option<Duration>,
    },
    /// It was ended by something that is not its fault: it is tried again, and that does not count.
    Interrupted {
        /// By what, for a person.
        error: String,
        /// How long from now it is tried again.
        retry_after: Duration,
    },
    /// Its condition does not hold.
    Skipped,
    /// It was told to end, and has.
    Cancelled,
    /// It is a mapped task, and these are its items.
    Expanded(Vec<Value>),
}

/// What came of reports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finished {
    /// Those that were taken, by their tokens. The others are of attempts that are not alive: their tasks have gone on.
    pub accepted: Vec<Done>,
    /// How many tasks can be launched, now or when they are due, that could not before.
    pub ready: usize,
    /// Whether slots of a pool were given back: what waits for them can be launched.
    pub freed: bool,
    /// Runs that have ended.
    pub ended: Vec<(RunId, RunState)>,
}

impl Finished {
    /// Whether there may be something to launch that could not be launched before. A slot that was given back may be what
    /// something else waits for.
    fn is_news(&self) -> bool {
        self.ready > 0 || self.freed
    }

    /// Whether all that has become ready is among `taken`: all of it was due, and no bound was reached. The other replicas
    /// need not be woken for it then, which is the dearer half of the step from a task to its successor.
    fn is_taken(&self, taken: &[Launch], share: Share) -> bool {
        let is_retried = self.accepted.iter().any(|done| done.state == TaskState::Ready);
        !self.freed && !is_retried && taken.len() >= self.ready && taken.len() < share.most.min(share.background)
    }
}

/// An attempt that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Its token.
    pub token: i64,
    /// Its task.
    pub key: Key,
    /// What the task is now.
    pub state: TaskState,
}

/// Locked by a statement of its own: see `successors`.
const LOCK: &str = "\
SELECT l.token FROM scheduler.launch l JOIN scheduler.task t ON t.run_id = l.run_id AND t.no = l.no AND t.item = l.item
WHERE l.token = ANY($1::bigint[]) ORDER BY t.run_id, t.no, t.item FOR UPDATE OF l, t";

/// The attempts end, if they are alive; their history is written, their tasks go on. What was told to end is not tried
/// again, and not mapped.
const FINISH: &str = "\
WITH report AS (
    SELECT * FROM unnest($1::bigint[], $2::smallint[], $3::smallint[], $4::double precision[], $5::integer[], $6::jsonb[], $7::text[],
                         $8::text[])
        AS r(token, state, outcome, wait, counts, output, error, log)
), gone AS (
    DELETE FROM scheduler.launch l USING report r WHERE l.token = r.token
    RETURNING l.run_id, l.no, l.item, l.attempt, l.token, l.instance, l.launched_at,
              CASE WHEN l.cancelled AND r.state IN (1, 3) THEN 14::smallint ELSE r.state END AS state, r.outcome, r.wait, r.counts,
              r.output, r.error, r.log
), history AS (
    INSERT INTO scheduler.attempt (run_id, no, item, attempt, token, instance, launched_at, ended_at, outcome, error, log)
    SELECT run_id, no, item, attempt, token, instance, launched_at, now(), outcome, error, log
    FROM gone WHERE outcome IS NOT NULL
), moved AS (
    UPDATE scheduler.task t
    SET state = g.state, due_at = now() + make_interval(secs => g.wait), retries = t.retries + g.counts,
        output = g.output, error = g.error, ended_at = CASE WHEN g.state >= 10 THEN now() END
    FROM gone g WHERE t.run_id = g.run_id AND t.no = g.no AND t.item = g.item
    RETURNING t.run_id, t.no, t.item, t.pool, t.slots
)
SELECT g.run_id, g.no, g.item, g.token, g.state, r.hash, m.pool, m.slots
FROM gone g JOIN moved m USING (run_id, no, item) JOIN scheduler.run r ON r.id = g.run_id";

/// The instances of a mapped task; those beyond so many wait for others to be done.
const EXPAND: &str = "\
WITH items AS (
    INSERT INTO scheduler.task (run_id, no, item, state, class, priority, needs, epoch, patience, pool, slots, due_at, value)
    SELECT g.run_id, g.no, i.place::integer - 1, CASE WHEN i.place > $5::integer THEN 0 ELSE 1 END, g.class, g.priority, 0, g.epoch, g.patience,
           g.pool, g.slots, CASE WHEN i.place > $5::integer THEN NULL ELSE now() END, i.value
    FROM scheduler.task g, jsonb_array_elements($3::jsonb) WITH ORDINALITY AS i(value, place)
    WHERE g.run_id = $1 AND g.no = $2 AND g.item = -1
    RETURNING 1
)
UPDATE scheduler.task SET items = $4::integer, items_left = $4::integer, items_next = least($4::integer, $5::integer) WHERE run_id = $1 AND no = $2 AND item = -1";

impl Store {
    /// Takes reports of attempts. Those whose token is not alive any more change nothing.
    pub async fn finish(&self, reports: &[Report]) -> Result<Finished> {
        Ok(self.finish_and_claim(reports, None).await?.0)
    }

    /// The same; what can be launched then, and needs no pool, is claimed by the same transaction: so a task that is done and its
    /// successor are one way to the disk. None: nothing was to be claimed, or what is ready may need a pool.
    pub async fn finish_and_claim(
        &self,
        reports: &[Report],
        claim: Option<(InstanceId, Share)>,
    ) -> Result<(Finished, Option<Vec<Launch>>)> {
        let columns = Columns::of(reports);
        Self::again(|| self.finish_once(reports, &columns, claim)).await
    }

    async fn finish_once(
        &self,
        reports: &[Report],
        columns: &Columns,
        claim: Option<(InstanceId, Share)>,
    ) -> Result<(Finished, Option<Vec<Launch>>)> {
        let mut client = self.pool.get().await?;
        let tx = client.transaction().await.map_err(db)?;
        let finished = self.finish_in(&tx, reports, columns).await?;
        let launches = match claim {
            Some((instance, share)) if finished.ready > 0 => self.claim_unpooled(&tx, instance, share).await?,
            _ => None,
        };
        let all_taken =
            matches!((claim, &launches), (Some((_, share)), Some(taken)) if finished.is_taken(taken, share));
        if finished.is_news() && !all_taken {
            self.notify(&tx, READY).await?;
        }
        tx.commit().await.map_err(db)?;
        Ok((finished, launches))
    }

    async fn finish_in(&self, tx: &Transaction<'_>, reports: &[Report], columns: &Columns) -> Result<Finished> {
        let Columns { tokens, states, outcomes, waits, counts, outputs, errors, logs } = columns;
        let parameters: [&(dyn ToSql + Sync); 8] = [tokens, states, outcomes, waits, counts, outputs, errors, logs];
        let rows = locked(tx, LOCK, 1, FINISH, &parameters).await?;
        let (mut accepted, mut hashes) = (Vec::with_capacity(rows.len()), HashMap::new());
        let mut slots = BTreeMap::new();
        for row in &rows {
            let state =
                TaskState::from_number(row.get(4)).ok_or_else(|| Error::Strange("a task's state".to_owned()))?;
            let done = Done { token: row.get(3), key: key(row), state };
            hashes.insert(done.key.run, Hash::read(row.get(5))?);
            if let Some(pool) = row.get::<_, Option<i32>>(6) {
                *slots.entry(pool).or_default() += row.get::<_, i32>(7);
            }
            accepted.push(done);
        }
        let plans = self.plans_of(tx, hashes).await?;
        let mut ready = accepted.iter().filter(|done| done.state == TaskState::Ready).count();
        for done in accepted.iter().filter(|done| done.state == TaskState::Mapped) {
            let report = reports.iter().find(|report| report.token == done.token);
            let Some(Outcome::Expanded(items)) = report.map(|report| &report.outcome) else {
                return Err(Error::Strange(format!("attempt {} was mapped without items", done.token)));
            };
            let plan = plans.get(&done.key.run).and_then(|plan| plan.tasks.get(done.key.task as usize));
            let most = plan.and_then(|it| it.task.for_each.as_ref()?.max_parallel).unwrap_or(MAX_ITEMS as u32) as i32;
            let expand = tx.prepare_cached(EXPAND).await.map_err(db)?;
            let values = Value::Array(items.iter().map(storable_json).collect());
            let count = items.len() as i32;
            tx.execute(&expand, &[&done.key.run.0, &done.key.task, &values, &count, &most]).await.map_err(db)?;
            ready += count.min(most) as usize;
        }
        let finals = accepted.iter().filter(|done| done.state.is_final()).map(|done| (done.key, done.state));
        let mut progress = Progress::new(self, tx, &plans);
        let wholes = progress.instances(finals).await?;
        progress.wholes(wholes).await?;
        let (more, ended) = progress.end().await?;
        ready += more;
        pools::give_back(tx, &slots).await?;
        Ok(Finished { accepted, ready, freed: !slots.is_empty(), ended })
    }

    async fn plans_of(&self, tx: &Transaction<'_>, hashes: HashMap<RunId, Hash>) -> Result<BTreeMap<RunId, Arc<Plan>>> {
        let mut plans = BTreeMap::new();
        for (run, hash) in hashes {
            plans.insert(run, self.plans.get(tx, hash).await?);
        }
        Ok(plans)
    }
}

/// Reports as Postgres takes them.
#[derive(Default)]
struct Columns {
    tokens: Vec<i64>,
    states: Vec<i16>,
    /// None: no attempt worth a line in the history.
    outcomes: Vec<Option<i16>>,
    waits: Vec<Option<f64>>,
    counts: Vec<i32>,
    outputs: Vec<Option<Value>>,
    errors: Vec<Option<String>>,
    logs: Vec<Option<String>>,
}

impl Columns {
    fn of(reports: &[Report]) -> Self {
        let mut columns = Self::default();
        let mut tokens = HashSet::new();
        // Of two reports of one attempt the first is taken, as if they had come one after the other.
        for report in reports.iter().filter(|report| tokens.insert(report.token)) {
            columns.push(report);
        }
        columns
    }

    fn push(&mut self, report: &Report) {
        use TaskState::{Cancelled, Failed, Mapped, Ready, Skipped, Succeeded};
        let (state, outcome, wait, counts) = match &report.outcome {
            Outcome::Succeeded(_) => (Succeeded, Some(Succeeded), None, 0),
            Outcome::Failed { retry_after: None, .. } => (Failed, Some(Failed), None, 0),
            Outcome::Failed { retry_after: Some(wait), .. } => (Ready, Some(Failed), Some(*wait), 1),
            Outcome::Interrupted { retry_after, .. } => (Ready, Some(Cancelled), Some(*retry_after), 0),
            Outcome::Skipped => (Skipped, None, None, 0),
            Outcome::Cancelled => (Cancelled, Some(Cancelled), None, 0),
            // Nothing to map over is nothing to do.
            Outcome::Expanded(items) if items.is_empty() => (Skipped, None, None, 0),
            Outcome::Expanded(items) if items.len() > MAX_ITEMS => (Failed, Some(Failed), None, 0),
            Outcome::Expanded(_) => (Mapped, None, None, 0),
        };
        let (output, error) = match &report.outcome {
            Outcome::Succeeded(output) => (output.as_ref().map(storable_json), None),
            Outcome::Failed { error, .. } | Outcome::Interrupted { error, .. } => (None, Some(storable(error))),
            Outcome::Expanded(items) if items.len() > MAX_ITEMS => {
                (None, Some(format!("mapped over {} items; at most {MAX_ITEMS}", items.len())))
            }
            Outcome::Cancelled => (None, Some("told to end".to_owned())),
            Outcome::Skipped | Outcome::Expanded(_) => (None, None),
        };
        self.tokens.push(report.token);
        self.states.push(state.number());
        self.outcomes.push(outcome.map(TaskState::number));
        self.waits.push(wait.map(|wait| wait.as_secs_f64()));
        self.counts.push(counts);
        self.outputs.push(output);
        self.errors.push(error);
        self.logs.push((!report.log.is_empty()).then(|| storable(&report.log)));
    }
}

/// A value that Postgres can hold.
pub(super) fn storable_json(value: &Value) -> Value {
    match value {
        Value::String(it) => Value::String(storable(it)),
        Value::Array(items) => Value::Array(items.iter().map(storable_json).collect()),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(name, it)| (storable(name), storable_json(it))).collect())
        }
        other => other.clone(),
    }
}

impl Key {
    /// The task that this is of, or an instance of.
    pub(super) fn whole(self) -> Self {
        Self { item: WHOLE, ..self }
    }
}
