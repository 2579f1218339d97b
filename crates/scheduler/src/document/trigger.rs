use std::collections::BTreeMap;

use millrace_core::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Events that make runs: each of them one, or several one together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Trigger {
    /// Where the events come from: the name under which they are recorded.
    #[schemars(regex(pattern = "^[A-Za-z0-9][A-Za-z0-9._:/-]{0,126}$"))]
    pub source: String,
    /// Only events of this type; `*` stands for any characters: `object.*`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub kind: Option<String>,
    /// Only events of this subject; `*` stands for any characters: `in/*/day.avro`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub subject: Option<String>,
    /// Only events of which this holds: CEL over `event` (`source`, `id`, `type`, `subject`, `at`, `data`), `binding` and
    /// `params`, the values that a run has without the event.
    #[serde(default, rename = "if", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// When several events make one run. Without it, each makes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub together: Option<Together>,
    /// Parameters of the run. Templates have `events`, and where each event makes a run `event`; what a binding gives is
    /// `params`. They go before the values of a binding.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Value>,
    /// The run's logical date, a template: `"{{ event.data.day }}"`. Without it the beginning of the window, or the arrival
    /// of the last event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logical_date: Option<String>,
}

/// When several events make one run: when there are `count` of them, when the `window` is over, when none has come for
/// the time of `debounce`. With several of these, whichever is first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Together {
    /// So many events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000))]
    pub count: Option<u32>,
    /// The events that arrive in the same stretch of time; stretches follow each other from midnight of 1970 (UTC) on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Span>,
    /// When for so long no event has come; `max` says when it ends all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debounce: Option<Span>,
    /// So long after the first event at the latest, with what is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Span>,
    /// Only events with the same value at this JSON pointer into the event go together: `/data/customer`, `/subject`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^/(data|id|type|subject)(/.*)?$"))]
    pub by: Option<String>,
}
