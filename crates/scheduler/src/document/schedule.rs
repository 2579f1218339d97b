use jiff::civil::DateTime;
use millrace_core::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schedule::{Fold, Gap};

/// When a DAG runs by itself: by `cron` or `every`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScheduleSpec {
    /// Five fields, or a nickname such as `@daily`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// A fixed distance, from `start` on (or from midnight of 1970).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// The zone of `cron`, `start` and `end`, by its IANA name.
    #[serde(default = "utc")]
    pub timezone: String,
    /// What happens on days on which clocks are changed. Without a policy, a job that names one time of day runs once a
    /// day (after the gap, and the first of two times); any other goes by the time that passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst: Option<Dst>,
    /// What a run's data interval is.
    #[serde(default)]
    pub interval: Interval,
    /// No slot before this civil time; without it, before the first apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", regex(pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]+)?$"))]
    pub start: Option<DateTime>,
    /// No slot at or after this civil time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", regex(pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]+)?$"))]
    pub end: Option<DateTime>,
    /// What becomes of slots that were missed because the scheduler was away or the DAG was paused.
    #[serde(default)]
    pub catchup: Catchup,
    /// What becomes of a slot whose predecessor is still running.
    #[serde(default)]
    pub overlap: Overlap,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// What happens on days on which clocks are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dst {
    /// A time of day that is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
    /// A time of day that comes twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fold: Option<Fold>,
}

/// What a run's data interval is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Interval {
    /// From the slot before to this one, without it: what has become complete.
    #[default]
    Previous,
    /// The moment of the slot alone.
    None,
}

/// What becomes of missed slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Catchup {
    /// Which of them run.
    pub policy: CatchupPolicy,
    /// Slots that are older than this are skipped, and said to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Span>,
    /// Runs of missed slots at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000))]
    pub max_parallel: Option<u32>,
    /// Which come first.
    pub order: Order,
}

/// Which missed slots run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CatchupPolicy {
    /// None of them.
    None,
    /// The last one.
    #[default]
    Last,
    /// All of them.
    All,
    /// One run, whose data interval is that of all of them.
    Coalesce,
}

/// Which of several slots comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// The oldest.
    #[default]
    OldestFirst,
    /// The newest.
    NewestFirst,
}

/// What becomes of a slot whose predecessor is still running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Overlap {
    /// It does not run.
    Skip,
    /// It waits; of several that wait, the last one stays.
    BufferOne,
    /// It waits, and so do the others.
    BufferAll,
    /// The predecessor is cancelled.
    CancelOther,
    /// Both run.
    #[default]
    Allow,
}
