//! The kinds of models that a bundle may hold. To what scores with them they are one: a row in, a margin and what each
//! feature added to it out.
//!
//! ```text
//!          trained here: gbdt, logistic ---+
//!   trained elsewhere: lightgbm, xgboost --+--explain(row)--> bias + contributions = margin
//!                       any network: onnx --+
//! ```
//!
//! Contributions are whole units of a kind's own [grid](Model::grid): their sum is exact in any order, so that bias and
//! contributions *are* the margin, of whichever kind the model is.

mod lightgbm;
mod logistic;
mod newton;
#[cfg(feature = "onnx")]
mod onnx;
mod onnx_settings;
mod trees;
#[cfg(not(feature = "onnx"))]
mod without_onnx;
mod xgboost;

use serde::{Deserialize, Serialize};

pub use logistic::{Coefficient, Logistic};
pub use newton::{Settings as LogisticSettings, fit as fit_logistic};
#[cfg(feature = "onnx")]
pub use onnx::Onnx;
pub use onnx_settings::{OnnxSettings, Output};
pub use trees::Trees;
#[cfg(not(feature = "onnx"))]
pub use without_onnx::Onnx;

use crate::gbdt::{self, Forest};

/// The grid of contributions of all kinds but `gbdt`: fine enough that a thousand rounded values are within 1e-8 of
/// their sum, coarse enough that margins of 100 000 are exact in an `f64`.
pub(crate) const FINE: f64 = 1.0 / (1_u64 << 36) as f64;

/// Beyond it no value of a model's may be: its sums would not be exact.
const BOUND: f64 = 65_536.0;

/// What a model is, by the word in a bundle's manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Gradient-boosted trees of our own trainer. Manifests without the word mean it.
    #[default]
    Gbdt,
    /// Weights of standardised features.
    Logistic,
    /// LightGBM's text format.
    Lightgbm,
    /// XGBoost's JSON.
    Xgboost,
    /// A network in the Open Neural Network Exchange's format.
    Onnx,
}

impl Kind {
    /// The word of manifests and command lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gbdt => "gbdt",
            Self::Logistic => "logistic",
            Self::Lightgbm => "lightgbm",
            Self::Xgboost => "xgboost",
            Self::Onnx => "onnx",
        }
    }

    /// How a file of this kind is called at its end.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Gbdt | Self::Logistic | Self::Xgboost => "json",
            Self::Lightgbm => "txt",
            Self::Onnx => "onnx",
        }
    }
}

/// A model that is ready to score.
#[derive(Debug)]
pub enum Model {
    /// Our own trees, laid out for speed.
    Gbdt {
        /// As it was trained.
        model: gbdt::Model,
        /// As it is walked.
        forest: Forest,
    },
    /// Weights of standardised features.
    Logistic(Logistic),
    /// Trees that others have grown, and the file that they came from.
    Trees {
        /// Which format the file has.
        kind: Kind,
        /// As they are walked.
        trees: Trees,
        /// The file, which a bundle keeps as it was.
        file: Vec<u8>,
    },
    /// A network.
    Onnx(Box<Onnx>),
}

impl From<gbdt::Model> for Model {
    fn from(model: gbdt::Model) -> Self {
        Self::Gbdt { forest: Forest::new(&model), model }
    }
}

impl From<Logistic> for Model {
    fn from(model: Logistic) -> Self {
        Self::Logistic(model)
    }
}

impl Model {
    /// Reads a model's file for rows of these features, and checks all of it. `onnx` is what a network's file does not
    /// say about itself.
    pub fn parse(kind: Kind, file: &[u8], features: &[String], onnx: Option<OnnxSettings>) -> Result<Self, String> {
        let json_error = |error: serde_json::Error| error.to_string();
        match kind {
            Kind::Gbdt => {
                let model: gbdt::Model = serde_json::from_slice(file).map_err(json_error)?;
                match model.problem() {
                    Some(problem) => return Err(problem),
                    None => same_count(model.features, features)?,
                }
                Ok(model.into())
            }
            Kind::Logistic => {
                let model: Logistic = serde_json::from_slice(file).map_err(json_error)?;
                model.check(features)?;
                Ok(model.into())
            }
            Kind::Lightgbm => {
                let text = std::str::from_utf8(file).map_err(|error| error.to_string())?;
                let trees = lightgbm::parse(text, features)?;
                Ok(Self::Trees { kind, trees, file: file.to_owned() })
            }
            Kind::Xgboost => {
                let trees = xgboost::parse(file, features)?;
                Ok(Self::Trees { kind, trees, file: file.to_owned() })
            }
            Kind::Onnx => {
                let settings = onnx.ok_or("nothing says what its output is and what stands in for missing values")?;
                Ok(Self::Onnx(Box::new(Onnx::new(file, settings, features.len())?)))
            }
        }
    }

