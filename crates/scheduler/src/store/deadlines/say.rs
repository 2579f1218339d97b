//! What is told of deadlines, as signals.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Watched, known::Known};
use crate::{deadline::Say, document::Deadline, plan::Plan};

/// What kind of matter it is.
const KIND: &str = "deadline";
/// Who says it.
const SOURCE: &str = "scheduler";

/// A signal of `millrace.signals`, as JSON of its schema.
pub(super) fn signal(watched: &Watched, known: &Known, plan: &Plan, deadline: &Deadline, say: &Say) -> Value {
    let subject = watched.subject();
    // A run by its key, which is the same whatever numbers runs have.
    let which = known.key().map_or_else(|| moment(watched.slot_at), str::to_owned);
    let mut labels = json!({"dag": watched.dag, "which": which});
    let optional = [
        ("binding", (!watched.binding.is_empty()).then(|| watched.binding.clone())),
        ("run", watched.run.map(|run| run.0.to_string())),
        ("task", deadline.task.clone()),
        ("cause", cause(plan, say).map(str::to_owned)),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            labels[name] = value.into();
        }
    }
    for (name, value) in &plan.dag.metadata.labels {
        if labels.get(name).is_none() {
            labels[name] = value.clone().into();
        }
    }
    let state = match say {
        Say::AtRisk(_) | Say::Failed | Say::Missed(_) => "firing",
        Say::Recovered | Say::Over(_) => "resolved",
    };
    json!({
        "dedup_key": format!("{SOURCE}/{KIND}/{subject}/{which}/{}", watched.place),
        "kind": KIND,
        "severity": deadline.severity,
        "state": state,
        "source": SOURCE,
        "subject": subject,
        "labels": labels,
        "since": watched.since().as_millisecond(),
        "summary": summary(watched, plan, deadline, &which, say),
        "link": null,
        "notify": deadline.notify,
    })
}

/// One sentence: what must be done by when, what is or will be, and which task that is due to.
fn summary(watched: &Watched, plan: &Plan, deadline: &Deadline, which: &str, say: &Say) -> String {
    let what = match &deadline.task {
        Some(task) => format!("task {task} of {} {which}", watched.subject()),
        None => format!("{} {which}", watched.subject()),
    };
    let due = moment(watched.due);
    match say {
        Say::AtRisk(forecast) => {
            let expected = SignedDuration::try_from_secs_f64(forecast.median).unwrap_or_default();
            let expected = moment(watched.now.checked_add(expected).ok());
            let chance = (forecast.miss * 100.0).round();
            let cause = cause(plan, say).map(|task| format!(", because of task {task}")).unwrap_or_default();
            format!(
                "{what} must be done by {due} and will be at about {expected}{cause}: late with a probability of {chance} %"
            )
        }
        Say::Failed => format!("{what} must be done by {due} and has failed: it will not be, unless it is cleared"),
        Say::Missed(Some(at)) => format!("{what} was to be done by {due} and was at {}", moment(Some(*at))),
        Say::Missed(None) if watched.run.is_none() => format!("{what} was to be done by {due} and has no run"),
        Say::Missed(None) => format!("{what} was to be done by {due} and is not"),
        Say::Recovered => format!("{what} must be done by {due} and probably will be, after all"),
        Say::Over(Some(at)) => format!("{what} was done at {}; its deadline was {due}", moment(Some(*at))),
        Say::Over(None) => format!("{what} was cancelled or is gone: nothing is to be done by {due} any more"),
    }
}

fn cause<'a>(plan: &'a Plan, say: &Say) -> Option<&'a str> {
    match say {
        Say::AtRisk(forecast) => forecast.cause.map(|task| plan.graph.name(task)),
        _ => None,
    }
}

/// To the second, in UTC.
fn moment(at: Option<Timestamp>) -> String {
    let at = at.unwrap_or_default();
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}
