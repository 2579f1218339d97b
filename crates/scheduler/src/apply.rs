//! Documents on their way into force: checked together, compared with what is there, written all at once or not at all.
//!
//! ```text
//! texts --parse--> Given --decide, with what is Known--> Decision { changes, what to write }   or every fault
//! ```
//!
//! A template that changes makes new plans of the DAGs that use it; a DAG that changes makes new plans for its bindings.
//! Runs that are there keep the plan that they are pinned to.

mod diff;
mod methods;

pub use diff::differences;
pub use methods::unknown_methods;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use millrace_core::{Fault, Faults, Source};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    Error,
    document::{Binding, Dag, Document, TaskTemplate},
    plan::{Hash, Plan, Templates},
    store::{Bound, Known, Planned, Store, Writes},
};

/// A document that was given, read.
#[derive(Debug)]
pub struct Given {
    source: Source,
    document: Document,
}

/// What becomes of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// `Dag`, `Binding`, `TaskTemplate`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// What is done.
    pub action: Action,
    /// What changes, in words.
    pub details: Vec<String>,
    /// Of what is in force afterwards: of a DAG, its plan.
    pub hash: Hash,
}

/// What is done with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is new.
    Create,
    /// It is there, and otherwise.
    Update,
    /// It is there.
    Unchanged,
}

/// What applying documents comes to.
#[derive(Debug, Default)]
pub struct Decision {
    /// In the order: templates, DAGs, bindings.
    pub changes: Vec<Change>,
    /// What is to be written.
    pub writes: Writes,
}

/// Reads documents, each of a name and a text. All faults at once.
pub fn parse<'a>(documents: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Vec<Given>, Faults> {
    let (mut given, mut faults) = (Vec::<Given>::new(), Vec::new());
    let mut seen = BTreeMap::new();
    for (name, text) in documents {
        let read = Source::parse(name, text).and_then(|source| {
            let document = Document::load(&source)?;
            Ok(Given { source, document })
        });
        match read {
            Ok(it) => {
                let key = (it.document.kind(), it.document.name().to_owned());
                if let Some(first) = seen.insert(key, it.source.file().to_owned()) {
                    let message = format!("there is another {} of this name in {first}", it.document.kind());
                    faults.push(it.source.fault("/metadata/name", message));
                }
                given.push(it);
            }
            Err(Faults(found)) => faults.extend(found),
        }
    }
    Faults(faults).into_result().map(|()| given)
}

/// The DAGs and bindings that `decide` needs to know of, and whether it needs every DAG that uses a template.
fn concerns(given: &[Given]) -> (Vec<String>, Vec<String>, bool) {
    let (mut dags, mut bindings, mut templates) = (BTreeSet::new(), BTreeSet::new(), false);
    for Given { document, .. } in given {
        match document {
            Document::Dag(dag) => {
                dags.insert(dag.metadata.name.clone());
            }
            Document::Binding(binding) => {
                dags.insert(binding.spec.dag.clone());
                bindings.insert(binding.metadata.name.clone());
            }
            Document::TaskTemplate(_) => templates = true,
        }
    }
    (dags.into_iter().collect(), bindings.into_iter().collect(), templates)
}

/// Checks documents against each other and against what is in force in a store.
pub async fn checked(given: &[Given], store: &Store, now: Timestamp) -> Result<Result<Decision, Faults>, Error> {
    let (dags, bindings, all_users) = concerns(given);
    let known = store.known(&dags, &bindings, all_users).await?;
    Ok(decide(given, &known, now))
}

/// Checks documents against each other and against what is in force, and says what changes.
pub fn decide(given: &[Given], known: &Known, now: Timestamp) -> Result<Decision, Faults> {
    let mut deciding =
        Deciding { known, now, templates: Templates::default(), faults: Vec::new(), decision: Decision::default() };
    deciding.templates(given);
    let plans = deciding.dags(given);
    deciding.bindings(given, plans);
    let Deciding { mut faults, decision, .. } = deciding;
    faults.sort();
    faults.dedup();
    Faults(faults).into_result().map(|()| decision)
}

struct Deciding<'a> {
    known: &'a Known,
    now: Timestamp,
    templates: Templates,
    faults: Vec<Fault>,
    decision: Decision,
}

/// A DAG with its plan, and what it is now.
struct New {
    source: Source,
    plan: Arc<Plan>,
    before: Option<Value>,
    /// Whether its own document was given.
    given: bool,
}

