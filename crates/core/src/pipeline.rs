//! The pipeline document: one file that every service reads, each for its own part.

mod check;
mod spec;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use spec::{Aggregate, Alert, Batch, Events, Framing, Guarantee, Import, Lake, Roll, Rule, Scoring, Spec, Topics};

use crate::document::{self, Faults, Source};

/// One pipeline, whole. Shapes, defaults and meanings are those of its fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pipeline {
    /// The version of this document's form.
    pub api_version: ApiVersion,
    /// What the document describes.
    pub kind: Kind,
    /// What it is called.
    pub metadata: Metadata,
    /// What it does.
    pub spec: Spec,
}

/// The versions of the document's form that this build reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The first.
    #[serde(rename = "millrace.dev/v1")]
    V1,
}

/// The kind of this document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// A pipeline.
    Pipeline,
}

/// What a document is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// Part of topic names, groups and metrics: lower-case letters, digits and dashes.
    #[schemars(regex(pattern = "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"))]
    pub name: String,
}

impl Pipeline {
    /// Reads one document and checks it as far as it can be checked without its event schema.
    pub fn parse(source: &Source) -> Result<Self, Faults> {
        let pipeline: Self = document::load(source)?;
        check::check(&pipeline, source).into_result().map(|()| pipeline)
    }

    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, Faults> {
        Self::parse(&Source::read(path)?)
    }

    /// Reads files and folders (their `*.yaml`, `*.yml` and `*.json` whose kind is `Pipeline`). The faults of all of
    /// them come together; two pipelines of one name are a fault as well.
    pub fn load_all(paths: &[PathBuf]) -> Result<Vec<Self>, Faults> {
        let mut faults = Vec::new();
        let mut pipelines: Vec<(Self, Source)> = Vec::new();
        for source in check::sources(paths, &mut faults) {
            match Self::parse(&source) {
                Ok(pipeline) => match pipelines.iter().find(|(other, _)| other.name() == pipeline.name()) {
                    Some((_, first)) => faults.push(source.fault(
                        "/metadata/name",
                        format!("pipeline `{}` is defined in {} already", pipeline.name(), first.file()),
                    )),
                    None => pipelines.push((pipeline, source)),
                },
                Err(more) => faults.extend(more.0),
            }
        }
        Faults(faults).into_result()?;
        Ok(pipelines.into_iter().map(|(pipeline, _)| pipeline).collect())
    }

    /// The pipeline's name.
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// `<p>.events`: what clients sent.
    pub fn events_topic(&self) -> String {
        format!("{}.events", self.name())
    }

    /// `<p>.scores`: events with their scores.
    pub fn scores_topic(&self) -> String {
        format!("{}.scores", self.name())
    }

    /// `<p>.verdicts`: what was decided.
    pub fn verdicts_topic(&self) -> String {
        format!("{}.verdicts", self.name())
    }

    /// `<p>.feedback`: what people said about decisions.
    pub fn feedback_topic(&self) -> String {
        format!("{}.feedback", self.name())
    }

    /// `<p>.dead`: what could not be processed, with the reason.
    pub fn dead_topic(&self) -> String {
        format!("{}.dead", self.name())
    }

    /// Every topic of the pipeline.
    pub fn topics(&self) -> [String; 5] {
        [self.events_topic(), self.scores_topic(), self.verdicts_topic(), self.feedback_topic(), self.dead_topic()]
    }

    /// The consumer group of one of its services: `millrace.<p>.<service>`.
    pub fn group(&self, service: &str) -> String {
        format!("millrace.{}.{service}", self.name())
    }
}
