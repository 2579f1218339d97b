//! Where models come from: the command line.

use std::{path::PathBuf, sync::Arc};

use clap::ValueEnum;
use millrace_core::{Pipeline, pipeline::Scoring};
use millrace_proto::registry::v1::model_service_client::ModelServiceClient;
use millrace_runtime::ConfigError;
use millrace_schema::client;
use tonic::transport::Channel;

use super::{Model, cache::Cache, folder::Folder, forbidden_fields, load};

/// Where the models are that score.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Models")]
pub(crate) struct Args {
    /// What says which bundle scores: a folder, or the registry (its --registry-grpc), where models are promoted and rolled back.
    #[arg(long, env = "MILLRACE_MODELS_FROM", value_enum, default_value_t = From::Folder)]
    models_from: From,
    /// The folder of the model bundles: DIR/<model>/ is one. Of --models-from folder.
    #[arg(long, env = "MILLRACE_MODELS", value_name = "DIR")]
    models: Option<PathBuf>,
    /// Where bundles of the registry are kept, so that a start needs neither to fetch them nor the registry. Of --models-from
    /// registry.
    #[arg(long, env = "MILLRACE_MODEL_CACHE", value_name = "DIR")]
    model_cache: Option<PathBuf>,
}

/// What says which bundle scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum From {
    /// A folder for each model.
    Folder,
    /// The champion of each pipeline, as the registry has it.
    Registry,
}

/// Where models come from, checked.
#[derive(Clone)]
pub(crate) enum Source {
    Folder(PathBuf),
    Registry { client: ModelServiceClient<Channel>, cache: Cache },
}

/// How a pipeline's model is to be kept up to date.
pub(crate) enum Upkeep {
    Folder(Folder),
    Registry { client: ModelServiceClient<Channel>, cache: Cache, never: Vec<millrace_schema::FieldPath> },
}

impl Args {
    /// What they ask for. Called within the runtime.
    pub(crate) fn source(self, registry: &client::Args) -> Result<Source, ConfigError> {
        let Self { models_from, models, model_cache } = self;
        let missing =
            |flag: &str, from: &str| ConfigError::new(format!("{flag} is missing: --models-from {from} needs it"));
        match models_from {
            From::Folder => Ok(Source::Folder(models.ok_or_else(|| missing("--models", "folder"))?)),
            From::Registry => {
                let endpoint = registry.endpoint().map_err(|error| ConfigError::new(error.to_string()))?;
                let endpoint = endpoint.ok_or_else(|| missing("--registry-grpc", "registry"))?;
                let cache = Cache::create(&model_cache.ok_or_else(|| missing("--model-cache", "registry"))?)?;
                Ok(Source::Registry { client: ModelServiceClient::new(endpoint.connect_lazy()), cache })
            }
        }
    }
}

impl Source {
    /// The model of a pipeline: loaded, or to come.
    pub(crate) fn model(&self, pipeline: &Pipeline, scoring: &Scoring) -> Result<(Arc<Model>, Upkeep), ConfigError> {
        let Scoring { model, never, .. } = scoring;
        let named = |error: ConfigError| ConfigError::new(format!("pipeline {}: {error}", pipeline.name()));
        let never = forbidden_fields(never).map_err(named)?;
        Ok(match self {
            Self::Folder(models) => {
                let bundle = load(models, model, &never).map_err(named)?;
                let upkeep = Folder { dir: models.join(model), never };
                (Arc::new(Model::fixed(bundle)), Upkeep::Folder(upkeep))
            }
            Self::Registry { client, cache } => {
                let upkeep = Upkeep::Registry { client: client.clone(), cache: cache.clone(), never };
                (Arc::new(Model::followed()), upkeep)
            }
        })
    }
}