impl Deciding<'_> {
    fn templates(&mut self, given: &[Given]) {
        let known = self.known.templates.values().filter_map(|body| serde_json::from_value(body.clone()).ok());
        let own = given.iter().filter_map(|it| match &it.document {
            Document::TaskTemplate(template) => Some((**template).clone()),
            _ => None,
        });
        // Later ones take the place of earlier ones.
        self.templates = Templates::new(known.chain(own).collect::<Vec<TaskTemplate>>());
        for Given { source, document } in given {
            let Document::TaskTemplate(template) = document else { continue };
            self.faults.extend(self.templates.check(template, source));
            let body = ordered_value(&**template);
            let hash = hash_of(&body);
            self.change(
                "TaskTemplate",
                &template.metadata.name,
                self.known.templates.get(&template.metadata.name),
                body,
                hash,
            );
        }
    }

    /// The plans of the DAGs that were given, of those that use a template that was, and of those whose binding was.
    fn dags(&mut self, given: &[Given]) -> BTreeMap<String, New> {
        let mut plans = BTreeMap::new();
        for (name, body) in &self.known.dags {
            // What was in order once is planned again as it stands: a fault comes of a template that was given.
            let Ok(source) = Source::parse(&format!("Dag {name}, in force"), &body.to_string()) else { continue };
            let Ok(dag) = serde_json::from_value::<Dag>(body.clone()) else { continue };
            self.plan(&mut plans, dag, source, Some(body.clone()), false);
        }
        for Given { source, document } in given {
            let Document::Dag(dag) = document else { continue };
            let before = self.known.dags.get(&dag.metadata.name).cloned();
            plans.remove(&dag.metadata.name);
            self.plan(&mut plans, (**dag).clone(), source.clone(), before, true);
        }
        plans
    }

    fn plan(
        &mut self,
        plans: &mut BTreeMap<String, New>,
        dag: Dag,
        source: Source,
        before: Option<Value>,
        given: bool,
    ) {
        let name = dag.metadata.name.clone();
        // Those that it names itself, for the case that there is no plan.
        let own = pools(&dag);
        match Plan::new(dag, &source, &self.templates, self.now) {
            Ok(plan) => {
                self.pools(&pools(&plan.dag), &source);
                self.faults.extend(not_yet(&plan.dag, &source));
                plans.insert(name, New { source, plan: Arc::new(plan), before, given });
            }
            Err(Faults(faults)) => {
                self.pools(&own, &source);
                self.faults.extend(faults);
            }
        }
    }

    /// Every pool that a DAG names is there, unless its bindings give it another name.
    fn pools(&mut self, pools: &[(String, String)], source: &Source) {
        for (task, pool) in pools {
            let bound = |body: &Value| body.pointer("/spec/pools").is_some_and(|pools| pools.get(pool).is_some());
            if !self.known.pools.contains(pool) && !self.known.bindings.values().any(bound) {
                self.faults.push(source.fault(&format!("/spec/tasks/{task}/pool/name"), no_pool(pool)));
            }
        }
    }

    fn bindings(&mut self, given: &[Given], plans: BTreeMap<String, New>) {
        let mut bound: BTreeMap<String, BTreeMap<String, (Source, Binding)>> = BTreeMap::new();
        for (name, body) in &self.known.bindings {
            let Ok(source) = Source::parse(&format!("Binding {name}, in force"), &body.to_string()) else { continue };
            let Ok(binding) = serde_json::from_value::<Binding>(body.clone()) else { continue };
            bound.entry(binding.spec.dag.clone()).or_default().insert(name.clone(), (source, binding));
        }
        let mut own = BTreeSet::new();
        for Given { source, document } in given {
            let Document::Binding(binding) = document else { continue };
            let (name, dag) = (&binding.metadata.name, &binding.spec.dag);
            own.insert(name.clone());
            for others in bound.values_mut() {
                others.remove(name);
            }
            if plans.contains_key(dag) {
                bound.entry(dag.clone()).or_default().insert(name.clone(), (source.clone(), (**binding).clone()));
            } else {
                self.faults.push(source.fault("/spec/dag", format!("there is no DAG {dag:?} that is in order")));
            }
        }
        let mut changes = Vec::new();
        for (name, new) in plans {
            let bindings = bound.remove(&name).unwrap_or_default();
            let bindings =
                bindings.into_values().map(|(source, binding)| self.bind(&new, &source, binding, &own, &mut changes));
            let bindings: Vec<Bound> = bindings.collect();
            self.dag(&name, new, bindings);
        }
        for (binding, hash) in changes {
            let body = ordered_value(&binding);
            self.change("Binding", &binding.metadata.name, self.known.bindings.get(&binding.metadata.name), body, hash);
        }
    }

    /// Checks a binding against the plan of its DAG.
    fn bind(
        &mut self,
        new: &New,
        source: &Source,
        binding: Binding,
        own: &BTreeSet<String>,
        changes: &mut Vec<(Binding, Hash)>,
    ) -> Bound {
        if let Err(problems) = new.plan.params.resolve([&binding.spec.params]) {
            let fault = |(name, problem): (String, String)| {
                source.fault(&format!("/spec/params/{name}"), format!("parameter {name:?} {problem}"))
            };
            self.faults.extend(problems.into_iter().map(fault));
        }
        for (name, pool) in &binding.spec.pools {
            if !self.known.pools.contains(pool) {
                self.faults.push(source.fault(&format!("/spec/pools/{name}"), no_pool(pool)));
            }
        }
        let text = ordered_value(&binding).to_string();
        let hash = Hash(Sha256::digest(&text).into());
        if own.contains(&binding.metadata.name) {
            changes.push((binding.clone(), hash));
        }
        Bound { binding, text, hash }
    }

    fn dag(&mut self, name: &str, new: New, bindings: Vec<Bound>) {
        let New { source, plan, before, given } = new;
        let schedule = |body: &Value| body.pointer("/spec/schedule").cloned();
        let body = ordered_value(&plan.dag);
        let same_schedule = before.as_ref().and_then(schedule) == schedule(&body);
        if bindings.is_empty()
            && plan.timetable.is_some()
            && let Err(problems) = plan.params.resolve([])
        {
            let fault = |(name, problem): (String, String)| {
                let message = format!("{problem}, and no binding gives it: the schedule could not start a run");
                source.fault(&format!("/spec/params/{name}"), message)
            };
            self.faults.extend(problems.into_iter().map(fault));
        }
        if given {
            // What is kept is what its author wrote: its templates are put in anew when they change.
            let written = ordered(source.value());
            let hash = plan.hash;
            self.change("Dag", name, before.as_ref(), written, hash);
        }
        self.decision.writes.plans.push(Planned { plan, bindings, same_schedule });
    }

    fn change(&mut self, kind: &'static str, name: &str, before: Option<&Value>, body: Value, hash: Hash) {
        let details = before.map(|before| differences(before, &body)).unwrap_or_default();
        let action = match before {
            None => Action::Create,
            Some(_) if details.is_empty() => Action::Unchanged,
            Some(_) => Action::Update,
        };
        self.decision.changes.push(Change { kind, name: name.to_owned(), action, details, hash });
        self.decision.writes.documents.push((kind, name.to_owned(), body));
    }
}

