use std::collections::BTreeMap;

use millrace_core::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ApiVersion, Metadata, ScheduleSpec, Task};

/// A workflow: tasks and what they wait for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dag {
    /// The version of this document's form.
    pub api_version: ApiVersion,
    /// What the document describes.
    pub kind: Kind,
    /// What it is called.
    pub metadata: Metadata,
    /// What it does.
    pub spec: DagSpec,
}

/// The kind of this document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// A workflow.
    Dag,
}

/// What a workflow does, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DagSpec {
    /// What it is for, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Parameters, each a JSON Schema: `model: {type: string, default: champion}`. One without a default must be given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Value>,
    /// When it runs by itself; without one it runs by hand, by event or by backfill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleSpec>,
    /// By when something must be done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deadlines: Vec<Deadline>,
    /// How much of it runs at once.
    #[serde(default)]
    pub concurrency: Concurrency,
    /// Which of two waiting tasks goes first: the higher. A task may have its own.
    #[serde(default)]
    pub priority: i16,
    /// How long a run may take before what is left of it is cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// The tasks by name.
    #[schemars(length(min = 1))]
    pub tasks: BTreeMap<String, Task>,
}

/// How much runs at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Concurrency {
    /// Runs of the DAG; where it has bindings, of each of them. A backfill has a number of its own.
    #[schemars(range(min = 1, max = 10_000))]
    pub runs: u32,
    /// Tasks of the DAG, over all runs and bindings; those that name a pool count there and not here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub tasks: Option<u32>,
}

impl Default for Concurrency {
    fn default() -> Self {
        Self { runs: 16, tasks: None }
    }
}

/// By when a run or a task must be done. What is not becomes a signal, which the alerter delivers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deadline {
    /// A task's name; without one, the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// How long after.
    pub within: Span,
    /// After what.
    #[serde(default)]
    pub after: After,
    /// Tell before it is missed, as soon as the probability of a miss is at least this; 0 to 1, exclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.01, max = 0.99))]
    pub predict: Option<f64>,
    /// Also moments of the schedule that have no run at all, because they were skipped or another run was in their way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub slots: bool,
    /// How urgent it is.
    #[serde(default)]
    pub severity: Severity,
    /// Who is told, by the names that the alerter has; without any, whoever it tells of signals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<String>,
}

/// What a deadline is counted from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum After {
    /// The end of the data interval, which is the moment at which a scheduled run is due.
    #[default]
    IntervalEnd,
    /// The moment at which the run came to be.
    Queued,
    /// The moment at which the run's first task, or the task, began.
    Started,
}

/// How urgent a signal is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Look at it today.
    #[default]
    Warning,
    /// Look at it now.
    Critical,
}
