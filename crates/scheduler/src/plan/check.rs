//! What the JSON Schema of a DAG cannot say.

mod job;

use std::collections::BTreeSet;

use jiff::Timestamp;
use millrace_core::{Fault, Source, Span};
use millrace_policy::Condition;
use serde_json::Value;

use super::{MAX_DEADLINES, MAX_ITEMS, MAX_TASKS, Planned, params::is_name};
use crate::{
    document::{
        After, Dag, ForEach, Task, Trigger, Wait,
        place::{ObjectPlace, wrong_queue},
    },
    graph::{Graph, GraphFault},
    render::{self, Names},
    schedule::Timetable,
};

/// The variables of a condition under `retry`.
const OF_A_FAILURE: [(&str, Option<&BTreeSet<String>>); 4] =
    [("exit_code", None), ("code", None), ("message", None), ("attempt", None)];

/// The fields of a task that are not templates.
const NO_TEMPLATES: [&str; 10] =
    ["needs", "when", "if", "use", "with", "retry", "timeout", "pool", "priority", "forEach"];

pub(super) fn graph(dag: &Dag, source: &Source, faults: &mut Vec<Fault>) -> Option<Graph> {
    match dag.spec.tasks.len() {
        0 => faults.push(source.fault("/spec/tasks", "has no tasks: a run would have nothing to end with")),
        1..=MAX_TASKS => {}
        many => {
            faults.push(source.fault("/spec/tasks", format!("has {many} tasks; at most {MAX_TASKS}")));
            return None;
        }
    }
    let tasks = dag.spec.tasks.iter().map(|(name, task)| (name.as_str(), task.needs.as_slice()));
    match Graph::new(tasks) {
        Ok(graph) => Some(graph),
        Err(found) => {
            let at = |task: &str, rest: String| format!("/spec/tasks/{task}/needs{rest}");
            faults.extend(found.into_iter().map(|fault| match fault {
                GraphFault::Unknown { task, place, needs } => {
                    source.fault(&at(&task, format!("/{place}")), format!("there is no task `{needs}`"))
                }
                GraphFault::Twice { task, place, needs } => {
                    source.fault(&at(&task, format!("/{place}")), format!("waits for `{needs}` already"))
                }
                GraphFault::Cycle(path) => {
                    let message = format!("tasks wait for each other: {}", path.join(" -> "));
                    source.fault(&at(&path[0], String::new()), message)
                }
            }));
            None
        }
    }
}

pub(super) fn schedule(dag: &Dag, source: &Source, now: Timestamp, faults: &mut Vec<Fault>) -> Option<Timetable> {
    match Timetable::new(dag.spec.schedule.as_ref()?, now) {
        Ok(timetable) => Some(timetable),
        Err(found) => {
            faults.extend(found.into_iter().map(|fault| {
                let field = fault.field.map_or(String::new(), |field| format!("/{field}"));
                source.fault(&format!("/spec/schedule{field}"), fault.message)
            }));
            None
        }
    }
}

/// The longest time that a deadline is after something: a year, and some.
const MAX_WITHIN: Span = Span::days(400);

pub(super) fn deadlines(dag: &Dag, source: &Source, faults: &mut Vec<Fault>) {
    let many = dag.spec.deadlines.len();
    if many > MAX_DEADLINES {
        faults.push(source.fault("/spec/deadlines", format!("has {many} deadlines; at most {MAX_DEADLINES}")));
    }
    let has_schedule = dag.spec.schedule.is_some();
    for (place, deadline) in dag.spec.deadlines.iter().enumerate() {
        let mut fault = |field: &str, message: String| {
            faults.push(source.fault(&format!("/spec/deadlines/{place}{field}"), message));
        };
        if let Some(task) = deadline.task.as_ref().filter(|task| !dag.spec.tasks.contains_key(*task)) {
            fault("/task", format!("there is no task `{task}`"));
        }
        if deadline.within > MAX_WITHIN {
            fault("/within", format!("expected at most {MAX_WITHIN}, got {}", deadline.within));
        }
        if deadline.after == After::IntervalEnd && !has_schedule {
            let instead = "say what it is counted from: `after: queued` or `after: started`";
            fault("", format!("there is no schedule, so runs have no data interval: {instead}"));
        }
        if deadline.slots && (deadline.after != After::IntervalEnd || deadline.task.is_some()) {
            fault(
                "/slots",
                "moments without a run have only their time: it goes with runs and `after: interval-end`".to_owned(),
            );
        }
    }
}

