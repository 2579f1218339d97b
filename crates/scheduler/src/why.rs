//! Why is this not running? The exact conditions that are not met, of everything that waits.

mod triggers;

pub use triggers::triggers;

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    document::Rule,
    plan::Plan,
    state::{RunState, TaskState},
    store::{FlowRow, PoolState, RunRow, TaskRow, WHOLE},
};

/// Something that waits, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// `run 17`, `task score`, `task score[3]`, `schedule`, `trigger arrived`.
    pub what: String,
    /// Every condition that is not met.
    pub unmet: Vec<String>,
}

/// What is known beside the run itself.
#[derive(Clone, Debug)]
pub struct Surroundings<'a> {
    /// The flow that the run is one of.
    pub flow: &'a FlowRow,
    /// All pools, by number.
    pub pools: &'a BTreeMap<i32, PoolState>,
    /// Instances that look after attempts.
    pub instances: usize,
    /// The database's now.
    pub now: Timestamp,
}

/// Why a run, or what is left of it, is not running. Empty where nothing waits.
pub fn run(run: &RunRow, plan: &Plan, tasks: &[TaskRow], around: &Surroundings<'_>) -> Vec<Waiting> {
    match run.state {
        RunState::Queued => vec![Waiting { what: format!("run {}", run.id.0), unmet: queued(run, plan, around) }],
        RunState::Running => tasks.iter().filter_map(|task| waiting(task, plan, tasks, around)).collect(),
        RunState::Succeeded | RunState::Failed | RunState::Cancelled => Vec::new(),
    }
}

fn queued(run: &RunRow, plan: &Plan, around: &Surroundings<'_>) -> Vec<String> {
    let mut unmet = Vec::new();
    let (running, limit) = (around.flow.running, plan.dag.spec.concurrency.runs);
    if running >= i64::from(limit) {
        unmet.push(format!("concurrency.runs: {running} of {limit} runs are running"));
    }
    if run.gate == -1 && around.flow.running > 0 {
        unmet.push("overlap: the run before it has not ended".to_owned());
    }
    if run.gate > 0 && run.caught_up {
        unmet.push(format!("catchup.maxParallel: {} runs of missed slots at once", run.gate));
    }
    if unmet.is_empty() {
        unmet.push("others before it in the queue have not begun".to_owned());
    }
    unmet
}

fn waiting(task: &TaskRow, plan: &Plan, tasks: &[TaskRow], around: &Surroundings<'_>) -> Option<Waiting> {
    let name = plan.graph.name(task.task as usize);
    let unmet = match task.state {
        TaskState::Waiting => needs(task, plan, tasks),
        TaskState::Ready => ready(task, around),
        TaskState::Mapped => vec![format!("{} of {} instances are not done", task.items_left, task.items)],
        _ => return None,
    };
    let what = if task.item == WHOLE { format!("task {name}") } else { format!("task {name}[{}]", task.item) };
    Some(Waiting { what, unmet })
}

/// The tasks that it waits for.
fn needs(task: &TaskRow, plan: &Plan, tasks: &[TaskRow]) -> Vec<String> {
    let rule = plan.tasks[task.task as usize].task.when;
    let states: BTreeMap<i16, TaskState> = tasks.iter().map(|it| (it.task, it.state)).collect();
    let open = plan.graph.needs(task.task as usize).iter().filter_map(|need| {
        let state = states.get(&(*need as i16)).copied()?;
        (!state.is_final()).then(|| format!("task {} is {}", plan.graph.name(*need), state.as_str()))
    });
    let mut unmet: Vec<String> = open.collect();
    if rule != Rule::AllSuccess {
        let rule =
            serde_json::to_value(rule).ok().and_then(|rule| rule.as_str().map(str::to_owned)).unwrap_or_default();
        unmet.push(format!("when: {rule} is not decided yet"));
    }
    unmet
}

fn ready(task: &TaskRow, around: &Surroundings<'_>) -> Vec<String> {
    let mut unmet = Vec::new();
    if let Some(due) = task.due_at.filter(|due| *due > around.now) {
        unmet.push(format!("tried again at {due}"));
    }
    if let Some(pool) = task.pool.and_then(|pool| around.pools.get(&pool)) {
        let PoolState { name, slots, used, waiting, .. } = pool;
        if slots - used < task.slots {
            unmet.push(format!(
                "pool {name}: {used} of {slots} slots are in use, it needs {}; {waiting} tasks wait",
                task.slots
            ));
        }
    }
    if around.instances == 0 {
        unmet.push("no scheduler is working: none has renewed its lease".to_owned());
    }
    if unmet.is_empty() {
        unmet.push("a scheduler has no room for it yet".to_owned());
    }
    unmet
}

/// Why a flow has no run that is running.
pub fn flow(flow: &FlowRow, plan: &Plan, now: Timestamp) -> Vec<Waiting> {
    if flow.running > 0 {
        return Vec::new();
    }
    let mut unmet = Vec::new();
    if plan.timetable.is_none() {
        unmet.push("it has no schedule: it runs by hand, by event or by backfill".to_owned());
    } else if flow.flow.paused {
        unmet.push("it is paused".to_owned());
    } else {
        match flow.flow.due_at {
            Some(due) if due > now => unmet.push(format!("due at {due}")),
            Some(due) => unmet.push(format!("was due at {due}, and no scheduler has looked at it yet")),
            None => unmet.push("its schedule has ended".to_owned()),
        }
    }
    if flow.queued > 0 {
        unmet.push(format!("{} of its runs wait: ask why of one of them", flow.queued));
    }
    vec![Waiting { what: "schedule".to_owned(), unmet }]
}
