//! What the JSON Schema of a trigger cannot say.

use std::collections::{BTreeMap, BTreeSet};

use millrace_core::{Fault, Source, Span};
use millrace_policy::Condition;
use serde_json::{Value, json};

use super::{Params, params::is_name};
use crate::{
    document::{Dag, Together, Trigger},
    events::{Listener, Rule},
    render::{self, OF_AN_EVENT, check_occasion, is_expression, is_templated},
};

/// The most triggers of a DAG.
const MAX_TRIGGERS: usize = 50;
/// How long events may wait for each other.
const SHORTEST: Span = Span::seconds(1);
const LONGEST: Span = Span::days(31);

const KEEPS_TYPE: &str = "a template that is one expression, \"{{ event.data.size }}\", keeps its type";

/// Every trigger by its name.
pub(super) fn listeners(
    dag: &Dag,
    params: &Params,
    source: &Source,
    faults: &mut Vec<Fault>,
) -> BTreeMap<String, Listener> {
    let triggers = &dag.spec.triggers;
    if triggers.len() > MAX_TRIGGERS {
        let message = format!("has {} triggers; at most {MAX_TRIGGERS}", triggers.len());
        faults.push(source.fault("/spec/triggers", message));
    }
    let mut listeners = BTreeMap::new();
    for (name, trigger) in triggers {
        let mut checker = Checker { name, trigger, params, schemas: &dag.spec.params, source, faults };
        checker.name();
        checker.together();
        let condition = checker.condition();
        checker.params();
        checker.logical_date();
        let rule = Rule::new(trigger.together.as_ref());
        listeners.insert(name.clone(), Listener { trigger: trigger.clone(), rule, condition });
    }
    listeners
}

struct Checker<'a> {
    name: &'a str,
    trigger: &'a Trigger,
    params: &'a Params,
    schemas: &'a BTreeMap<String, Value>,
    source: &'a Source,
    faults: &'a mut Vec<Fault>,
}

