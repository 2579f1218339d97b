use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ApiVersion, Metadata};

/// A type of task, as data: parameters and the task that they make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaskTemplate {
    /// The version of this document's form.
    pub api_version: ApiVersion,
    /// What the document describes.
    pub kind: Kind,
    /// What it is called.
    pub metadata: Metadata,
    /// What it makes.
    pub spec: TemplateSpec,
}

/// The kind of this document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// A type of task.
    TaskTemplate,
}

/// What a template makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TemplateSpec {
    /// Another template, whose parameters and task this one adds to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<String>,
    /// Parameters, each a JSON Schema. A task gives them under `with`, and the fields below use them as `with.<name>`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, Value>,
    /// Fields of the task, as in a DAG. What the task itself says goes before it.
    pub task: Value,
}
