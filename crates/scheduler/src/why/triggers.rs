//! What the triggers of a DAG wait for.

use jiff::Timestamp;

use super::Waiting;
use crate::{
    events::{End, Listener},
    plan::Plan,
    state::GroupState,
    store::{GroupRow, TriggerRow},
};

/// What each trigger of a flow waits for.
pub fn triggers(rows: &[TriggerRow], plan: &Plan, paused: bool, now: Timestamp) -> Vec<Waiting> {
    rows.iter().map(|row| trigger(row, plan.listeners.get(&row.name), paused, now)).collect()
}

fn trigger(row: &TriggerRow, listener: Option<&Listener>, paused: bool, now: Timestamp) -> Waiting {
    let TriggerRow { name, source, unseen, open, groups } = row;
    let mut unmet = Vec::new();
    if paused {
        unmet.push(format!("it is paused: {unseen} events of source {source} wait"));
    } else if *unseen > 0 {
        unmet.push(format!("{unseen} events of source {source} are to be looked at"));
    }
    unmet.extend(groups.iter().map(|it| group(it, listener, now)));
    let untold = open - groups.len() as i64;
    if untold > 0 {
        unmet.push(format!("{untold} more groups of events wait"));
    }
    if unmet.is_empty() {
        unmet.push(format!("no event of source {source} waits"));
    }
    Waiting { what: format!("trigger {name}"), unmet }
}

/// `group acme: 2 of 5 events, due in 14 s`.
fn group(row: &GroupRow, listener: Option<&Listener>, now: Timestamp) -> String {
    let GroupRow { key, state, events, due_at, .. } = row;
    let together = listener.and_then(|it| it.trigger.together.as_ref());
    let count = together.and_then(|together| together.count).filter(|_| *state == GroupState::Open);
    let many = match count {
        Some(count) => format!("{events} of {count} events"),
        None if *events == 1 => "1 event".to_owned(),
        None => format!("{events} events"),
    };
    let due = match due_at {
        _ if *state == GroupState::Sealed => ", its run is made next: the trigger was changed".to_owned(),
        Some(due) if *due > now => format!(", due in {} s", seconds(*due, now)),
        Some(due) => format!(", was due at {due}, and no scheduler has looked at it yet"),
        None => String::new(),
    };
    let until = match listener.map(|listener| listener.rule.end) {
        Some(End::Quiet { .. }) if *state == GroupState::Open => " unless more come",
        _ => "",
    };
    let name = if key.is_empty() { String::new() } else { format!("group {key}: ") };
    format!("{name}{many}{due}{until}")
}

/// In whole seconds, the one that has begun counted as well.
fn seconds(due: Timestamp, now: Timestamp) -> i64 {
    let left = due.duration_since(now);
    left.as_secs() + i64::from(left.subsec_nanos() > 0)
}
