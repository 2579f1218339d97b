//! From a launch to what is to be done: conditions looked at, lists read, templates rendered.

use std::{collections::BTreeMap, time::Duration};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::{
    Error,
    document::{Action, Grpc, Http, Job, Process, Service, Wait},
    exec::{Attempt, Items, Want, Wanted},
    plan::Planned,
    render::{self, Context},
    store::{Launch, Outcome, RunInfo, Store, WHOLE},
};

/// What an attempt does, everything in it rendered.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Nothing.
    Noop,
    /// Lets time pass.
    Sleep(Duration),
    /// A command.
    Process(Process),
    /// A request.
    Http(Http),
    /// A call.
    Grpc(Grpc),
    /// Something that a service does.
    Service(Service),
    /// A Kubernetes Job.
    Job(Box<Wanted>),
    /// Waits for something to be there.
    Wait(Want),
}

/// What becomes of a launch.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Prepared {
    /// It is done already.
    Done(Outcome),
    /// This is to be done.
    Work(Work),
}

/// What the database has that a task asks for.
#[derive(Clone, Debug, Default)]
pub(super) struct Given {
    /// Outputs of the tasks before it, by their names.
    pub(super) outputs: BTreeMap<String, Value>,
    /// The events that made the run; none where it does not ask.
    pub(super) events: Option<Vec<Value>>,
}

impl Given {
    pub(super) async fn read(store: &Store, run: &RunInfo, planned: &Planned) -> Result<Self, Error> {
        let outputs = store.outputs(run, &planned.reads).await?;
        let events = if planned.reads_events { Some(store.events_of(run.id).await?) } else { None };
        Ok(Given { outputs, events })
    }
}

/// Whether a launch is the group of a mapped task, which is done when its list is there.
fn is_group(planned: &Planned, launch: &Launch) -> bool {
    planned.task.for_each.is_some() && launch.key.item == WHOLE
}

/// Whether nothing needs to be known to do it: no condition, no list, no template.
pub(super) fn is_plain(planned: &Planned, launch: &Launch) -> bool {
    planned.task.noop.is_some()
        && !is_group(planned, launch)
        && (planned.condition.is_none() || launch.key.item != WHOLE)
}

/// The attempt that a launch is.
pub(super) fn attempt(launch: &Launch, run: &RunInfo) -> Attempt {
    let Launch { key, attempt, token, launched_at, place, .. } = launch;
    // Of a number for each part, so that no two attempts ever have the same name, whatever DAGs and tasks are called. The
    // token is another where a task that was cleared is counted from one again.
    let item = if key.item == WHOLE { String::new() } else { format!("-i{}", key.item) };
    Attempt {
        name: format!("{}-r{}-t{}{item}-n{attempt}-{token}", run.values.dag, key.run.0, key.task),
        token: *token,
        place: place.clone(),
        dag: run.values.dag.clone(),
        run: key.run.0,
        task: run.plan.graph.name(key.task as usize).to_owned(),
        item: u32::try_from(key.item).ok(),
        number: u32::try_from(*attempt).unwrap_or_default(),
        launched_at: *launched_at,
    }
}

/// Reads what a launch is to do. What cannot be rendered now cannot be later: it has failed for good.
pub(super) fn prepare(launch: &Launch, run: &RunInfo, given: Given) -> Prepared {
    let planned = &run.plan.tasks[launch.key.task as usize];
    read(launch, run, planned, given)
        .unwrap_or_else(|error| Prepared::Done(Outcome::Failed { error, retry_after: None }))
}

fn read(launch: &Launch, run: &RunInfo, planned: &Planned, given: Given) -> Result<Prepared, String> {
    if launch.key.item == WHOLE && !holds(run, planned, &given)? {
        return Ok(Prepared::Done(Outcome::Skipped));
    }
    let context = context(launch, run, planned, given);
    let rendered = |value: &Value| render::render(value, &context).map_err(|fault| fault.to_string());
    let mut shards = None;
    if let Some(each) = planned.task.for_each.as_ref().filter(|_| is_group(planned, launch)) {
        match rendered(&each.items)? {
            // One Job for all of them, unless there is nothing to do.
            Value::Array(items) if planned.task.is_indexed() && !items.is_empty() => shards = Some(items),
            Value::Array(items) => return Ok(Prepared::Done(Outcome::Expanded(items))),
            other => return Err(format!("forEach.in: expected a list, got {}", kind_of(&other))),
        }
    }
    let action = planned.task.actions().next().ok_or("says nothing to do")?;
    Ok(Prepared::Work(match action {
        Action::Noop(_) => Work::Noop,
        Action::Sleep(spec) => Work::Sleep(typed::<crate::document::Sleep>(&rendered(&json!(spec))?)?.length.into()),
        Action::Process(spec) => {
            let mut spec: Process = typed(&rendered(&json!(spec))?)?;
            bind(run, &mut spec.secrets);
            Work::Process(spec)
        }
        Action::Http(spec) => {
            let mut spec: Http = typed(&rendered(&json!(spec))?)?;
            bind(run, &mut spec.secrets);
            Work::Http(spec)
        }
        Action::Grpc(spec) => {
            let mut spec: Grpc = typed(&rendered(&json!(spec))?)?;
            bind(run, &mut spec.secrets);
            Work::Grpc(spec)
        }
        Action::Service(spec) => Work::Service(typed(&rendered(&json!(spec))?)?),
        Action::Wait(spec) => {
            let mut spec: Wait = typed(&rendered(&json!(spec))?)?;
            if let (Some(topic), Some(interval)) = (&mut spec.topic, run.values.interval) {
                topic.until.get_or_insert_with(|| interval.end.to_string());
            }
            Work::Wait(Want::of(spec).ok_or("says nothing to wait for")?)
        }
        Action::Job(spec) => Work::Job(Box::new(job(run, planned, typed(&rendered(&json!(spec))?)?, shards))),
    }))
}

