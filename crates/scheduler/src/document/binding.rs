use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ApiVersion, Metadata};

/// A DAG for one tenant or environment: 500 customers are 500 bindings of one DAG.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Binding {
    /// The version of this document's form.
    pub api_version: ApiVersion,
    /// What the document describes.
    pub kind: Kind,
    /// What it is called.
    pub metadata: Metadata,
    /// What it binds.
    pub spec: BindingSpec,
}

/// The kind of this document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// A binding.
    Binding,
}

/// What a binding gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BindingSpec {
    /// The DAG's name.
    #[schemars(length(min = 1))]
    pub dag: String,
    /// Values of parameters, in place of their defaults.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Value>,
    /// Images by the names that the DAG's jobs use.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, String>,
    /// Pools by the names that the DAG's tasks use.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pools: BTreeMap<String, String>,
    /// Names of secrets, by the names that the DAG's tasks use. A secret itself is given to the scheduler by environment
    /// or mounted file, never written here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
}
