use std::collections::{BTreeMap, BTreeSet};

use millrace_core::{Fault, Source};
use serde_json::Value;

use super::Params;
use crate::{
    document::{Dag, Task, TaskTemplate},
    render::is_templated,
};

/// How many templates may extend each other.
const MAX_DEPTH: usize = 16;

/// Types of tasks, by name.
#[derive(Debug, Default)]
pub struct Templates(BTreeMap<String, TaskTemplate>);

/// A template with everything that it extends.
struct Whole {
    parameters: BTreeMap<String, Value>,
    task: Value,
}

impl Templates {
    /// Of these.
    pub fn new(templates: impl IntoIterator<Item = TaskTemplate>) -> Self {
        Self(templates.into_iter().map(|template| (template.metadata.name.clone(), template)).collect())
    }

    /// Checks a template that is about to be one of these.
    pub fn check(&self, template: &TaskTemplate, source: &Source) -> Vec<Fault> {
        let mut faults = Vec::new();
        let whole = match self.whole(template) {
            Ok(whole) => whole,
            Err(problem) => return vec![source.fault("/spec/extends", problem)],
        };
        Params::new(&whole.parameters, "/spec/parameters", source, &mut faults);
        match read(&whole.task) {
            Err(problem) => faults.push(source.fault("/spec/task", problem)),
            Ok(task) if task.actions().count() > 1 => {
                let names: Vec<&str> = task.actions().map(|action| action.name()).collect();
                faults.push(source.fault("/spec/task", format!("says to do several things: {}", names.join(", "))));
            }
            Ok(task) if task.template.is_some() => {
                faults.push(source.fault("/spec/task/use", "a template builds on another by `extends`"));
            }
            Ok(_) => {}
        }
        faults
    }

    /// Puts templates in the place of `use` in every task of a DAG, and names those for which that cannot be done.
    pub(super) fn expand(&self, dag: &mut Dag, source: &Source, faults: &mut Vec<Fault>) -> BTreeSet<String> {
        let mut broken = BTreeSet::new();
        for (name, task) in &mut dag.spec.tasks {
            let place = format!("/spec/tasks/{name}");
            let Some(template) = &task.template else {
                if !task.with.is_empty() {
                    faults.push(
                        source
                            .fault(&format!("{place}/with"), "is for the parameters of a template: there is no `use`"),
                    );
                }
                continue;
            };
            let own = &source.value()["spec"]["tasks"][name];
            match self.make(template, own, &task.with) {
                Ok(made) => *task = made,
                Err((field, problem)) => {
                    faults.push(source.fault(&format!("{place}/{field}"), problem));
                    broken.insert(name.clone());
                }
            }
        }
        broken
    }

    /// The task that a template makes, with what the task itself says before it.
    fn make(&self, name: &str, own: &Value, with: &BTreeMap<String, Value>) -> Result<Task, (String, String)> {
        let at_use = |problem: String| ("use".to_owned(), problem);
        let template =
            self.0.get(name).ok_or_else(|| at_use(format!("there is no template `{name}`{}", self.known())))?;
        let whole = self.whole(template).map_err(at_use)?;
        let mut faults = Vec::new();
        let nowhere = Source::parse("template", "{}").map_err(|error| at_use(error.to_string()))?;
        let parameters = Params::new(&whole.parameters, "", &nowhere, &mut faults);
        let known = parameters.names();
        if let Some(name) = with.keys().find(|name| !known.contains(*name)) {
            return Err((format!("with/{name}"), format!("`{name}` {}", parameters.unknown())));
        }
        // What is still a template is looked at when it is rendered.
        let plain = with.iter().filter(|(_, value)| !is_templated(value));
        let plain: BTreeMap<String, Value> = plain.map(|(name, value)| (name.clone(), value.clone())).collect();
        let problems = parameters.resolve([&plain]).err().unwrap_or_default();
        let later = |name: &String| with.get(name).is_some_and(is_templated);
        if let Some((name, problem)) = problems.into_iter().find(|(name, _)| !later(name)) {
            return Err((format!("with/{name}"), format!("`{name}` {problem}")));
        }
        let mut task = whole.task;
        merge(&mut task, own);
        let mut task = read(&task).map_err(|problem| at_use(format!("template `{name}`: {problem}")))?;
        task.with =
            parameters.defaults().iter().chain(with).map(|(name, value)| (name.clone(), value.clone())).collect();
        Ok(task)
    }

    fn whole(&self, template: &TaskTemplate) -> Result<Whole, String> {
        let mut chain = vec![template];
        while let Some(base) = chain[chain.len() - 1].spec.extends.as_ref() {
            let met = chain.iter().map(|it| it.metadata.name.as_str());
            if met.clone().any(|name| name == base) || chain.len() == MAX_DEPTH {
                let path: Vec<&str> = met.chain([base.as_str()]).collect();
                return Err(format!("templates extend each other: {}", path.join(" -> ")));
            }
            let found = self.0.get(base);
            chain.push(found.ok_or_else(|| format!("there is no template `{base}`{}", self.known()))?);
        }
        let mut whole = Whole { parameters: BTreeMap::new(), task: Value::Object(serde_json::Map::new()) };
        for template in chain.into_iter().rev() {
            whole.parameters.extend(template.spec.parameters.clone());
            merge(&mut whole.task, &template.spec.task);
        }
        Ok(whole)
    }

    fn known(&self) -> String {
        match self.0.len() {
            0 => String::new(),
            _ => format!("; there are: {}", self.0.keys().map(String::as_str).collect::<Vec<_>>().join(", ")),
        }
    }
}

/// A task, held against its JSON Schema as one in a DAG is.
fn read(task: &Value) -> Result<Task, String> {
    let source = Source::parse("task", &task.to_string()).map_err(|faults| faults.to_string())?;
    millrace_core::document::load(&source).map_err(|faults| {
        let said: Vec<String> = faults.0.iter().map(|fault| format!("{}: {}", fault.path, fault.message)).collect();
        said.join("; ")
    })
}

/// Puts fields over fields, in depth. Lists are taken whole.
fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                match base.get_mut(name) {
                    Some(there) => merge(there, value),
                    None => {
                        base.insert(name.clone(), value.clone());
                    }
                }
            }
        }
        (base, over) => *base = over.clone(),
    }
}
