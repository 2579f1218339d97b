//! Templates of triggers: what events give the run that they make.

use std::{collections::BTreeSet, sync::PoisonError};

use minijinja::{Value, value::Serde};
use serde_json::Value as Json;

use super::{Fault, Moment, names, render_text, values::Place, walk};

/// What the templates of a trigger are rendered with.
#[derive(Clone, Copy, Debug)]
pub struct Occasion<'a> {
    /// The run's events, in their order.
    pub events: &'a [Json],
    /// Whether each event makes a run, and is called `event`.
    pub each: bool,
    /// Defaults of parameters, and what the binding gives.
    pub params: &'a Json,
    /// The binding's name.
    pub binding: Option<&'a str>,
}

/// What an event has, for templates and conditions.
pub const OF_AN_EVENT: [&str; 6] = ["source", "id", "type", "subject", "at", "data"];

/// Renders every text in a value.
pub fn render_occasion(value: &Json, occasion: &Occasion<'_>) -> Result<Json, Fault> {
    let place = Place::default();
    let values = occasion.values();
    walk(value, &mut String::new(), 0, &mut |text, pointer| {
        *place.lock().unwrap_or_else(PoisonError::into_inner) = (pointer.to_owned(), 0);
        render_text(text, pointer, &values)
    })
}

/// Everything that is wrong with the templates in a value, as far as it can be told before there is an event.
pub fn check_occasion(value: &Json, each: bool, params: &BTreeSet<String>) -> Vec<Fault> {
    names::scan(value, |name| {
        let mut parts = name.split('.');
        let (root, member) = (parts.next().unwrap_or_default(), parts.next());
        match (root, member) {
            ("event", _) if !each => Some("`event` is not there: several make a run; use `events`".to_owned()),
            ("event", Some(member)) if !OF_AN_EVENT.contains(&member) => {
                Some(format!("`event.{member}` is not there; an event has {}", OF_AN_EVENT.join(", ")))
            }
            ("params", Some(member)) if !params.contains(member) => {
                Some(format!("`params.{member}` is not a parameter of this DAG"))
            }
            ("event" | "events" | "params" | "binding" | "range" | "dict" | "namespace" | "debug", _) => None,
            _ => Some(format!("`{root}` is not there; the templates of a trigger have events, params and binding")),
        }
    })
}

impl Occasion<'_> {
    fn values(&self) -> Value {
        let Self { events, each, params, binding } = *self;
        let mut values = vec![
            ("events", self::events(events)),
            ("params", Value::from(Serde(params))),
            ("binding", binding.map_or(Value::from(()), Value::from)),
        ];
        if let Some(event) = events.first().filter(|_| each) {
            values.push(("event", self::event(event)));
        }
        Value::from_pairs(values)
    }
}

/// Events as templates have them: when one was recorded is a moment.
pub(super) fn events(events: &[Json]) -> Value {
    events.iter().map(event).collect()
}

fn event(event: &Json) -> Value {
    let field = |name: &'static str| {
        let it = &event[name];
        let at = it.as_str().filter(|_| name == "at").and_then(|at| at.parse().ok());
        (name, at.map_or_else(|| Value::from(Serde(it)), |at| Value::from_object(Moment::new(at))))
    };
    Value::from_pairs(OF_AN_EVENT.map(field))
}
