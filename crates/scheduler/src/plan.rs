//! A DAG that can run: its templates put in, its graph in order, its conditions read, all of it checked.
//!
//! A plan is what a run is pinned to: it is found again by its hash, whatever becomes of the documents that it was made of.

mod check;
mod params;
mod templates;

pub use params::Params;
pub use templates::Templates;

use std::{collections::BTreeSet, fmt};

use jiff::Timestamp;
use millrace_core::{Fault, Faults, Source};
use millrace_policy::Condition;
use sha2::{Digest as _, Sha256};

use crate::{
    document::{Dag, Rule, Task},
    graph::Graph,
    schedule::Timetable,
};

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
    /// What belongs to each task, by its number in the graph.
    pub tasks: Vec<Planned>,
    /// Of everything above that the document says.
    pub hash: Hash,
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
}

/// What a plan is known by: the SHA-256 of its document.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl Plan {
    /// Checks a document with the templates that it may use; all faults at once. `now` is for saying that a schedule is
    /// never due.
    pub fn new(mut dag: Dag, source: &Source, templates: &Templates, now: Timestamp) -> Result<Self, Faults> {
        let mut faults = Vec::new();
        let broken = templates.expand(&mut dag, source, &mut faults);
        Self::whole(dag, source, now, &broken, faults)
    }

    /// Reads the document of a plan again: its templates are in it.
    pub fn stored(document: serde_json::Value) -> Result<Self, Faults> {
        let nowhere = Source::parse("stored document", "{}")?;
        let dag = serde_json::from_value(document).map_err(|error| nowhere.fault("", error.to_string()))?;
        // What was in order once is: a schedule may have passed since.
        Self::whole(dag, &nowhere, Timestamp::UNIX_EPOCH, &BTreeSet::new(), Vec::new())
    }

    fn whole(
        dag: Dag,
        source: &Source,
        now: Timestamp,
        broken: &BTreeSet<String>,
        mut faults: Vec<Fault>,
    ) -> Result<Self, Faults> {
        let graph = check::graph(&dag, source, &mut faults);
        let params = Params::new(&dag.spec.params, "/spec/params", source, &mut faults);
        let timetable = check::schedule(&dag, source, now, &mut faults);
        check::deadlines(&dag, source, &mut faults);
        let tasks = check::tasks(&dag, broken, graph.as_ref(), source, &mut faults);
        if let (Some(graph), Some(tasks), true) = (graph, tasks, faults.is_empty()) {
            let hash = Hash::of(&dag);
            return Ok(Self { dag, graph, params, timetable, tasks, hash });
        }
        faults.sort();
        faults.dedup();
        Err(Faults(faults))
    }

    /// How many tasks one waits for, by its number.
    pub fn waits_for(&self, task: usize) -> usize {
        match self.tasks[task].task.when {
            Rule::Always => 0,
            _ => self.graph.needs(task).len(),
        }
    }

    /// Reads and checks a text.
    pub fn parse(source: &Source, templates: &Templates, now: Timestamp) -> Result<Self, Faults> {
        Self::new(millrace_core::document::load(source)?, source, templates, now)
    }
}

impl Hash {
    /// Of a document: maps are in the order of their keys, so that the same document has the same text.
    fn of(dag: &Dag) -> Self {
        // Fails only for keys that are no text, of which a document has none.
        let text = serde_json::to_vec(&canonical(&serde_json::to_value(dag).unwrap_or_default())).unwrap_or_default();
        Self(Sha256::digest(text).into())
    }
}

/// A value with the keys of its maps in order.
fn canonical(value: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Array(items) => Value::Array(items.iter().map(canonical).collect()),
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().map(|(name, field)| (name.clone(), canonical(field))).collect();
            fields.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(fields.into_iter().collect())
        }
        other => other.clone(),
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
