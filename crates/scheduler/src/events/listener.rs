use std::collections::BTreeMap;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use millrace_policy::Condition;
use serde_json::{Value, json};

use super::{Group, MAX_NAME, Rule, Taken, pattern::fits};
use crate::{
    document::Trigger,
    plan::Hash,
    render::{self, Interval, Occasion},
};

/// The most bytes that the parameters that come of events may have, as JSON.
const MAX_PARAMS: usize = 64 * 1024;

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its number in its source, from 1.
    pub seq: i64,
    /// Where it comes from.
    pub source: String,
    /// What makes it the event that it is, in its source.
    pub id: String,
    /// What kind of event; may be empty.
    pub kind: String,
    /// What it is about; may be empty.
    pub subject: String,
    /// When it was recorded.
    pub at: Timestamp,
    /// What it says.
    pub data: Value,
    /// Of the data as JSON.
    pub bytes: u64,
}

impl Event {
    /// As conditions and templates have it.
    pub fn value(&self) -> Value {
        let Self { seq: _, source, id, kind, subject, at, data, bytes: _ } = self;
        json!({"source": source, "id": id, "type": kind, "subject": subject, "at": at.to_string(), "data": data})
    }
}

/// A trigger that was checked.
#[derive(Debug)]
pub struct Listener {
    /// As the document has it.
    pub trigger: Trigger,
    /// How its events go together.
    pub rule: Rule,
    /// Which of them it takes.
    pub condition: Option<Condition>,
}

/// What a trigger knows of the DAG that it is of.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The binding's name.
    pub binding: Option<&'a str>,
    /// Defaults of parameters, and what the binding gives.
    pub params: &'a Value,
}

/// The run of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// What makes it the run that it is.
    pub key: String,
    /// What its events give.
    pub params: BTreeMap<String, Value>,
    /// The moment that it is about.
    pub logical_at: Timestamp,
    /// Of a window, that.
    pub interval: Option<Interval>,
}

impl Listener {
    /// Whether the trigger takes an event of its source, and with which others it goes. What cannot be told is said in a
    /// sentence.
    pub fn take(&self, event: &Event, scope: Scope<'_>) -> Result<Option<Taken>, String> {
        let Trigger { kind, subject, together, .. } = &self.trigger;
        let fitting = |pattern: &Option<String>, text: &str| pattern.as_ref().is_none_or(|it| fits(it, text));
        if !fitting(kind, &event.kind) || !fitting(subject, &event.subject) {
            return Ok(None);
        }
        let by = together.as_ref().and_then(|together| together.by.as_deref());
        let value = if by.is_some() || self.condition.is_some() { event.value() } else { Value::Null };
        if let Some(condition) = &self.condition {
            let binding = json!(scope.binding);
            let variables = [("event", &value), ("binding", &binding), ("params", scope.params)];
            if !condition.holds(&variables).map_err(|problem| format!("if: {problem}"))? {
                return Ok(None);
            }
        }
        let key = by.map_or(Ok(String::new()), |by| key_of(&value, by))?;
        Ok(Some(Taken { seq: event.seq, at: event.at, key, bytes: event.bytes }))
    }

    /// The run of a group that is complete, with its events in their order. Why there can be none is said in a sentence.
    pub fn make(&self, name: &str, group: &Group, events: &[Event], scope: Scope<'_>) -> Result<Made, String> {
        let values: Vec<Value> = events.iter().map(Event::value).collect();
        let Scope { binding, params } = scope;
        let occasion = Occasion { events: &values, each: self.trigger.together.is_none(), params, binding };
        let mut made = BTreeMap::new();
        let mut bytes = 0;
        for (param, value) in &self.trigger.params {
            let value =
                render::render_occasion(value, &occasion).map_err(|fault| format!("params.{param}: {fault}"))?;
            bytes += value.to_string().len();
            made.insert(param.clone(), value);
        }
        if bytes > MAX_PARAMS {
            return Err(format!("params: {bytes} bytes; at most {MAX_PARAMS}: let tasks ask for `events`"));
        }
        let interval = self.rule.window(group).map(|(start, end)| Interval { start, end });
        let logical_at = match &self.trigger.logical_date {
            Some(text) => {
                let given = render::render_occasion(&json!(text), &occasion);
                date(&given.map_err(|fault| format!("logicalDate: {fault}"))?)?
            }
            None => interval.map_or(group.last_at, |interval| interval.start),
        };
        Ok(Made { key: self.key(name, group, events), params: made, logical_at, interval })
    }

    /// The trigger's name, and a hash of what the events are known by.
    fn key(&self, name: &str, group: &Group, events: &[Event]) -> String {
        let ids = events.iter().map(|event| event.id.as_str());
        let hash = Hash::of_parts([name, &self.trigger.source, &group.key].into_iter().chain(ids)).to_string();
        format!("event__{name}__{}", &hash[..32])
    }
}

/// What a pointer into an event finds, as text.
fn key_of(event: &Value, by: &str) -> Result<String, String> {
    let key = match event.pointer(by) {
        Some(Value::String(text)) => text.clone(),
        Some(it @ (Value::Number(_) | Value::Bool(_))) => it.to_string(),
        Some(_) => return Err(format!("together.by: {by} is no text, number or boolean")),
        None => return Err(format!("together.by: {by} is not there")),
    };
    if key.len() > MAX_NAME {
        return Err(format!("together.by: {by} has {} bytes; at most {MAX_NAME}", key.len()));
    }
    Ok(key)
}

