//! A DAG that can run: its templates put in, its graph in order, its conditions read, all of it checked.
//!
//! A plan is what a run is pinned to: it is found again by its hash, whatever becomes of the documents that it was made of.

mod check;
mod params;
mod templates;
mod triggers;

pub use params::Params;
pub use templates::Templates;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::Timestamp;
use millrace_core::{Fault, Faults, Source};
use millrace_policy::Condition;
use sha2::{Digest as _, Sha256};

use crate::{
    document::{Binding, Dag, Deadline, Rule, Task},
    events::Listener,
    graph::Graph,
    schedule::Timetable,
};

/// The most tasks of a DAG.
pub const MAX_TASKS: usize = 10_000;
/// The most deadlines of a DAG.
pub const MAX_DEADLINES: usize = 100;
/// The most items that a task is mapped over.
pub const MAX_ITEMS: usize = 100_000;

/// A DAG that can run.
#[derive(Debug)]
pub struct Plan {
    /// The document, with templates in it.
    pub dag: Dag,
    /// The tasks' order.
    pub graph: Graph,
    /// What a run can be given.
    pub params: Params,
    /// When it is due, where it has a schedule.
    pub timetable: Option<Timetable>,
    /// What events make of it, by the triggers' names.
    pub listeners: BTreeMap<String, Listener>,
    /// What belongs to each task, by its number in the graph.
    pub tasks: Vec<Planned>,
    /// Of the text.
    pub hash: Hash,
    /// The canonical text of the document.
    pub text: String,
}

/// One task of a plan.
#[derive(Debug)]
pub struct Planned {
    /// As the document has it, with its template in it.
    pub task: Task,
    /// Whether it runs.
    pub condition: Option<Condition>,
    /// Whether it is not tried again.
    pub unless: Option<Condition>,
    /// The tasks whose outputs it may ask for, by their numbers.
    pub reads: Vec<usize>,
    /// Whether a deadline counts from its beginning.
    pub is_timed: bool,
    /// Whether it may ask for the events that made the run.
    pub reads_events: bool,
}

/// What a plan is known by: the SHA-256 of its text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl Plan {
    /// Checks a document with the templates that it may use; all faults at once. `now` is for saying that a schedule is
    /// never due.
    pub fn new(mut dag: Dag, source: &Source, templates: &Templates, now: Timestamp) -> Result<Self, Faults> {
        let mut faults = Vec::new();
        let broken = templates.expand(&mut dag, source, &mut faults);
        // The plan is that of its text, here and wherever it is read again.
        let (dag, text) = canonical(&dag).map_err(|error| source.fault("", error.to_string()))?;
        let plan = Self::build(dag, text, source, now, &broken, &mut faults);
        match plan {
            Some(plan) if faults.is_empty() => Ok(plan),
            _ => {
                faults.sort();
                faults.dedup();
                Err(Faults(faults))
            }
        }
    }

    /// Reads the text of a plan again. What was in order once is: a later version may be stricter, and a schedule may have
    /// passed.
    pub fn stored(text: String) -> Result<Self, Faults> {
        let nowhere = Source::parse("stored document", "{}")?;
        let dag = serde_json::from_str(&text).map_err(|error| nowhere.fault("", error.to_string()))?;
        let mut faults = Vec::new();
        let plan = Self::build(dag, text, &nowhere, Timestamp::UNIX_EPOCH, &BTreeSet::new(), &mut faults);
        plan.ok_or(Faults(faults))
    }

    /// None where there is no order of the tasks.
    fn build(
        dag: Dag,
        text: String,
        source: &Source,
        now: Timestamp,
        broken: &BTreeSet<String>,
        faults: &mut Vec<Fault>,
    ) -> Option<Self> {
        let graph = check::graph(&dag, source, faults);
        let params = Params::new(&dag.spec.params, "/spec/params", source, faults);
        let timetable = check::schedule(&dag, source, now, faults);
        let listeners = triggers::listeners(&dag, &params, source, faults);
        check::deadlines(&dag, source, faults);
        let tasks = check::tasks(&dag, broken, graph.as_ref(), source, faults);
        let hash = Hash::of(&text);
        Some(Self { dag, graph: graph?, params, timetable, listeners, tasks, hash, text })
    }

    /// Its deadlines, each with its place.
    pub fn deadlines(&self) -> impl Iterator<Item = (i16, &Deadline)> {
        (0..).zip(&self.dag.spec.deadlines)
    }

    /// The tasks that one waits for, by their numbers.
    pub fn waits_for(&self, task: usize) -> &[usize] {
        match self.tasks[task].task.when {
            Rule::Always => &[],
            _ => self.graph.needs(task),
        }
    }

    /// The pool that limits the tasks of a DAG; no document can name it.
    pub fn pool_of(dag: &str) -> String {
        format!("dag:{dag}")
    }

    /// What a task holds while it is active: a pool and how many of its slots.
    pub fn pool(&self, task: usize, binding: Option<&Binding>) -> Option<(String, u32)> {
        match &self.tasks[task].task.pool {
            Some(pool) => {
                let bound = binding.and_then(|binding| binding.spec.pools.get(&pool.name));
                Some((bound.unwrap_or(&pool.name).clone(), pool.slots))
            }
            None => self.dag.spec.concurrency.tasks.map(|_| (Self::pool_of(&self.dag.metadata.name), 1)),
        }
    }

    /// Reads and checks a text.
    pub fn parse(source: &Source, templates: &Templates, now: Timestamp) -> Result<Self, Faults> {
        Self::new(millrace_core::document::load(source)?, source, templates, now)
    }
}

/// A document as its text has it, and that text: maps are in the order of their keys, so that the same document has the
/// same text.
fn canonical(dag: &Dag) -> serde_json::Result<(Dag, String)> {
    let text = serde_json::to_string(&ordered(&serde_json::to_value(dag)?))?;
    Ok((serde_json::from_str(&text)?, text))
}

/// A value with the keys of its maps in order.
pub(crate) fn ordered(value: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Array(items) => Value::Array(items.iter().map(ordered).collect()),
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().map(|(name, field)| (name.clone(), ordered(field))).collect();
            fields.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(fields.into_iter().collect())
        }
        other => other.clone(),
    }
}

impl Hash {
    /// Of a text.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// Of texts, each with its length: where one ends and the next begins is part of it.
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests;