/// What documents can say and this version cannot do: better refused than left out.
fn not_yet(dag: &Dag, source: &Source) -> Vec<Fault> {
    let mut faults = Vec::new();
    if !dag.spec.deadlines.is_empty() {
        faults.push(source.fault("/spec/deadlines", "this version does not watch deadlines"));
    }
    for (name, task) in &dag.spec.tasks {
        let place = format!("/spec/tasks/{name}");
        if task.job.is_some() {
            faults.push(source.fault(&format!("{place}/job"), "this version does not run Kubernetes Jobs"));
        }
        if task.wait.as_ref().is_some_and(|wait| wait.run.is_none()) {
            faults.push(source.fault(&format!("{place}/wait"), "this version waits for runs only"));
        }
    }
    faults
}

/// The pools that tasks of a DAG name, with those tasks.
fn pools(dag: &Dag) -> Vec<(String, String)> {
    let pool = |(task, spec): (&String, &crate::document::Task)| Some((task.clone(), spec.pool.as_ref()?.name.clone()));
    dag.spec.tasks.iter().filter_map(pool).collect()
}

fn no_pool(name: &str) -> String {
    format!("there is no pool {name:?}: make it with `millrace dag pool {name} --slots N`")
}

fn ordered_value(document: &impl serde::Serialize) -> Value {
    // A document was read from JSON, and is written as such.
    ordered(&serde_json::to_value(document).unwrap_or_default())
}

fn ordered(value: &Value) -> Value {
    crate::plan::ordered(value)
}

fn hash_of(body: &Value) -> Hash {
    Hash(Sha256::digest(body.to_string()).into())
}

#[cfg(test)]
mod tests;
