use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use minijinja::{Error, ErrorKind, Value, value::Serde};
use serde_json::Value as Json;
use uuid::Uuid;

use super::moment::{FORMATS, Moment, read};

/// What the templates of one attempt are rendered with.
#[derive(Clone, Debug)]
pub struct Context {
    /// The run.
    pub run: Run,
    /// The attempt.
    pub attempt: Attempt,
    /// The values of the parameters of the task's template.
    pub with: Json,
    /// Outputs of the tasks that come before; of a mapped task a list, in the order of its items.
    pub outputs: BTreeMap<String, Json>,
    /// The events that made the run, where anything asks for them.
    pub events: Option<Vec<Json>>,
}

/// A run, in templates.
#[derive(Clone, Debug)]
pub struct Run {
    /// The DAG's name.
    pub dag: String,
    /// The binding's name.
    pub binding: Option<String>,
    /// The run's id.
    pub run_id: String,
    /// `scheduled`, `manual`, `backfill` or `event`.
    pub kind: &'static str,
    /// The moment that the run is about: of a scheduled run, the beginning of its interval.
    pub logical_date: Option<Timestamp>,
    /// The data that it is about.
    pub interval: Option<Interval>,
    /// Every parameter.
    pub params: Json,
}

/// The data that a run is about: from `start` to `end`, without `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// From here on.
    pub start: Timestamp,
    /// Up to here.
    pub end: Timestamp,
}

/// An attempt, in templates.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The task's name.
    pub task: String,
    /// The number of its item, from 0; none of a task that is not mapped.
    pub map_index: Option<u32>,
    /// What the item is called, and the item.
    pub item: Option<(String, Json)>,
    /// From 1.
    pub number: u32,
    /// When it was launched: what `now()` gives, however often it is rendered.
    pub launched: Timestamp,
    /// Where chance comes from: the attempt's fencing token, which no other attempt has.
    pub token: i64,
}

/// Longer than any two moments are apart.
const MAX_HOURS: i64 = 24 * 366 * 20_000;
/// The namespace of UUIDs that templates make.
const NAMESPACE: Uuid = Uuid::from_u128(0x6d69_6c6c_7261_6365_7363_6865_6475_6c65);

/// The text that is being rendered, by its pointer, and how often it has asked for chance.
pub(super) type Place = Arc<Mutex<(String, u64)>>;

impl Context {
    pub(super) fn values(&self, place: &Place) -> Value {
        let Self { run, attempt, with, outputs, events } = self;
        let mut values: BTreeMap<&str, Value> = BTreeMap::new();
        let output = |output: &Json| Value::from_pairs([("output", Value::from(Serde(output)))]);
        values.insert("params", Value::from(Serde(&run.params)));
        values.insert("with", Value::from(Serde(with)));
        values.insert("tasks", Value::from_pairs(outputs.iter().map(|(task, it)| (task.as_str(), output(it)))));
        if let Some(events) = events {
            values.insert("events", super::occasion::events(events));
        }
        values.insert("run_id", run.run_id.as_str().into());
        values.insert("binding", run.binding.as_deref().map_or(Value::from(()), Value::from));
        values.insert("dag_run", run.values());
        let instance = attempt.values(&run.run_id);
        values.insert("ti", instance.clone());
        values.insert("task_instance", instance);
        values.insert("try_number", attempt.number.into());
        values.insert("map_index", attempt.map_index());
        values.insert("test_mode", false.into());
        let key =
            format!("{}__{}__{}", run.dag, attempt.task, run.logical_date.map_or_else(|| run.run_id.clone(), nodash));
        values.insert("task_instance_key_str", key.into());
        values.extend(run.dates());
        let launched = attempt.launched;
        values.insert("now", Value::from_function(move || Value::from_object(Moment::new(launched))));
        values.insert("macros", attempt.macros(place));
        if let Some((name, item)) = &attempt.item {
            values.insert(name, Value::from(Serde(item)));
        }
        Value::from_pairs(values)
    }
}

