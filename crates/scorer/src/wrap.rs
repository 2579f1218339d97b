//! `millrace-scorer wrap`: a model that was trained elsewhere in, a model bundle out.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::Context;
use millrace_scoring::{
    model::{Kind, Output},
    train::{Foreign, wrap},
};

use crate::train::{Labelled, word};

/// Makes a bundle around a model that was trained elsewhere: LightGBM's text, XGBoost's JSON, ONNX, or weights as JSON.
///
/// Baselines are counted from the labelled records; the later part of these sets the calibration and is measured on.
#[derive(Debug, clap::Args)]
pub struct Wrap {
    #[command(flatten)]
    labelled: Labelled,
    /// The model's file. It must be of the document's features, in their order.
    #[arg(long, value_name = "FILE", help_heading = "Model")]
    model: PathBuf,
    /// What it is: lightgbm, xgboost, onnx or logistic.
    #[arg(long, value_name = "KIND", value_parser = word::<Kind>, help_heading = "Model")]
    kind: Kind,
    /// Of a network: what it gives, a probability or a logit.
    #[arg(long, value_name = "WHAT", default_value = "probability", value_parser = word::<Output>, help_heading = "Model")]
    output: Output,
    /// Of a network: the name of its output, where there are several.
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    output_name: Option<String>,
    /// Of a network: which value of a row's output; of classes 0 and 1 the positive one is 1.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Model")]
    output_column: usize,
    /// Of a network: what stands in for missing values, as a JSON object by feature; of the others their mean.
    #[arg(long, value_name = "FILE", help_heading = "Model")]
    impute: Option<PathBuf>,
}

impl Wrap {
    /// Wraps, saves, and prints what came of it.
    pub fn run(self) -> anyhow::Result<()> {
        let Self { labelled, model, kind, output, output_name, output_column: column, impute } = self;
        let file = std::fs::read(&model).with_context(|| format!("read {}", model.display()))?;
        let impute = match &impute {
            Some(path) => {
                let text = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
                serde_json::from_slice(&text).with_context(|| format!("read {}", path.display()))?
            }
            None => BTreeMap::new(),
        };
        let ready = labelled.read()?;
        let foreign = Foreign { kind, file, output, output_name, column, impute };
        let bundle = wrap(&ready.settings, &ready.features, &ready.corpus, &foreign)
            .with_context(|| format!("wrap {}", model.display()))?;
        ready.save(&bundle)
    }
}