/// What a launch is to do, and as which attempt; none where nothing is to be carried out.
pub async fn wanted(store: &Store, launch: &Launch, run: &RunInfo) -> Result<Option<(Attempt, Work)>, Error> {
    let given = Given::read(store, run, &run.plan.tasks[launch.key.task as usize]).await?;
    match prepare(launch, run, given) {
        Prepared::Work(work) => Ok(Some((attempt(launch, run), work))),
        Prepared::Done(_) => Ok(None),
    }
}

/// A Job with what the binding and the rest of the task say of it.
fn job(run: &RunInfo, planned: &Planned, mut spec: Job, shards: Option<Vec<Value>>) -> Wanted {
    bind(run, &mut spec.secrets);
    if let Some(image) = run.binding.as_ref().and_then(|binding| binding.spec.images.get(&spec.image)) {
        spec.image.clone_from(image);
    }
    let task = &planned.task;
    let shards = shards.map(|values| Items {
        values,
        parallel: task.for_each.as_ref().and_then(|each| each.max_parallel),
        retries: task.retry.as_ref().map_or(0, |retry| retry.max),
    });
    Wanted { spec, limit: task.timeout.execution.map(Duration::from), shards }
}

/// Whether the task's condition holds.
fn holds(run: &RunInfo, planned: &Planned, given: &Given) -> Result<bool, String> {
    let Some(condition) = &planned.condition else { return Ok(true) };
    let tasks: Value = given.outputs.iter().map(|(name, output)| (name.clone(), json!({"output": output}))).collect();
    let render::Run { dag, binding, run_id, kind, logical_date, interval, params } = &run.values;
    let moment = |moment: Option<jiff::Timestamp>| moment.map(|moment| moment.to_string());
    let run = json!({
        "dag": dag, "binding": binding, "id": run_id, "kind": kind, "logical_date": moment(*logical_date),
        "data_interval_start": moment(interval.map(|it| it.start)), "data_interval_end": moment(interval.map(|it| it.end)),
    });
    let events = json!(given.events);
    condition
        .holds(&[("params", params), ("tasks", &tasks), ("run", &run), ("events", &events)])
        .map_err(|error| format!("if: {error}"))
}

fn context(launch: &Launch, run: &RunInfo, planned: &Planned, given: Given) -> Context {
    let each = planned.task.for_each.as_ref().filter(|_| launch.key.item != WHOLE);
    Context {
        run: run.values.clone(),
        attempt: render::Attempt {
            task: run.plan.graph.name(launch.key.task as usize).to_owned(),
            map_index: u32::try_from(launch.key.item).ok(),
            item: each.map(|each| (each.name.clone(), launch.value.clone().unwrap_or_default())),
            number: u32::try_from(launch.attempt).unwrap_or_default(),
            launched: launch.launched_at,
            token: launch.token,
        },
        with: json!(planned.task.with),
        outputs: given.outputs,
        events: given.events,
    }
}

/// The names of secrets that a binding gives in place of those that the document has.
fn bind(run: &RunInfo, secrets: &mut BTreeMap<String, String>) {
    let Some(binding) = &run.binding else { return };
    for name in secrets.values_mut() {
        if let Some(bound) = binding.spec.secrets.get(name) {
            name.clone_from(bound);
        }
    }
}

/// Fields that hold texts, or are one.
const TEXTS: [&str; 14] = [
    "argv",
    "env",
    "dir",
    "method",
    "url",
    "headers",
    "endpoint",
    "metadata",
    "image",
    "command",
    "args",
    "namespace",
    "serviceAccount",
    "secrets",
];

/// A spec. Where a text is wanted and an expression gave something else, its JSON is taken: `["--limit", "{{ params.limit }}"]`.
fn typed<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    let mut value = value.clone();
    for field in TEXTS {
        match value.get_mut(field) {
            Some(Value::Array(items)) => items.iter_mut().for_each(make_text),
            Some(Value::Object(fields)) => fields.values_mut().for_each(make_text),
            Some(other) => make_text(other),
            None => {}
        }
    }
    if let Some(Value::Object(kinds)) = value.get_mut("resources") {
        kinds.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut).for_each(make_text);
    }
    serde_json::from_value(value).map_err(|error| format!("rendered, it does not fit: {error}"))
}

fn make_text(value: &mut Value) {
    if !matches!(value, Value::String(_) | Value::Null) {
        *value = Value::String(value.to_string());
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
