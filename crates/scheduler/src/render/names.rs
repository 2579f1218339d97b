use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::{Fault, Text, fault, parse, walk};

/// The names that a task's templates may use.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// The DAG's parameters.
    pub params: BTreeSet<String>,
    /// The tasks whose outputs are there: those that come before.
    pub tasks: BTreeSet<String>,
    /// What an item of `forEach` is called.
    pub item: Option<String>,
    /// The parameters of the task's template.
    pub with: BTreeSet<String>,
    /// Whether events make runs.
    pub events: bool,
    /// Whether runs have a logical date. Those by hand have one too, unless they say otherwise.
    pub logical_date: bool,
}

/// What Airflow has and we do not, with what to use in its place.
const ELSEWHERE: [(&str, &str); 6] = [
    ("var", "use `params`, which a binding sets"),
    ("conn", "name the secret under `secrets` of the task"),
    ("dag", "use `dag_run.dag_id`"),
    ("ti.xcom_pull", "use `tasks.<name>.output`"),
    ("task_instance.xcom_pull", "use `tasks.<name>.output`"),
    ("macros.timedelta", "use `.add(days=1)` of a moment"),
];

/// What is in them is known.
const MEMBERS: [(&str, &[&str]); 4] = [
    ("macros", &["uuid", "random", "ds_add", "ds_format", "datetime"]),
    ("ti", &["task_id", "run_id", "try_number", "map_index"]),
    ("task_instance", &["task_id", "run_id", "try_number", "map_index"]),
    ("dag_run", &["dag_id", "run_id", "run_type", "conf", "logical_date", "data_interval_start", "data_interval_end"]),
];

/// Always there.
const ROOTS: [&str; 18] = [
    "with",
    "params",
    "tasks",
    "run_id",
    "dag_run",
    "binding",
    "ti",
    "task_instance",
    "task_instance_key_str",
    "try_number",
    "map_index",
    "test_mode",
    "macros",
    "now",
    "range",
    "dict",
    "namespace",
    "debug",
];

/// There where a run has a logical date.
const DATES: [&str; 9] = [
    "logical_date",
    "data_interval_start",
    "data_interval_end",
    "ds",
    "ds_nodash",
    "ts",
    "ts_nodash",
    "ts_nodash_with_tz",
    "execution_date",
];

impl Names {
    /// Everything that is wrong with the templates in a value, as far as it can be told before they are rendered: their
    /// syntax, and names that will not be there.
    pub fn check(&self, value: &Json) -> Vec<Fault> {
        scan(value, |name| self.fault(name))
    }

    /// What is wrong with a name such as `params.model`.
    fn fault(&self, name: &str) -> Option<String> {
        let (root, rest) = name.split_once('.').map_or((name, ""), |(root, rest)| (root, rest));
        let member = rest.split('.').next().filter(|member| !member.is_empty());
        if self.item.as_deref() == Some(root) {
            return None;
        }
        match (root, member) {
            ("params", Some(member)) if !self.params.contains(member) => {
                Some(format!("`{root}.{member}` is not a parameter of this DAG{}", list("it has", &self.params)))
            }
            ("with", Some(member)) if !self.with.contains(member) => Some(format!(
                "`{root}.{member}` is not a parameter of this task's template{}",
                list("it has", &self.with)
            )),
            ("tasks", Some(member)) if !self.tasks.contains(member) => {
                let known = list("those before it are", &self.tasks);
                Some(format!("`{root}.{member}` is not a task that comes before this one{known}"))
            }
            ("tasks", Some(task)) => match rest.split('.').nth(1) {
                None | Some("output") => None,
                Some(other) => Some(format!("`tasks.{task}.{other}` is not there: a task has `output`")),
            },
            (_, Some(member)) if MEMBERS.iter().any(|(name, known)| *name == root && !known.contains(&member)) => {
                Some(missing(&format!("{root}.{member}")))
            }
            ("events", _) if self.events => None,
            ("events", _) => Some("`events` is not there: this DAG has no triggers".to_owned()),
            _ if ROOTS.contains(&root) => None,
            _ if DATES.contains(&root) && self.logical_date => None,
            _ if DATES.contains(&root) => Some(format!("`{root}` is not there: runs of this DAG have no logical date")),
            _ => Some(missing(root)),
        }
    }
}

/// What is wrong with the syntax of the templates in a value, and with the names that they use.
pub(super) fn scan(value: &Json, of_a_name: impl Fn(&str) -> Option<String>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let walked = walk(value, &mut String::new(), 0, &mut |text, pointer| {
        let used = match parse(text) {
            Ok(Text::Plain) => return Ok(Json::Null),
            Ok(Text::Expression(expression)) => expression.undeclared_variables(true),
            Ok(Text::Template(template)) => template.undeclared_variables(true),
            Err(error) => {
                faults.push(fault(pointer, &error));
                return Ok(Json::Null);
            }
        };
        let used: BTreeSet<String> = used.into_iter().collect();
        let said = used.iter().filter_map(|name| of_a_name(name));
        faults.extend(said.map(|message| Fault { pointer: pointer.to_owned(), message }));
        Ok(Json::Null)
    });
    faults.extend(walked.err());
    faults
}

fn missing(name: &str) -> String {
    let hint = ELSEWHERE.iter().find(|(known, _)| *known == name).map(|(_, hint)| format!(": {hint}"));
    format!("`{name}` is not there{}", hint.unwrap_or_default())
}

/// Whether a name means something in every template already.
pub fn is_taken(name: &str) -> bool {
    name == "loop" || name == "events" || ROOTS.contains(&name) || DATES.contains(&name)
}

fn list(what: &str, names: &BTreeSet<String>) -> String {
    if names.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = names.iter().map(String::as_str).take(20).collect();
    format!("; {what} {}", names.join(", "))
}