fn nodash(timestamp: Timestamp) -> String {
    timestamp.strftime("%Y%m%d").to_string()
}

impl Run {
    fn values(&self) -> Value {
        let date = |date: Option<Timestamp>| date.map_or(Value::from(()), |date| Value::from_object(Moment::new(date)));
        Value::from_pairs([
            ("dag_id", Value::from(self.dag.as_str())),
            ("run_id", self.run_id.as_str().into()),
            ("run_type", self.kind.into()),
            ("conf", Value::from(Serde(&self.params))),
            ("logical_date", date(self.logical_date)),
            ("data_interval_start", date(self.interval.map(|interval| interval.start))),
            ("data_interval_end", date(self.interval.map(|interval| interval.end))),
        ])
    }

    /// What is there only where the run has a logical date.
    fn dates(&self) -> BTreeMap<&'static str, Value> {
        let mut dates = BTreeMap::new();
        let Some(date) = self.logical_date else { return dates };
        let moment = Moment::new(date);
        for (name, format) in FORMATS {
            // These forms are there for every moment.
            dates.insert(name, moment.strftime(format).unwrap_or_default().into());
        }
        dates.insert("logical_date", Value::from_object(moment.clone()));
        dates.insert("execution_date", Value::from_object(moment));
        let Interval { start, end } = self.interval.unwrap_or(Interval { start: date, end: date });
        dates.insert("data_interval_start", Value::from_object(Moment::new(start)));
        dates.insert("data_interval_end", Value::from_object(Moment::new(end)));
        dates
    }
}

impl Attempt {
    fn map_index(&self) -> Value {
        self.map_index.map_or(Value::from(-1), Value::from)
    }

    fn values(&self, run_id: &str) -> Value {
        Value::from_pairs([
            ("task_id", Value::from(self.task.as_str())),
            ("run_id", run_id.into()),
            ("try_number", self.number.into()),
            ("map_index", self.map_index()),
        ])
    }

    fn macros(&self, place: &Place) -> Value {
        let (token, place) = (self.token, Arc::clone(place));
        // By the place of the text: whatever else is rendered, and in whatever order, changes nothing.
        let next = move || {
            let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
            place.1 += 1;
            Uuid::new_v5(&NAMESPACE, format!("{token}{}/{}", place.0, place.1).as_bytes())
        };
        let next = Arc::new(next);
        let chance = Arc::clone(&next);
        Value::from_pairs([
            ("uuid", Value::from_function(move || next().to_string())),
            ("random", Value::from_function(move || (chance().as_u128() >> 75) as f64 / (1_u64 << 53) as f64)),
            ("ds_add", Value::from_function(ds_add)),
            ("ds_format", Value::from_function(ds_format)),
            ("datetime", Value::from_function(|text: &Value| read(text).map(Value::from_object))),
        ])
    }
}

/// A date, days later: `macros.ds_add("2026-01-31", 1)`.
fn ds_add(value: &Value, days: i64) -> Result<String, Error> {
    read(value)?
        .plus(SignedDuration::from_hours(days.saturating_mul(24).clamp(-MAX_HOURS, MAX_HOURS)))?
        .strftime("%Y-%m-%d")
}

/// A date in another form: `macros.ds_format("2026-01-31", "%Y-%m-%d", "%d.%m.")`.
fn ds_format(value: &str, input: &str, output: &str) -> Result<String, Error> {
    let bad = |error: jiff::Error| Error::new(ErrorKind::InvalidOperation, error.to_string());
    let parsed = jiff::fmt::strtime::parse(input, value).map_err(bad)?;
    let date = parsed.to_datetime().or_else(|_| parsed.to_date().map(|date| date.at(0, 0, 0, 0))).map_err(bad)?;
    jiff::fmt::strtime::format(output, date).map_err(bad)
}
