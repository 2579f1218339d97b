//! From labelled records to a bundle, in the order of time.
//!
//! ```text
//! records --sort by event time--> | warm-up: counted only | earlier: rows | later: rows, baselines stand still |
//!                                                               |              |  \-- ends training, calibration,
//!                                                               +--> model ----+      metrics, reference, thresholds
//!                        then, when asked: the model once more over both, baselines of everything
//! ```
//!
//! A row knows only what happened before its record: counters grow along with time, and records of one instant do not
//! see each other. Split at random, the same model would flatter itself. A model from elsewhere takes the same course
//! without the learning ([`wrap`]).

mod corpus;
mod judge;
mod rows;
mod timeline;
mod wrap;

use serde::{Deserialize, Serialize};

pub use corpus::{Corpus, Labels, Window, Writer};
pub use wrap::{Foreign, wrap};

use crate::{
    Bundle, Error, Result,
    bundle::{Parts, Training},
    calibration::Method,
    features::{Document, Program},
    gbdt,
    model::{self, Model},
    thresholds,
};
use judge::Judged;
use rows::{Past, Rows};
use timeline::Timeline;

/// What learns from rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Learner {
    /// Gradient-boosted trees.
    #[default]
    Gbdt,
    /// Logistic regression: less is learned, and what was is read at a glance.
    Logistic,
}

/// How a bundle is made. The same settings, features and records give the same bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The model's name, as pipelines have it.
    pub name: String,
    /// What learns.
    pub learner: Learner,
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
    /// How weights are found, where these are what is learned.
    pub logistic: model::LogisticSettings,
    /// How margins become probabilities.
    pub calibration: Method,
    /// Which thresholds the bundle has.
    pub thresholds: thresholds::Settings,
    /// How many events the bundle carries with it, with what they must score.
    pub reference_rows: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "model".to_owned(),
            learner: Learner::default(),
            valid_fraction: 0.2,
            warm_up: 0.0,
            refit: true,
            baseline_keys: 100_000,
            trees: gbdt::Settings::default(),
            logistic: model::LogisticSettings::default(),
            calibration: Method::default(),
            thresholds: thresholds::Settings::default(),
            reference_rows: 64,
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
    let fitted = settings.fit(program.names(), &earlier, Some(&later));
    let judged = Judged::of(settings, &fitted, &later, &past, split)?;
    let model = if settings.refit {
        let all = earlier.followed_by(&past.rows(split..timeline.len())?);
        settings.with_rounds(fitted.trees()).fit(program.names(), &all, None)
    } else {
        past.pass(split..timeline.len())?;
        fitted
    };
    bundle(settings, document, corpus, past, (model, judged, split))
}

/// Puts together what was found. The baselines have seen everything by now.
fn bundle(
    settings: &Settings,
    document: &Document,
    corpus: &Corpus,
    past: Past<'_>,
    (model, judged, split): (Model, Judged, usize),
) -> Result<Bundle> {
    let timeline = past.timeline();
    let mut baselines = past.into_baselines();
    baselines.keep(settings.baseline_keys);
    let Judged { calibration, metrics, reference, thresholds } = judged;
    let training = Training {
        trees: model.trees(),
        baseline_keys: baselines.len(),
        metrics,
        settings: serde_json::to_value(settings).unwrap_or_default(),
        ..timeline.describe(split)
    };
    let (name, schema, document) = (settings.name.clone(), corpus.schema().clone(), document.clone());
    let parts = Parts { name, document, schema, model, calibration, baselines, reference, thresholds, training };
    let events: Vec<(usize, &[u8])> =
        timeline.sample(split, settings.reference_rows).map(|record| (record.writer, &*record.datum)).collect();
    let bundle = Bundle::assemble(parts)?;
    if events.is_empty() { Ok(bundle) } else { bundle.with_rows(&corpus.writers(), &events) }
}

impl Settings {
    fn fit(&self, names: &[String], rows: &Rows, later: Option<&Rows>) -> Model {
        match self.learner {
            Learner::Gbdt => {
                let later = later.map(|later| (&later.matrix, &*later.labels));
                gbdt::fit(&rows.matrix, &rows.labels, later, &self.trees).model.into()
            }
            Learner::Logistic => model::fit_logistic(names, &rows.matrix, &rows.labels, &self.logistic).into(),
        }
    }

    fn with_rounds(&self, rounds: usize) -> Self {
        Self { trees: gbdt::Settings { rounds, ..self.trees.clone() }, ..self.clone() }
    }
}

#[cfg(test)]
mod tests;
