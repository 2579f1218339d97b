//! `millrace model`.

mod bundle;
mod compare;
mod view;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Subcommand, ValueEnum};
use millrace_proto::registry::v1::{
    Assignment, GetAssignmentRequest, ListModelsRequest, ListPromotionsRequest, Model, ModelRef, PromoteModelRequest,
    RollbackModelRequest, Stage, model_service_client::ModelServiceClient,
};
use tonic::transport::Channel;

use crate::{
    Output,
    connect::{anonymous, answer},
};

/// What to do with models.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List versions, newest first, with what they are to which pipeline.
    List(List),
    /// Show one version: how it was trained, its metrics, its stages.
    Show(Show),
    /// Store a bundle, as `millrace-scorer train` makes it.
    Push(Push),
    /// Get a bundle, into a folder.
    Pull(Pull),
    /// Give a version another stage in a pipeline: candidate, shadow, champion or retired.
    Promote(Promote),
    /// Make the champion before the present one the champion again.
    Rollback(Rollback),
    /// Compare the metrics of two versions, or of one and a pipeline's champion.
    Compare(Compare),
    /// Show what was done to a pipeline's models, by whom and why.
    History(History),
}

/// The registry of models.
#[derive(Debug, clap::Args)]
pub(crate) struct Registry {
    /// The registry's gRPC address.
    #[arg(long, env = "MILLRACE_REGISTRY_GRPC", value_name = "ADDRESS")]
    registry_grpc: String,
}

/// Who does it, and why: both are kept.
#[derive(Debug, clap::Args)]
pub(crate) struct Trail {
    /// Who does it.
    #[arg(long, env = "USER", value_name = "NAME", default_value = "unknown")]
    by: String,
    /// Why.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Only if the pipeline is still at this revision.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    if_revision: u64,
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    registry: Registry,
    /// Only of this name.
    #[arg(default_value = "", hide_default_value = true)]
    name: String,
    /// Only those that have a stage in this pipeline.
    #[arg(long, default_value = "", hide_default_value = true)]
    pipeline: String,
}

/// A version by its name and the first digits of its version.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// The model's name.
    name: String,
    /// Its version, or the first digits of it.
    version: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    #[command(flatten)]
    registry: Registry,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Push {
    #[command(flatten)]
    registry: Registry,
    /// The bundle's folder.
    #[arg(value_name = "DIR")]
    bundle: PathBuf,
    /// Who does it.
    #[arg(long, env = "USER", value_name = "NAME", default_value = "unknown")]
    by: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Pull {
    #[command(flatten)]
    registry: Registry,
    #[command(flatten)]
    which: Which,
    /// The folder; a bundle that is there is replaced, at once and whole.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// What a version can be to a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum To {
    Candidate,
    Shadow,
    Champion,
    Retired,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Promote {
    #[command(flatten)]
    registry: Registry,
    #[command(flatten)]
    which: Which,
    /// The pipeline.
    #[arg(long)]
    pipeline: String,
    /// What it is to be there.
    #[arg(long, value_enum, default_value_t = To::Champion)]
    to: To,
    /// Only if this is so of the metrics: `roc_auc >= 0.95`, `log_loss <= champion + 0.01`. May be repeated.
    #[arg(long = "if", value_name = "CONDITION")]
    conditions: Vec<String>,
    #[command(flatten)]
    trail: Trail,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Rollback {
    #[command(flatten)]
    registry: Registry,
    /// The pipeline.
    #[arg(long)]
    pipeline: String,
    #[command(flatten)]
    trail: Trail,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Compare {
    #[command(flatten)]
    registry: Registry,
    #[command(flatten)]
    which: Which,
    /// The other version, or the first digits of it.
    #[arg(required_unless_present = "pipeline")]
    other: Option<String>,
    /// In place of another version: this pipeline's champion.
    #[arg(long, conflicts_with = "other")]
    pipeline: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct History {
    #[command(flatten)]
    registry: Registry,
    /// The pipeline.
    pipeline: String,
    /// At most so many, the newest.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,
}

type Client = ModelServiceClient<Channel>;

impl Registry {
    fn client(&self) -> anyhow::Result<Client> {
        Ok(ModelServiceClient::new(anonymous(&self.registry_grpc)?))
    }
}

impl Which {
    /// The one version that it means.
    async fn find(&self, client: &mut Client) -> anyhow::Result<Model> {
        let Self { name, version } = self;
        let request = ListModelsRequest { name: name.clone(), pipeline: String::new() };
        let known = answer(client.list_models(request).await)?.models;
        if known.is_empty() {
            bail!("there is no model {name}; `millrace model list` shows those that there are");
        }
        let mut found: Vec<Model> =
            known.into_iter().filter(|model| view::id(model).version.starts_with(version)).collect();
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => bail!("model {name} has no version {version}; `millrace model list {name}` shows them"),
            more => bail!("{more} versions of model {name} begin with {version}: give more of its digits"),
        }
    }
}

impl Command {
    pub(crate) async fn run(self, output: Output) -> anyhow::Result<()> {
        match self {
            Self::List(args) => args.run(output).await,
            Self::Show(args) => args.run(output).await,
            Self::Push(args) => args.run(output).await,
            Self::Pull(args) => args.run(output).await,
            Self::Promote(args) => args.run(output).await,
            Self::Rollback(args) => args.run(output).await,
            Self::Compare(args) => args.run(output).await,
            Self::History(args) => args.run(output).await,
        }
    }
}

impl List {
    async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { registry, name, pipeline } = self;
        let models = answer(registry.client()?.list_models(ListModelsRequest { name, pipeline }).await)?.models;
        let rows: Vec<view::Row> = models.iter().map(view::Row::of).collect();
        output.rows(&rows, &["NAME", "VERSION", "ROC-AUC", "PUSHED", "BY", "STAGES"], view::Row::cells)
    }
}

impl Show {
    async fn run(self, output: Output) -> anyhow::Result<()> {
        let model = self.which.find(&mut self.registry.client()?).await?;
        output.value(&view::Detail::of(&model), view::Detail::text)
    }
}

impl Push {
    async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { registry, bundle: folder, by } = self;
        let pushed = bundle::push(&mut registry.client()?, &folder, by).await?;
        output.value(&pushed, |it| {
            let said = if it.known { "is there already" } else { "pushed" };
            format!("{} {} {said}", it.name, it.version)
        })
    }
}

impl Pull {
    async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { registry, which, out } = self;
        let mut client = registry.client()?;
        let model = view::id(&which.find(&mut client).await?);
        bundle::pull(&mut client, &model, &out).await?;
        output.value(&serde_json::json!({"name": model.name, "version": model.version, "out": out}), |_| {
            format!("{} {} in {}", model.name, model.version, out.display())
        })
    }
}

impl Promote {
    async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { registry, which, pipeline, to, conditions, trail } = self;
        let mut client = registry.client()?;
        let model = view::id(&which.find(&mut client).await?);
        let stage = match to {
            To::Candidate => Stage::Candidate,
            To::Shadow => Stage::Shadow,
            To::Champion => Stage::Champion,
            To::Retired => Stage::Retired,
        };
        let Trail { by, reason, if_revision } = trail;
        let request = PromoteModelRequest {
            pipeline,
            model: Some(model),
            stage: stage.into(),
            conditions,
            if_revision,
            by,
            reason,
        };
        said(output, answer(client.promote_model(request).await)?.assignment)
    }
}