/// Every task by its number, but for those that are `broken` already.
pub(super) fn tasks(
    dag: &Dag,
    broken: &BTreeSet<String>,
    graph: Option<&Graph>,
    source: &Source,
    faults: &mut Vec<Fault>,
) -> Vec<Planned> {
    // Without an order any will do: nobody runs it.
    let names: Vec<&str> = match graph {
        Some(graph) => (0..graph.len()).map(|task| graph.name(task)).collect(),
        None => dag.spec.tasks.keys().map(String::as_str).collect(),
    };
    let mut planned = Vec::with_capacity(names.len());
    for (number, name) in names.into_iter().enumerate().filter(|(_, name)| !broken.contains(*name)) {
        let task = &dag.spec.tasks[name];
        // A document was read from JSON, and is written as such.
        let fields = serde_json::to_value(task).unwrap_or_default();
        let mut checker = Checker { dag, name, task, fields, source, faults };
        checker.form();
        let earlier = checker.earlier(graph, number);
        let (condition, unless) = checker.conditions(&earlier);
        let reads = checker.reads(&earlier, graph);
        let reads_events = !dag.spec.triggers.is_empty() && checker.fields.to_string().contains("events");
        checker.templates(earlier);
        let is_timed =
            dag.spec.deadlines.iter().any(|it| it.after == After::Started && it.task.as_deref() == Some(name));
        planned.push(Planned { task: task.clone(), condition, unless, reads, is_timed, reads_events });
    }
    planned
}

struct Checker<'a> {
    dag: &'a Dag,
    name: &'a str,
    task: &'a Task,
    /// The task as JSON.
    fields: Value,
    source: &'a Source,
    faults: &'a mut Vec<Fault>,
}

