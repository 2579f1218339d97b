//! What is there, as messages.

use std::collections::BTreeMap;

use jiff::Timestamp;
use millrace_core::Fault;
use millrace_proto::{json, scheduler::v1 as pb};
use serde_json::Value;

use crate::{
    Error,
    apply::{Action, Change},
    document::Order,
    plan::Plan,
    state::{RunState, SlotState, TaskState},
    store::{AttemptRow, Backfill, Backfilled, FlowRow, PoolState, RunRow, SlotRow, TaskRow},
};

/// Each level is up to three messages in each other, and decoders end at a hundred.
const MAX_DEPTH: usize = 25;

pub(super) fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    // The parts have one sign; a message wants its nanoseconds positive.
    let (mut seconds, mut nanos) = (at.as_second(), at.subsec_nanosecond());
    if nanos < 0 {
        seconds -= 1;
        nanos += 1_000_000_000;
    }
    prost_types::Timestamp { seconds, nanos }
}

pub(super) fn instant(at: prost_types::Timestamp) -> Result<Timestamp, Error> {
    Timestamp::new(at.seconds, at.nanos).map_err(|error| Error::Invalid(format!("a time: {error}")))
}

/// Parameters by name.
pub(super) fn params(given: Option<prost_types::Struct>) -> BTreeMap<String, Value> {
    json::from_struct(given.unwrap_or_default()).into_iter().collect()
}

/// What a message cannot carry exactly, or nested so deep that decoders give up, is told as text.
fn message(value: &Value) -> prost_types::Value {
    if json::is_exact(value) && depth(value) <= MAX_DEPTH {
        json::to_value(value)
    } else {
        json::to_value(&Value::String(value.to_string()))
    }
}

pub(super) fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

pub(super) fn change(it: Change) -> pb::Change {
    let action = match it.action {
        Action::Create => pb::change::Action::Create,
        Action::Update => pb::change::Action::Update,
        Action::Unchanged => pb::change::Action::Unchanged,
    };
    let Change { kind, name, details, hash, .. } = it;
    pb::Change { kind: kind.to_owned(), name, action: action.into(), details, hash: hash.to_string() }
}

pub(super) fn fault(it: Fault) -> pb::Fault {
    let Fault { file, path, line, message, .. } = it;
    pb::Fault { document: file, path, line: u32::try_from(line).unwrap_or_default(), message }
}

pub(super) fn dag(row: FlowRow, plan: &Plan) -> pb::Dag {
    let FlowRow { flow, running, queued, last } = row;
    let schedule = plan.dag.spec.schedule.as_ref().map(|schedule| match (&schedule.cron, &schedule.every) {
        (Some(cron), _) => format!("{cron} {}", schedule.timezone),
        (None, Some(every)) => format!("every {every}"),
        (None, None) => String::new(),
    });
    pb::Dag {
        r#ref: Some(pb::DagRef { dag: flow.dag, binding: flow.binding }),
        hash: flow.hash.to_string(),
        paused: flow.paused,
        schedule: schedule.unwrap_or_default(),
        next_at: flow.due_at.map(timestamp),
        tasks: plan.graph.len() as u32,
        running: running as u32,
        queued: queued as u32,
        last_run: last.map(run),
    }
}

pub(super) fn run(row: RunRow) -> pb::Run {
    let state = match row.state {
        RunState::Queued => pb::RunState::RunQueued,
        RunState::Running => pb::RunState::RunRunning,
        RunState::Succeeded => pb::RunState::RunSucceeded,
        RunState::Failed => pb::RunState::RunFailed,
        RunState::Cancelled => pb::RunState::RunCancelled,
    };
    let params = row.params.as_object().map(|params| prost_types::Struct {
        fields: params.iter().map(|(name, value)| (name.clone(), message(value))).collect(),
    });
    pb::Run {
        id: row.id.0,
        r#ref: Some(pb::DagRef { dag: row.dag, binding: row.binding }),
        key: row.key,
        kind: row.kind.as_str().to_owned(),
        state: state.into(),
        logical_date: row.logical_at.map(timestamp),
        interval_start: row.interval_start.map(timestamp),
        interval_end: row.interval_end.map(timestamp),
        queued_at: Some(timestamp(row.queued_at)),
        started_at: row.started_at.map(timestamp),
        ended_at: row.ended_at.map(timestamp),
        hash: row.hash.to_string(),
        params,
        tasks_left: row.tasks_left.max(0) as u32,
    }
}

