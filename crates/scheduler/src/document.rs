//! What users write: a [`Dag`] (graph, parameters, schedule), a [`Binding`] of it for one tenant or environment (values,
//! images, pools, names of secrets), and a [`TaskTemplate`] (a type of task, as data).
//!
//! ```text
//! text --Source--> type, all faults at once --check, with the templates that it uses--> Plan (see `plan`)
//! ```
//!
//! Nothing of a document is executed to read it.

mod binding;
mod dag;
pub mod place;
mod schedule;
mod task;
mod template;

pub use binding::{Binding, BindingSpec};
pub use dag::{After, Concurrency, Dag, DagSpec, Deadline, Severity};
pub use schedule::{Catchup, CatchupPolicy, Dst, Interval, Order, Overlap, ScheduleSpec};
pub use task::{
    Action, Backoff, ForEach, Grpc, Http, Jitter, Job, Noop, PoolUse, Process, Retry, Rule, Service, Sleep, Task,
    Timeouts, Wait, WaitMessage, WaitObject, WaitRun, WaitTopic,
};
pub use template::{TaskTemplate, TemplateSpec};

use std::collections::BTreeMap;

use millrace_core::{
    document::{self, Faults, Source},
    pipeline::ApiVersion,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a document is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// Part of run ids, of metrics and of the names of Kubernetes objects: lower-case letters, digits and dashes.
    #[schemars(regex(pattern = "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"))]
    pub name: String,
    /// For people and for selection: `team: fraud`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A document of any kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// A workflow.
    Dag(Box<Dag>),
    /// A workflow's values for one tenant or environment.
    Binding(Box<Binding>),
    /// A type of task.
    TaskTemplate(Box<TaskTemplate>),
}

impl Document {
    /// Reads one document of any kind. Every place that does not fit is reported.
    pub fn load(source: &Source) -> Result<Self, Faults> {
        match source.value()["kind"].as_str() {
            Some("Dag") => document::load(source).map(|dag| Self::Dag(Box::new(dag))),
            Some("Binding") => document::load(source).map(|binding| Self::Binding(Box::new(binding))),
            Some("TaskTemplate") => document::load(source).map(|template| Self::TaskTemplate(Box::new(template))),
            Some(other) => {
                let message = format!("expected Dag, Binding or TaskTemplate, got {other:?}");
                Err(source.fault("/kind", message).into())
            }
            None => Err(source.fault("", "missing field `kind`: Dag, Binding or TaskTemplate").into()),
        }
    }

    /// Its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Dag(_) => "Dag",
            Self::Binding(_) => "Binding",
            Self::TaskTemplate(_) => "TaskTemplate",
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Dag(dag) => &dag.metadata.name,
            Self::Binding(binding) => &binding.metadata.name,
            Self::TaskTemplate(template) => &template.metadata.name,
        }
    }
}
