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
    document::{Binding, Dag, Document, Task, TaskTemplate},
    exec::NO_KAFKA,
    plan::{Hash, Plan, Templates},
    store::{Bound, Known, Planned, Store, Writes},
};

/// How far a line of a document may be indented.
const MAX_INDENT: usize = 500;

/// What a scheduler has beside its database, and documents may ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Kafka and a registry, for signals of deadlines.
    pub signals: bool,
    /// Kafka, for waits for topics.
    pub topics: bool,
}

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

impl AsRef<Writes> for Decision {
    fn as_ref(&self) -> &Writes {
        &self.writes
    }
}

/// Reads documents, each of a name and a text. All faults at once.
pub fn parse<'a>(documents: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Vec<Given>, Faults> {
    let (mut given, mut faults) = (Vec::<Given>::new(), Vec::new());
    let mut seen = BTreeMap::new();
    for (name, text) in documents {
        if let Some(fault) = unreadable(name, text) {
            faults.push(fault);
            continue;
        }
        let read = Source::parse(name, text).and_then(|source| {
            if source.value().to_string().contains("\\u0000") {
                return Err(source.fault("", "holds a character zero, which cannot be kept").into());
            }
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

/// Readers of YAML go into what is nested by recursion. Each level takes at least a column, or an indicator on one line
/// (those in brackets have a bound of their own), so that the deepest line says how deep it may be.
pub(crate) fn unreadable(name: &str, text: &str) -> Option<Fault> {
    let depth = |line: &str| line.chars().take_while(|it| " \t-?:".contains(*it)).count();
    let line = text.lines().position(|line| depth(line) > MAX_INDENT)?;
    let message = format!("begins more than {MAX_INDENT} columns within the line: nested too deep");
    Some(Fault { file: name.to_owned(), path: "$".to_owned(), line: line + 1, column: 1, message })
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

/// Puts documents in force: all of them or, where anything is wrong, none. `dry_run`: only says what would change.
pub async fn apply(
    given: &[Given],
    store: &Store,
    abilities: Abilities,
    dry_run: bool,
) -> Result<Result<Vec<Change>, Faults>, Error> {
    let decide = |known: &Known| decide(given, known, abilities, Timestamp::now());
    let decided = store.apply(&concerns(given), dry_run, decide).await?;
    Ok(decided.map(|decision| decision.changes))
}

/// Checks documents against each other and against what is in force, and says what changes.
pub fn decide(given: &[Given], known: &Known, abilities: Abilities, now: Timestamp) -> Result<Decision, Faults> {
    let bound = given.iter().filter_map(|it| match &it.document {
        Document::Binding(binding) => Some((**binding).clone()),
        _ => None,
    });
    let mut deciding = Deciding {
        known,
        abilities,
        bound: bound.collect(),
        now,
        templates: Templates::default(),
        faults: Vec::new(),
        decision: Decision::default(),
    };
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
    abilities: Abilities,
    /// The bindings that were given.
    bound: Vec<Binding>,
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
                self.pools(&name, &pools(&plan.dag), &source);
                self.faults.extend(self.abilities.lacking(&plan.dag, &source));
                plans.insert(name, New { source, plan: Arc::new(plan), before, given });
            }
            Err(Faults(faults)) => {
                self.pools(&name, &own, &source);
                self.faults.extend(faults);
            }
        }
    }

    /// Every pool that a DAG names is there and large enough, unless all of its bindings give it another name.
    fn pools(&mut self, dag: &str, pools: &[(String, String, u32)], source: &Source) {
        let known =
            self.known.bindings.values().filter_map(|body| serde_json::from_value::<Binding>(body.clone()).ok());
        let given = |name: &str| self.bound.iter().any(|it| it.metadata.name == name);
        let known = known.filter(|it| !given(&it.metadata.name));
        let bindings: Vec<Binding> = known.chain(self.bound.iter().cloned()).filter(|it| it.spec.dag == dag).collect();
        for (task, pool, slots) in pools {
            let names: BTreeSet<&String> = match bindings.as_slice() {
                [] => [pool].into(),
                bindings => bindings.iter().map(|it| it.spec.pools.get(pool).unwrap_or(pool)).collect(),
            };
            let wrong = names.into_iter().filter_map(|name| self.pool(name, *slots)).collect::<Vec<_>>();
            let fault = |(field, message)| source.fault(&format!("/spec/tasks/{task}/pool/{field}"), message);
            self.faults.extend(wrong.into_iter().map(fault));
        }
    }

    /// What is wrong with so many slots of a pool, and with which field.
    fn pool(&self, name: &str, slots: u32) -> Option<(&'static str, String)> {
        match self.known.pools.get(name) {
            None => Some(("name", no_pool(name))),
            // Those that limit whole DAGs.
            Some(_) if name.contains(':') => Some(("name", format!("{name:?} is no name of a pool"))),
            // One without slots is to get some.
            Some(there) if *there > 0 && i64::from(*there) < i64::from(slots) => {
                Some(("slots", format!("pool {name:?} has {there} slots: a task that needs {slots} never runs")))
            }
            Some(_) => None,
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
            if !self.known.pools.contains_key(pool) {
                self.faults.push(source.fault(&format!("/spec/pools/{name}"), no_pool(pool)));
            }
        }
        for (field, name) in unused(&binding, &new.plan.dag) {
            let message = format!("no task of DAG {:?} uses `{name}`", binding.spec.dag);
            self.faults.push(source.fault(&format!("/spec/{field}/{name}"), message));
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
        // As it was read, not as it was written: what is left out is what it is by default.
        let was = before.as_ref().and_then(|body| serde_json::from_value::<Dag>(body.clone()).ok());
        let same_schedule = was.is_some_and(|was| was.spec.schedule == plan.dag.spec.schedule);
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

impl Abilities {
    /// What a document asks for and a scheduler cannot do: better refused than left out.
    fn lacking(self, dag: &Dag, source: &Source) -> Vec<Fault> {
        let mut faults = Vec::new();
        if !dag.spec.deadlines.is_empty() && !self.signals {
            let message = "this scheduler could tell nobody of a deadline: it needs --kafka-brokers and --registry-url";
            faults.push(source.fault("/spec/deadlines", message));
        }
        for (name, task) in &dag.spec.tasks {
            let place = format!("/spec/tasks/{name}");
            if task.job.is_some() {
                faults.push(source.fault(&format!("{place}/job"), "this version does not run Kubernetes Jobs"));
            }
            if task.wait.as_ref().is_some_and(|wait| wait.topic.is_some()) && !self.topics {
                faults.push(source.fault(&format!("{place}/wait/topic"), NO_KAFKA));
            }
        }
        faults
    }
}

/// Tasks of a DAG that name a pool, the pool, and how many of its slots they need.
fn pools(dag: &Dag) -> Vec<(String, String, u32)> {
    let pool = |(task, spec): (&String, &Task)| {
        let pool = spec.pool.as_ref()?;
        Some((task.clone(), pool.name.clone(), pool.slots))
    };
    dag.spec.tasks.iter().filter_map(pool).collect()
}

/// What a binding gives and no task asks for: a name that was mistyped would do nothing.
fn unused<'a>(binding: &'a Binding, dag: &Dag) -> Vec<(&'static str, &'a str)> {
    let mut used: BTreeSet<(&str, &str)> = BTreeSet::new();
    for task in dag.spec.tasks.values() {
        used.extend(task.pool.as_ref().map(|pool| ("pools", pool.name.as_str())));
        used.extend(task.job.as_ref().map(|job| ("images", job.image.as_str())));
        let secrets = [
            task.process.as_ref().map(|it| &it.secrets),
            task.http.as_ref().map(|it| &it.secrets),
            task.grpc.as_ref().map(|it| &it.secrets),
            task.job.as_ref().map(|it| &it.secrets),
        ];
        used.extend(secrets.into_iter().flatten().flat_map(BTreeMap::values).map(|name| ("secrets", name.as_str())));
    }
    let spec = &binding.spec;
    let given = [("pools", &spec.pools), ("images", &spec.images), ("secrets", &spec.secrets)];
    let names = given.into_iter().flat_map(|(field, names)| names.keys().map(move |name| (field, name.as_str())));
    names.filter(|it| !used.contains(it)).collect()
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
