//! Models as people and programs see them.

use jiff::Timestamp;
use millrace_proto::registry::v1::{Assignment, Model, ModelRef, Promotion, Stage};
use serde::Serialize;
use serde_json::Value;

/// Digits of a version that people read.
const DIGITS: usize = 8;

/// A model's name and version.
pub(super) fn id(model: &Model) -> ModelRef {
    model.model.clone().unwrap_or_default()
}

/// The same in a few letters.
pub(super) fn short(model: &ModelRef) -> String {
    format!("{} {}", model.name, model.version.chars().take(DIGITS).collect::<String>())
}

fn stage(number: i32) -> &'static str {
    match Stage::try_from(number) {
        Ok(Stage::Candidate) => "candidate",
        Ok(Stage::Shadow) => "shadow",
        Ok(Stage::Champion) => "champion",
        Ok(Stage::Retired) => "retired",
        Ok(Stage::Unspecified) | Err(_) => "",
    }
}

fn time(milliseconds: i64) -> String {
    Timestamp::from_millisecond(milliseconds).map(|at| format!("{at:.0}")).unwrap_or_default()
}

/// What a version is to a pipeline.
#[derive(Clone, Debug, Serialize)]
pub(super) struct StageRow {
    pipeline: String,
    stage: &'static str,
    revision: u64,
}

fn stages(model: &Model) -> Vec<StageRow> {
    let row = |it: &millrace_proto::registry::v1::StageOf| StageRow {
        pipeline: it.pipeline.clone(),
        stage: stage(it.stage),
        revision: it.revision,
    };
    model.stages.iter().map(row).collect()
}

/// A line of `list`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    name: String,
    version: String,
    roc_auc: Option<f64>,
    bytes: u64,
    pushed_at: String,
    pushed_by: String,
    stages: Vec<StageRow>,
}

impl Row {
    pub(super) fn of(model: &Model) -> Self {
        let ModelRef { name, version } = id(model);
        let manifest: Value = serde_json::from_str(&model.manifest).unwrap_or_default();
        Self {
            name,
            version,
            roc_auc: manifest["training"]["metrics"]["roc_auc"].as_f64(),
            bytes: model.bytes,
            pushed_at: time(model.pushed_at),
            pushed_by: model.pushed_by.clone(),
            stages: stages(model),
        }
    }

    pub(super) fn cells(&self) -> Vec<String> {
        let Self { name, version, roc_auc, pushed_at, pushed_by, stages, .. } = self;
        let stages: Vec<String> = stages.iter().map(|it| format!("{} of {}", it.stage, it.pipeline)).collect();
        let roc_auc = roc_auc.map(|auc| format!("{auc:.4}")).unwrap_or_default();
        vec![name.clone(), version.clone(), roc_auc, pushed_at.clone(), pushed_by.clone(), stages.join(", ")]
    }
}

/// What `show` says.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Detail {
    #[serde(flatten)]
    row: Row,
    manifest: Value,
}

impl Detail {
    pub(super) fn of(model: &Model) -> Self {
        Self { row: Row::of(model), manifest: serde_json::from_str(&model.manifest).unwrap_or_default() }
    }

    pub(super) fn text(&self) -> String {
        let Self { row: Row { name, version, bytes, pushed_at, pushed_by, stages, .. }, manifest } = self;
        let training = &manifest["training"];
        let text = |key: &str| training[key].as_str().map_or_else(|| training[key].to_string(), str::to_owned);
        let mut lines = vec![
            format!("{name} {version}, {bytes} bytes, pushed {pushed_at} by {pushed_by}"),
            format!(
                "learned from {} records ({} labelled, {} positive) of {} to {}",
                text("records"),
                text("labelled"),
                text("positives"),
                text("from"),
                text("to")
            ),
        ];
        let metrics = training["metrics"].as_object().into_iter().flatten();
        lines.extend(metrics.filter_map(|(key, value)| Some(format!("  {key}: {}", value.as_f64()?))));
        let stage = |it: &StageRow| format!("{} of {} since revision {}", it.stage, it.pipeline, it.revision);
        lines.extend(stages.iter().map(stage));
        lines.join("\n")
    }
}

/// Who scores a pipeline.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Scores {
    pipeline: String,
    revision: u64,
    champion: Option<String>,
    shadows: Vec<String>,
}

impl Scores {
    pub(super) fn of(assignment: Assignment) -> Self {
        let Assignment { pipeline, revision, champion, shadows } = assignment;
        let whole = |model: &ModelRef| format!("{} {}", model.name, model.version);
        Self {
            pipeline,
            revision,
            champion: champion.as_ref().map(whole),
            shadows: shadows.iter().map(whole).collect(),
        }
    }

    pub(super) fn text(&self) -> String {
        let Self { pipeline, revision, champion, shadows } = self;
        let champion = champion.as_deref().unwrap_or("nobody");
        let beside = if shadows.is_empty() {
            String::new()
        } else {
            format!("; beside it, for comparison: {}", shadows.join(", "))
        };
        format!("pipeline {pipeline}, revision {revision}: scored by {champion}{beside}")
    }
}

/// A line of `history`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Line {
    revision: u64,
    at: String,
    model: String,
    from: &'static str,
    to: &'static str,
    before: Option<String>,
    conditions: Vec<String>,
    by: String,
    reason: String,
}

impl Line {
    pub(super) fn of(promotion: Promotion) -> Self {
        let Promotion { revision, model, from, to, before, conditions, by, reason, at } = promotion;
        Self {
            revision,
            at: time(at),
            model: short(&model.unwrap_or_default()),
            from: stage(from),
            to: stage(to),
            before: before.as_ref().map(short),
            conditions,
            by,
            reason,
        }
    }

    pub(super) fn cells(&self) -> Vec<String> {
        let Self { revision, at, model, from, to, before, by, reason, .. } = self;
        let to = before.as_ref().map_or_else(|| (*to).to_owned(), |before| format!("{to}, before {before}"));
        vec![revision.to_string(), at.clone(), model.clone(), (*from).to_owned(), to, by.clone(), reason.clone()]
    }
}
