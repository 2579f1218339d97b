//! From labelled records to a bundle, in the order of time.
//!
//! ```text
//! records --sort by event time--> | warm-up: counted only | earlier: rows | later: rows, baselines stand still |
//!                                                               |              |  \-- ends training, calibration,
//!                                                               +--> trees ----+      metrics, reference
//!                        then, when asked: trees once more over both, baselines of everything
//! ```
//!
//! A row knows only what happened before its record: counters grow along with time, and records of one instant do not
//! see each other. Split at random, the same model would flatter itself.

mod corpus;
mod rows;
mod timeline;

use serde::{Deserialize, Serialize};

pub use corpus::{Corpus, Labels, Window, Writer};

use crate::{
    Bundle, Error, Result,
    bundle::{Parts, Training},
    calibration::{Calibration, Method},
    features::{Document, Program},
    gbdt::{self, Forest, Matrix, Model},
    metrics::Metrics,
    reference::Reference,
};
use rows::{Past, Rows};
use timeline::Timeline;

/// How a bundle is made. The same settings, features and records give the same bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The model's name, as pipelines have it.
    pub name: String,
    /// The share of labelled records, the latest ones, that trees are not fitted to at first.
    pub valid_fraction: f64,
    /// The share of labelled records, the earliest ones, that are counted and make no row: to them everything is new.
    pub warm_up: f64,
    /// Whether trees are fitted once more to all rows, with the number of rounds that served the later ones best.
    pub refit: bool,
    /// Keys that a table of baselines keeps at most: those seen most.
    pub baseline_keys: usize,
    /// How trees are grown.
    pub trees: gbdt::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "model".to_owned(),
            valid_fraction: 0.2,
            warm_up: 0.0,
            refit: true,
            baseline_keys: 100_000,
            trees: gbdt::Settings::default(),
        }
    }
}

/// Trains a bundle. The document must have been [checked](crate::features::check) against the corpus's schema.
pub fn train(settings: &Settings, document: &Document, corpus: &Corpus) -> Result<Bundle> {
    let program = Program::compile(document, corpus.schema())?;
    let timeline = Timeline::of(corpus);
    let (warm, split) = timeline.cuts(settings.warm_up, settings.valid_fraction)?;
    let mut past = Past::new(&program, corpus, &timeline)?;
    past.pass(0..warm)?;
    let earlier = past.rows(warm..split)?;
    let later = past.rows_standing_still(split..timeline.len())?;
    if !earlier.has_both_labels() || !later.has_both_labels() {
        let message = "records of both labels are needed before and after the split by time";
        return Err(Error::Training(message.to_owned()));
    }
    let fitted = gbdt::fit(&earlier.matrix, &earlier.labels, Some((&later.matrix, &later.labels)), &settings.trees);
    let margins = margins(&fitted.model, &later.matrix);
    let calibration = Calibration::fit(Method::Platt, &margins, &later.labels);
    let probabilities: Vec<f64> = margins.iter().map(|margin| calibration.probability(*margin)).collect();
    let metrics = Metrics::of(&probabilities, &later.labels);
    let reference = Reference::of(&later.matrix, &probabilities);

    let model = if settings.refit {
        let all = earlier.followed_by(&past.rows(split..timeline.len())?);
        once_more(&all, fitted.model.trees.len(), &settings.trees)
    } else {
        past.pass(split..timeline.len())?;
        fitted.model
    };
    let mut baselines = past.into_baselines();
    baselines.keep(settings.baseline_keys);
    let training = Training {
        trees: model.trees.len(),
        baseline_keys: baselines.len(),
        metrics,
        settings: serde_json::to_value(settings).unwrap_or_default(),
        ..timeline.describe(split)
    };
    let (name, schema) = (settings.name.clone(), corpus.schema().clone());
    let document = document.clone();
    Bundle::assemble(Parts { name, document, schema, model, calibration, baselines, reference, training })
}

fn once_more(rows: &Rows, rounds: usize, settings: &gbdt::Settings) -> Model {
    let settings = gbdt::Settings { rounds, ..settings.clone() };
    gbdt::fit(&rows.matrix, &rows.labels, None, &settings).model
}

fn margins(model: &Model, rows: &Matrix) -> Vec<f64> {
    let forest = Forest::new(model);
    let (mut row, mut contributions) = (Vec::new(), Vec::new());
    let margin = |i| {
        rows.read(i, &mut row);
        forest.explain(&row, &mut contributions)
    };
    (0..rows.rows()).map(margin).collect()
}

#[cfg(test)]
mod tests;