    /// The file that [`parse`](Self::parse) makes this model from.
    pub(crate) fn file(&self) -> Vec<u8> {
        let json = |value: serde_json::Result<Vec<u8>>| value.expect("plain structs with string keys are JSON");
        match self {
            Self::Gbdt { model, .. } => json(serde_json::to_vec(model)),
            Self::Logistic(model) => json(serde_json::to_vec(model)),
            Self::Trees { file, .. } => file.clone(),
            Self::Onnx(onnx) => onnx.file().to_vec(),
        }
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Gbdt { .. } => Kind::Gbdt,
            Self::Logistic(_) => Kind::Logistic,
            Self::Trees { kind, .. } => *kind,
            Self::Onnx(_) => Kind::Onnx,
        }
    }

    /// How many features a row has.
    pub fn features(&self) -> usize {
        match self {
            Self::Gbdt { forest, .. } => forest.features(),
            Self::Logistic(model) => model.coefficients.len(),
            Self::Trees { trees, .. } => trees.features(),
            Self::Onnx(onnx) => onnx.features(),
        }
    }

    /// Our own trees, if it is of these.
    pub fn gbdt(&self) -> Option<&gbdt::Model> {
        if let Self::Gbdt { model, .. } = self { Some(model) } else { None }
    }

    /// How many trees; none where it has no such thing.
    pub fn trees(&self) -> usize {
        match self {
            Self::Gbdt { model, .. } => model.trees.len(),
            Self::Trees { trees, .. } => trees.len(),
            Self::Logistic(_) | Self::Onnx(_) => 0,
        }
    }

    /// The margin from which contributions are counted.
    pub fn bias(&self) -> f64 {
        match self {
            Self::Gbdt { forest, .. } => forest.bias(),
            Self::Logistic(model) => model.bias(),
            Self::Trees { trees, .. } => trees.bias(),
            Self::Onnx(onnx) => onnx.bias(),
        }
    }

    /// What one unit of a contribution is worth, in log-odds.
    pub fn grid(&self) -> f64 {
        if matches!(self, Self::Gbdt { .. }) { gbdt::GRID } else { FINE }
    }

    /// Whether every machine computes the same margin, to the last bit. A network's sums are in whatever order the
    /// processor does best.
    pub fn is_exact(&self) -> bool {
        !matches!(self, Self::Onnx(_))
    }

    /// The margin of a row, and what each feature added to the bias, in units of the [grid](Self::grid). Where these
    /// are not `wanted`, kinds that must work for them leave them out and `contributions` is empty.
    pub fn explain(&self, row: &[f32], wanted: bool, contributions: &mut Vec<i64>) -> f64 {
        match self {
            Self::Gbdt { forest, .. } => forest.explain(row, contributions),
            Self::Logistic(model) => model.explain(row, contributions),
            Self::Trees { trees, .. } => trees.explain(row, contributions),
            Self::Onnx(onnx) => onnx.explain(row, wanted, contributions),
        }
    }
}

/// The nearest whole number of the fine grid's units.
fn units(value: f64) -> i64 {
    (value / FINE).round() as i64
}

/// Whether a number is not further from zero; what is no number is not.
pub(crate) fn within(value: f64, bound: f64) -> bool {
    value.abs() <= bound
}

fn same_count(found: usize, features: &[String]) -> Result<(), String> {
    if found == features.len() {
        return Ok(());
    }
    Err(format!("made for {found} features, and there are {}", features.len()))
}

/// Whether a model's own names for its features are those of the document, in the same order.
fn same_names<'a>(found: impl ExactSizeIterator<Item = &'a str>, features: &[String]) -> Result<(), String> {
    same_count(found.len(), features)?;
    match found.zip(features).enumerate().find(|(_, (found, name))| found != name) {
        None => Ok(()),
        Some((i, (found, name))) => {
            Err(format!("feature {i} is `{found}` in the model and `{name}` in the document: both must have one order"))
        }
    }
}

#[cfg(test)]
mod tests;