fn date(given: &Value) -> Result<Timestamp, String> {
    let wrong = || format!("logicalDate: expected a date or a time such as 2026-11-21T10:00:00Z, got {given}");
    let text = given.as_str().ok_or_else(wrong)?;
    let civil = || text.parse::<DateTime>().and_then(|at| at.to_zoned(TimeZone::UTC)).map(|at| at.timestamp());
    text.parse::<Timestamp>().or_else(|_| civil()).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn event(id: &str, kind: &str, data: Value) -> Event {
        let (source, subject) = ("inbox".to_owned(), "in/acme".to_owned());
        let at = "2026-11-21T10:00:00Z".parse().unwrap();
        Event { seq: 1, source, id: id.to_owned(), kind: kind.to_owned(), subject, at, data, bytes: 10 }
    }

    fn listener(document: Value) -> Listener {
        let trigger: Trigger = serde_json::from_value(document).unwrap();
        let names = [("event", None::<&BTreeSet<String>>), ("binding", None), ("params", None)];
        let condition = trigger.condition.as_deref().map(|text| Condition::parse(text, &names).unwrap());
        Listener { rule: Rule::new(trigger.together.as_ref()), condition, trigger }
    }

    fn group(key: &str) -> Group {
        let at: Timestamp = "2026-11-21T10:07:00Z".parse().unwrap();
        Group { id: None, key: key.to_owned(), first_at: at, last_at: at, events: 1, bytes: 0, joined: vec![] }
    }

    #[test]
    fn events_are_taken_by_type_subject_and_condition_and_what_cannot_be_told_is_said() {
        let it = listener(json!({
            "source": "inbox", "type": "object.*", "subject": "in/*", "if": "event.data.size > params.least && binding == 'acme'",
            "together": {"count": 2, "by": "/data/customer"},
        }));
        let params = json!({"least": 10});
        let scope = Scope { binding: Some("acme"), params: &params };
        let of = |data: Value| it.take(&event("1", "object.created", data), scope);
        assert_eq!(of(json!({"size": 11, "customer": "a"})).unwrap().unwrap().key, "a");
        assert_eq!(of(json!({"size": 11, "customer": 7})).unwrap().unwrap().key, "7");
        assert_eq!(of(json!({"size": 10, "customer": "a"})), Ok(None));
        assert_eq!(it.take(&event("1", "other", json!({})), scope), Ok(None));
        assert_eq!(of(json!({"size": 11})).unwrap_err(), "together.by: /data/customer is not there");
        assert_eq!(
            of(json!({"size": 11, "customer": [1]})).unwrap_err(),
            "together.by: /data/customer is no text, number or boolean"
        );
        assert!(of(json!({"customer": "a"})).unwrap_err().starts_with("if: `event.data.size"));
    }

    #[test]
    fn a_run_has_what_its_events_say_and_a_key_of_their_ids() {
        let it = listener(json!({
            "source": "inbox", "logicalDate": "{{ events[0].data.day }}",
            "params": {"file": "s3://{{ event.data.file }}", "size": "{{ event.data.size }}", "own": "{{ params.own }}"},
        }));
        let params = json!({"own": [1]});
        let scope = Scope { binding: None, params: &params };
        let events = [event("1", "", json!({"file": "a", "size": 7, "day": "2026-11-20"}))];
        let made = it.make("arrived", &group(""), &events, scope).unwrap();
        assert_eq!(json!(made.params), json!({"file": "s3://a", "size": 7, "own": [1]}));
        assert_eq!(made.logical_at.to_string(), "2026-11-20T00:00:00Z");
        assert!(made.key.starts_with("event__arrived__") && made.key.len() == 48, "{}", made.key);

        let other = [event("2", "", json!({"file": "a", "size": 7, "day": "2026-11-20"}))];
        assert_ne!(it.make("arrived", &group(""), &other, scope).unwrap().key, made.key);
        assert_ne!(it.make("arrived", &group("x"), &events, scope).unwrap().key, made.key);
        let lacking = [event("1", "", json!({"file": "a", "day": "soon"}))];
        assert!(it.make("arrived", &group(""), &lacking, scope).unwrap_err().starts_with("params.size: "));
        let dateless = [event("1", "", json!({"file": "a", "size": 1, "day": "soon"}))];
        let said = it.make("arrived", &group(""), &dateless, scope).unwrap_err();
        assert_eq!(said, "logicalDate: expected a date or a time such as 2026-11-21T10:00:00Z, got \"soon\"");
    }

    #[test]
    fn the_interval_of_a_window_is_that_window() {
        let it = listener(
            json!({"source": "inbox", "together": {"window": "15m"}, "params": {"n": "{{ events | length }}"}}),
        );
        let scope = Scope { binding: None, params: &Value::Null };
        let made = it.make("w", &group(""), &[event("1", "", Value::Null)], scope).unwrap();
        let Interval { start, end } = made.interval.unwrap();
        assert_eq!(
            (start.to_string().as_str(), end.to_string().as_str()),
            ("2026-11-21T10:00:00Z", "2026-11-21T10:15:00Z")
        );
        assert_eq!((made.logical_at, made.params["n"].clone()), (start, json!(1)));
    }
}