pub(super) fn run_state(number: i32) -> Result<RunState, Error> {
    match pb::RunState::try_from(number) {
        Ok(pb::RunState::RunQueued) => Ok(RunState::Queued),
        Ok(pb::RunState::RunRunning) => Ok(RunState::Running),
        Ok(pb::RunState::RunSucceeded) => Ok(RunState::Succeeded),
        Ok(pb::RunState::RunFailed) => Ok(RunState::Failed),
        Ok(pb::RunState::RunCancelled) => Ok(RunState::Cancelled),
        Ok(pb::RunState::Unspecified) | Err(_) => Err(Error::Invalid(format!("states: {number} is none"))),
    }
}

fn task_state(state: TaskState) -> i32 {
    match state {
        TaskState::Waiting => pb::TaskState::TaskWaiting,
        TaskState::Ready => pb::TaskState::TaskReady,
        TaskState::Active => pb::TaskState::TaskActive,
        TaskState::Mapped => pb::TaskState::TaskMapped,
        TaskState::Succeeded => pb::TaskState::TaskSucceeded,
        TaskState::Failed => pb::TaskState::TaskFailed,
        TaskState::Skipped => pb::TaskState::TaskSkipped,
        TaskState::UpstreamFailed => pb::TaskState::TaskUpstreamFailed,
        TaskState::Cancelled => pb::TaskState::TaskCancelled,
    }
    .into()
}

pub(super) fn task(row: TaskRow, plan: &Plan) -> pb::Task {
    pb::Task {
        name: plan.graph.name(row.task as usize).to_owned(),
        state: task_state(row.state),
        attempts: row.attempts.max(0) as u32,
        due_at: row.due_at.map(timestamp),
        ended_at: row.ended_at.map(timestamp),
        error: row.error.unwrap_or_default(),
        output: row.output.as_ref().map(message),
        items: row.items.max(0) as u32,
        items_left: row.items_left.max(0) as u32,
        items_failed: row.items_failed.max(0) as u32,
    }
}

pub(super) fn attempt(row: AttemptRow, plan: &Plan) -> pb::Attempt {
    pb::Attempt {
        task: plan.graph.name(row.task as usize).to_owned(),
        item: u32::try_from(row.item).ok(),
        attempt: row.attempt.max(0) as u32,
        token: row.token,
        instance: row.instance,
        launched_at: Some(timestamp(row.launched_at)),
        ended_at: row.ended_at.map(timestamp),
        outcome: task_state(row.outcome.unwrap_or(TaskState::Active)),
        error: row.error.unwrap_or_default(),
        log: row.log.unwrap_or_default(),
    }
}

pub(super) fn slot(row: SlotRow) -> pb::Slot {
    let state = match row.state {
        Some(SlotState::Fired) => pb::SlotState::SlotFired,
        Some(SlotState::CaughtUp) => pb::SlotState::SlotCaughtUp,
        Some(SlotState::Coalesced) => pb::SlotState::SlotCoalesced,
        Some(SlotState::Skipped) => pb::SlotState::SlotSkipped,
        Some(SlotState::Suppressed) => pb::SlotState::SlotSuppressed,
        Some(SlotState::DstGap) => pb::SlotState::SlotDstGap,
        Some(SlotState::DstFold) => pb::SlotState::SlotDstFold,
        None => pb::SlotState::Unspecified,
    };
    let reason = match (row.reason.unwrap_or_default(), row.count) {
        (reason, 1) => reason,
        (reason, count) => format!("{count} moments up to {}: {reason}", row.until),
    };
    pb::Slot { at: Some(timestamp(row.at)), state: state.into(), reason, run: row.run.map_or(0, |run| run.0) }
}

pub(super) fn pool(it: PoolState) -> pb::Pool {
    let PoolState { name, slots, used, waiting, .. } = it;
    pb::Pool { name, slots: slots.max(0) as u32, used: used.max(0) as u32, waiting: waiting.max(0) as u32 }
}

pub(super) fn backfill(request: &pb::BackfillRequest, params: BTreeMap<String, Value>) -> Result<Backfill, Error> {
    let at = |name: &str, at: Option<prost_types::Timestamp>| {
        instant(at.ok_or_else(|| Error::Invalid(format!("{name}: expected a time")))?)
    };
    let (from, to) = (at("from", request.from)?, at("to", request.to)?);
    let order = if request.newest_first { Order::NewestFirst } else { Order::OldestFirst };
    Ok(Backfill { from, to, all: request.all, order, max_parallel: request.max_parallel.max(1), params })
}

pub(super) fn planned(it: Backfilled) -> pb::BackfillResponse {
    let estimate = it.estimate.map(|estimate| prost_types::Duration {
        seconds: estimate.as_secs() as i64,
        nanos: estimate.subsec_nanos() as i32,
    });
    let moments = it.moments.into_iter().map(timestamp).collect();
    pb::BackfillResponse { moments, estimate, id: it.id.unwrap_or_default() }
}
