//! `millrace-scorer train`: labelled Avro files in, a model bundle out. No services are needed.

mod labelled;

use anyhow::Context;
use millrace_scoring::{
    gbdt,
    model::LogisticSettings,
    train::{Learner, Settings, train},
};

use labelled::share;
pub(crate) use labelled::{Labelled, word};

/// Makes a model bundle from labelled records, split by time.
#[derive(Debug, clap::Args)]
pub struct Train {
    #[command(flatten)]
    labelled: Labelled,
    /// What learns: gbdt, or logistic.
    #[arg(long, value_name = "KIND", default_value = "gbdt", value_parser = word::<Learner>, help_heading = "Training")]
    kind: Learner,
    /// The share of labelled records, the earliest, that is only counted: to them everything is new.
    #[arg(long, value_name = "SHARE", default_value_t = Settings::default().warm_up, value_parser = share, help_heading = "Training")]
    warm_up: f64,
    /// Keep the model of the earlier part, and do not fit it once more to all records.
    #[arg(long, help_heading = "Training")]
    no_refit: bool,
    #[command(flatten)]
    trees: TreeArgs,
    /// Of logistic regression: the penalty on the squares of its weights.
    #[arg(long, value_name = "N", default_value_t = LogisticSettings::default().l2, help_heading = "Training")]
    l2: f64,
}

/// How trees are grown.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Trees")]
struct TreeArgs {
    /// Trees at most.
    #[arg(long, value_name = "N", default_value_t = gbdt::Settings::default().rounds)]
    rounds: usize,
    /// Leaves of a tree at most.
    #[arg(long, value_name = "N", default_value_t = gbdt::Settings::default().leaves)]
    leaves: usize,
    /// What part of a tree's step is taken.
    #[arg(long, value_name = "SHARE", default_value_t = gbdt::Settings::default().shrinkage, value_parser = share)]
    shrinkage: f64,
    /// The same seed, settings and records give the same bundle.
    #[arg(long, value_name = "N", default_value_t = gbdt::Settings::default().seed)]
    seed: u64,
}

impl Train {
    /// Trains, saves, and prints what came of it.
    pub fn run(self) -> anyhow::Result<()> {
        let Self { labelled, kind, warm_up, no_refit, trees, l2 } = self;
        let ready = labelled.read()?;
        let settings = Settings {
            learner: kind,
            warm_up,
            refit: !no_refit,
            trees: trees.settings(),
            logistic: LogisticSettings { l2, ..LogisticSettings::default() },
            ..ready.settings.clone()
        };
        let bundle = train(&settings, &ready.features, &ready.corpus).context("train")?;
        ready.save(&bundle)
    }
}

impl TreeArgs {
    fn settings(self) -> gbdt::Settings {
        let Self { rounds, leaves, shrinkage, seed } = self;
        gbdt::Settings { rounds, leaves, shrinkage, seed, ..gbdt::Settings::default() }
    }
}