impl Checker<'_> {
    fn fault(&mut self, field: &str, message: impl Into<String>) {
        let pointer = format!("/spec/tasks/{}{field}", self.name);
        self.faults.push(self.source.fault(&pointer, message));
    }

    /// The tasks that come before, where anything asks for one. Without an order nobody knows: any of them might.
    fn earlier(&self, graph: Option<&Graph>, number: usize) -> BTreeSet<String> {
        if !self.fields.to_string().contains("tasks") {
            return BTreeSet::new();
        }
        match graph {
            Some(graph) => {
                let ancestors = graph.ancestors(number);
                (0..graph.len()).filter(|&task| ancestors[task]).map(|task| graph.name(task).to_owned()).collect()
            }
            None => self.dag.spec.tasks.keys().cloned().collect(),
        }
    }

    /// Those of the tasks before it whose outputs it may ask for: whose names are in its text, or all, where it asks for
    /// `tasks` in another way than by a name.
    fn reads(&self, earlier: &BTreeSet<String>, graph: Option<&Graph>) -> Vec<usize> {
        let Some(graph) = graph else { return Vec::new() };
        let text = self.fields.to_string();
        let by_name = text.match_indices("tasks").all(|(at, found)| text[at + found.len()..].starts_with('.'));
        let read = earlier.iter().filter(|name| !by_name || text.contains(name.as_str()));
        read.filter_map(|name| graph.number(name)).collect()
    }

    fn form(&mut self) {
        if !is_name(self.name) || self.name.len() > 63 {
            self.fault("", "a task's name is letters, digits and _, not a digit first, at most 63 of them");
        }
        let actions: Vec<&str> = self.task.actions().map(|action| action.name()).collect();
        match actions.len() {
            1 => {}
            0 => self.fault("", "says nothing to do: noop, sleep, process, http, grpc, service, job or wait"),
            _ => self.fault("", format!("says to do several things: {}", actions.join(", "))),
        }
        if let Some(wait) = &self.task.wait {
            self.wait(wait);
        }
        if let Some(each) = &self.task.for_each {
            self.for_each(each);
        }
        if let Some(job) = &self.task.job {
            for (field, problem) in job::problems(job, self.task) {
                self.fault(&field, problem);
            }
        }
    }

    fn wait(&mut self, wait: &Wait) {
        let Wait { object, message, topic, run } = wait;
        let given = [object.is_some(), message.is_some(), topic.is_some(), run.is_some()];
        if given.iter().filter(|given| **given).count() != 1 {
            self.fault("/wait", "waits for one of object, message, topic and run");
        }
        if let Some(object) = object {
            let place = plain(Some(&object.uri)).and_then(|uri| ObjectPlace::parse(uri).err());
            self.wrong("/wait/object/uri", place);
            self.wrong("/wait/object/since", moment(object.since.as_deref()));
        }
        if let Some(message) = message {
            self.wrong("/wait/message/queue", plain(Some(&message.queue)).and_then(wrong_queue));
        }
        if let Some(topic) = topic {
            self.wrong("/wait/topic/until", moment(topic.until.as_deref()));
            let in_window = |it: &Trigger| it.together.as_ref().is_some_and(|it| it.window.is_some());
            let spec = &self.dag.spec;
            if topic.until.is_none() && spec.schedule.is_none() && !spec.triggers.values().any(in_window) {
                self.fault("/wait/topic", "say `until`: there is no schedule, so runs have no data interval");
            }
        }
        if let Some(run) = run {
            self.wrong("/wait/run/logicalDate", moment(run.logical_date.as_deref()));
        }
    }

    fn wrong(&mut self, field: &str, problem: Option<String>) {
        if let Some(problem) = problem {
            self.fault(field, problem);
        }
    }

    fn for_each(&mut self, each: &ForEach) {
        if render::is_taken(&each.name) {
            self.fault("/forEach/as", format!("`{}` is the name of something else in templates", each.name));
        }
        match &each.items {
            Value::Array(items) if items.len() > MAX_ITEMS => {
                self.fault("/forEach/in", format!("has {} items; at most {MAX_ITEMS}", items.len()));
            }
            Value::Array(_) => {}
            Value::String(text) if render::is_expression(text) => {}
            _ => self
                .fault("/forEach/in", "expected a list, or a template that gives one: \"{{ tasks.extract.output }}\""),
        }
    }

    fn conditions(&mut self, earlier: &BTreeSet<String>) -> (Option<Condition>, Option<Condition>) {
        let params: BTreeSet<String> = self.dag.spec.params.keys().cloned().collect();
        let mut of_a_run = vec![("params", Some(&params)), ("tasks", Some(earlier)), ("run", None)];
        if !self.dag.spec.triggers.is_empty() {
            of_a_run.push(("events", None));
        }
        let condition = self.condition("/if", self.task.condition.as_deref(), &of_a_run);
        let unless = self.task.retry.as_ref().and_then(|retry| retry.unless.as_deref());
        (condition, self.condition("/retry/unless", unless, &OF_A_FAILURE))
    }

    fn condition(
        &mut self,
        field: &str,
        text: Option<&str>,
        variables: &[(&str, Option<&BTreeSet<String>>)],
    ) -> Option<Condition> {
        match Condition::parse(text?, variables) {
            Ok(condition) => Some(condition),
            Err(problems) => {
                for problem in problems {
                    self.fault(field, problem);
                }
                None
            }
        }
    }

    fn templates(&mut self, earlier: BTreeSet<String>) {
        let mut names = Names {
            params: self.dag.spec.params.keys().cloned().collect(),
            tasks: earlier,
            item: None,
            with: BTreeSet::new(),
            events: !self.dag.spec.triggers.is_empty(),
            logical_date: true,
        };
        let with = self.task.with.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        self.say("/with", names.check(&Value::Object(with)));
        names.with = self.task.with.keys().cloned().collect();
        if let Some(each) = &self.task.for_each {
            self.say("/forEach/in", names.check(&each.items));
            names.item = Some(each.name.clone());
        }
        if let Value::Object(fields) = &mut self.fields {
            fields.retain(|field, _| !NO_TEMPLATES.contains(&field.as_str()));
        }
        let mut found = names.check(&self.fields);
        if let Some(each) = self.task.for_each.as_ref().filter(|_| self.task.is_indexed()) {
            names.item = None;
            found = names.check(&self.fields);
            let item = format!("`{}", each.name);
            let of_item = |message: &str| message.strip_prefix(&item).is_some_and(|rest| rest.starts_with(['`', '.']));
            for fault in found.iter_mut().filter(|fault| of_item(&fault.message)) {
                fault.message = format!("`{}` is not there: {}", each.name, job::NO_ITEM);
            }
        }
        self.say("", found);
    }

    fn say(&mut self, field: &str, found: Vec<crate::render::Fault>) {
        for fault in found {
            self.fault(&format!("{field}{}", fault.pointer), fault.message);
        }
    }
}

/// A text in which there is no template.
fn plain(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !render::is_templated(&Value::from(*text)))
}

/// What is wrong with a moment that is no template.
fn moment(text: Option<&str>) -> Option<String> {
    let text = plain(text)?;
    let problem = text.parse::<Timestamp>().err()?;
    Some(format!("expected a moment, 2026-11-01T00:00:00Z, or a template that gives one: {problem}"))
}