impl Checker<'_> {
    fn fault(&mut self, field: &str, message: impl Into<String>) {
        let pointer = format!("/spec/triggers/{}{field}", self.name);
        self.faults.push(self.source.fault(&pointer, message));
    }

    fn name(&mut self) {
        if !is_name(self.name) || self.name.len() > 63 {
            self.fault("", "a trigger's name is letters, digits and _, not a digit first, at most 63 of them");
        }
    }

    fn together(&mut self) {
        let Some(Together { count, window, debounce, max, by }) = &self.trigger.together else { return };
        for (field, span) in [("window", window), ("debounce", debounce), ("max", max)] {
            if let Some(span) = span.filter(|span| !(SHORTEST..=LONGEST).contains(span)) {
                self.fault(&format!("/together/{field}"), format!("expected {SHORTEST} to {LONGEST}, got {span}"));
            }
        }
        match (count, window, debounce, max) {
            (_, Some(_), Some(_), _) => self.fault("/together", "ends by `window` or by `debounce`, not by both"),
            (_, Some(_), None, Some(_)) => self.fault("/together/max", "a window ends by itself: leave `max` out"),
            (_, None, Some(pause), Some(max)) if max < pause => {
                self.fault("/together/max", format!("is shorter than `debounce`, {pause}: nothing would wait so long"));
            }
            (_, None, Some(_), None) => {
                self.fault("/together", "`debounce` needs `max`: events that come all the time would make no run");
            }
            (None, None, None, _) => {
                self.fault("/together", "says nothing that ends it: one of count, window and debounce");
            }
            (Some(_), None, None, None) if by.is_some() => {
                self.fault("/together", "`count` with `by` needs `max`: a key that never fills would wait for ever");
            }
            _ => {}
        }
    }

    fn condition(&mut self) -> Option<Condition> {
        let text = self.trigger.condition.as_deref()?;
        let event: BTreeSet<String> = OF_AN_EVENT.map(str::to_owned).into();
        let params = self.params.names();
        let variables = [("event", Some(&event)), ("binding", None), ("params", Some(&params))];
        match Condition::parse(text, &variables) {
            Ok(condition) => Some(condition),
            Err(problems) => {
                for problem in problems {
                    self.fault("/if", problem);
                }
                None
            }
        }
    }

    fn params(&mut self) {
        for (name, value) in &self.trigger.params {
            let field = format!("/params/{name}");
            if let Some(problem) = self.params.problem(name, value, !is_templated(value)) {
                self.fault(&field, format!("parameter {name:?} {problem}"));
                continue;
            }
            let is_text = value.as_str().is_some_and(|text| is_templated(value) && !is_expression(text));
            if is_text && !self.takes_text(name) {
                let message = format!("parameter {name:?} is no text, and this gives one: {KEEPS_TYPE}");
                self.fault(&field, message);
            }
            self.say(&field, value);
        }
    }

    /// Whether the schema of a parameter lets it be a text.
    fn takes_text(&self, name: &str) -> bool {
        match self.schemas.get(name).and_then(|schema| schema.get("type")) {
            Some(Value::String(kind)) => kind == "string",
            Some(Value::Array(kinds)) => kinds.contains(&json!("string")),
            _ => true,
        }
    }

    fn logical_date(&mut self) {
        if let Some(text) = &self.trigger.logical_date {
            if !is_templated(&json!(text)) {
                self.fault("/logicalDate", "is the same for all: expected a template such as \"{{ event.data.day }}\"");
            }
            self.say("/logicalDate", &json!(text));
        }
    }

    fn say(&mut self, field: &str, value: &Value) {
        let params = self.params.names();
        for render::Fault { pointer, message } in check_occasion(value, self.trigger.together.is_none(), &params) {
            self.fault(&format!("{field}{pointer}"), message);
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::plan::{Plan, Templates};

    fn plan(triggers: &str, task: &str) -> Result<Plan, Vec<String>> {
        let text = format!(
            "apiVersion: millrace.dev/v1\nkind: Dag\nmetadata: {{name: d}}\nspec:\n  params: {{n: {{type: integer, default: 1}}, s: {{type: string, default: x}}}}\n  \
             triggers:\n{triggers}  tasks:\n    t: {task}\n"
        );
        let source = Source::parse("dag.yaml", &text).unwrap();
        let said = |it: &Fault| format!("{} {}: {}", it.line, it.path, it.message);
        Plan::parse(&source, &Templates::default(), Timestamp::UNIX_EPOCH)
            .map_err(|faults| faults.0.iter().map(said).collect())
    }

    const FINE: &str = "    each: {source: s3, type: 'object.*', if: 'event.data.size > params.n && binding != null', params: {n: '{{ event.data.size }}', s: 'x-{{ event.id }}'}}\n    \
                        five: {source: s3, together: {count: 5, by: /data/customer, max: 1h}, params: {n: '{{ events | length }}'}, logicalDate: '{{ events[0].data.day }}'}\n    \
                        quiet: {source: s3, together: {debounce: 30s, max: 10m}}\n    window: {source: s3, together: {window: 10m, count: 100}}\n";

    #[test]
    fn triggers_are_read_and_their_events_are_there_for_tasks() {
        let plan = plan(FINE, "{process: {argv: [x, '{{ events | length }}']}, if: 'events.size() > 0'}").unwrap();
        assert_eq!(plan.listeners.len(), 4);
        assert_eq!(plan.listeners["each"].rule, Rule::EACH);
        assert!(plan.tasks[0].reads_events);
        let again = Plan::stored(plan.text.clone()).unwrap();
        assert_eq!(again.listeners["five"].rule, plan.listeners["five"].rule, "as it is read again");
    }

    #[test]
    fn what_is_wrong_with_a_trigger_is_said_with_its_line() {
        for (trigger, expected) in [
            (
                "{source: s, together: {}}",
                "7 $.spec.triggers.t.together: says nothing that ends it: one of count, window and debounce",
            ),
            ("{source: s, together: {max: 1m}}", "7 $.spec.triggers.t.together: says nothing that ends it"),
            (
                "{source: s, together: {count: 2, by: /data/x}}",
                "7 $.spec.triggers.t.together: `count` with `by` needs `max`",
            ),
            ("{source: s, together: {debounce: 5s}}", "7 $.spec.triggers.t.together: `debounce` needs `max`"),
            (
                "{source: s, together: {debounce: 5s, max: 1s}}",
                "7 $.spec.triggers.t.together.max: is shorter than `debounce`, 5s",
            ),
            (
                "{source: s, together: {window: 5s, max: 10s}}",
                "7 $.spec.triggers.t.together.max: a window ends by itself",
            ),
            (
                "{source: s, together: {window: 5s, debounce: 1s}}",
                "7 $.spec.triggers.t.together: ends by `window` or by `debounce`",
            ),
            (
                "{source: s, together: {window: 10ms}}",
                "7 $.spec.triggers.t.together.window: expected 1s to 31d, got 10ms",
            ),
            (
                "{source: s, params: {m: 1}}",
                "7 $.spec.triggers.t.params.m: parameter \"m\" is not a parameter; there are: n, s",
            ),
            (
                "{source: s, params: {n: x}}",
                "7 $.spec.triggers.t.params.n: parameter \"n\" \"x\" is not of type \"integer\"",
            ),
            (
                "{source: s, params: {n: 'a{{ event.id }}'}}",
                "7 $.spec.triggers.t.params.n: parameter \"n\" is no text, and this gives one",
            ),
            (
                "{source: s, params: {s: '{{ evnt.id }}'}}",
                "7 $.spec.triggers.t.params.s: `evnt` is not there; the templates of a trigger have",
            ),
            (
                "{source: s, params: {s: '{{ event.name }}'}}",
                "7 $.spec.triggers.t.params.s: `event.name` is not there; an event has",
            ),
            (
                "{source: s, together: {count: 2}, params: {s: '{{ event.id }}'}}",
                "7 $.spec.triggers.t.params.s: `event` is not there: several make a run",
            ),
            (
                "{source: s, if: 'evnt.id == 1'}",
                "7 $.spec.triggers.t.if: `evnt` is not there; a condition has event, binding, params",
            ),
            ("{source: s, logicalDate: '2026-01-01'}", "7 $.spec.triggers.t.logicalDate: is the same for all"),
            ("{source: s, each: {}}", "7 $.spec.triggers.t"),
            ("{source: s, together: {count: 1001}}", "7 $.spec.triggers.t.together.count: "),
            ("{source: s, together: {count: 2, max: 1m, by: customer}}", "7 $.spec.triggers.t.together.by: "),
            ("{source: 'a b'}", "7 $.spec.triggers.t.source: "),
        ] {
            let said = plan(&format!("    t: {trigger}\n"), "{noop: {}}").unwrap_err();
            assert!(said.len() == 1 && said[0].starts_with(expected), "{trigger}\n{said:?}");
        }
    }

    #[test]
    fn without_triggers_there_are_no_events() {
        let said = plan("    {}\n", "{process: {argv: ['{{ events }}']}}").unwrap_err();
        assert!(said[0].contains("`events` is not there: this DAG has no triggers"), "{said:?}");
    }
}