impl Rollback {
    async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { registry, pipeline, trail: Trail { by, reason, if_revision } } = self;
        let request = RollbackModelRequest { pipeline, if_revision, by, reason };
        said(output, answer(registry.client()?.rollback_model(request).await)?.assignment)
    }
}

impl Compare {
    async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { registry, which, other, pipeline } = self;
        let mut client = registry.client()?;
        let one = which.find(&mut client).await?;
        let other = match (other, pipeline) {
            (Some(version), _) => Which { name: which.name, version },
            (None, Some(pipeline)) => champion(&mut client, pipeline).await?,
            (None, None) => bail!("expected another version, or --pipeline"),
        };
        let other = other.find(&mut client).await?;
        let rows = compare::rows(&one.manifest, &other.manifest)?;
        let [one, other] = [&one, &other].map(|model| view::short(&view::id(model)));
        output.rows(&rows, &["METRIC", &one, &other, "DIFFERENCE"], compare::Row::cells)
    }
}

impl History {
    async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { registry, pipeline, limit } = self;
        let request = ListPromotionsRequest { pipeline, limit };
        let promotions = answer(registry.client()?.list_promotions(request).await)?.promotions;
        let rows: Vec<view::Line> = promotions.into_iter().map(view::Line::of).collect();
        output.rows(&rows, &["REVISION", "AT", "MODEL", "FROM", "TO", "BY", "REASON"], view::Line::cells)
    }
}

async fn champion(client: &mut Client, pipeline: String) -> anyhow::Result<Which> {
    let said = answer(client.get_assignment(GetAssignmentRequest { pipeline: pipeline.clone() }).await)?.assignment;
    let champion = said.and_then(|assignment| assignment.champion);
    let ModelRef { name, version } = champion.with_context(|| format!("pipeline {pipeline} has no champion yet"))?;
    Ok(Which { name, version })
}

fn said(output: Output, assignment: Option<Assignment>) -> anyhow::Result<()> {
    let assignment = view::Scores::of(assignment.context("the registry gave no answer")?);
    output.value(&assignment, view::Scores::text)
}
