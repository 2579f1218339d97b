//! Scores: features as data, models of several kinds, reasons. Pure: no sockets and no clock.
//!
//! ```text
//! Document + labelled records --train--> Bundle (a folder: model, features, calibration, baselines, reference, rows,
//!  (+ a model from elsewhere  --wrap)      |      thresholds, manifest)
//!                                           |
//! event bytes --Plan (one per writer schema)+--> slots --Program--> row --Model---> margin + contributions
//!                                                                                     |            |
//!                                                                       Calibration --+            +--> reasons
//!                                                                           probability
//! ```
//!
//! A plan is compiled once per writer's schema and scores without allocating, long texts that are counted by apart. The
//! bias and the contributions of all features sum to the margin, to the last bit. How fast: `cargo bench --bench score`.

pub mod baselines;
pub mod bundle;
pub mod calibration;
pub mod drift;
pub mod features;
pub mod gbdt;
pub mod metrics;
pub mod model;
pub mod reference;
pub mod thresholds;
pub mod train;

mod error;
mod hash;
mod plan;

pub use baselines::Baselines;
pub use bundle::{Bundle, Manifest};
pub use error::{Error, Result};
pub use model::Model;
pub use plan::{Plan, Reason, Score, Scratch};
