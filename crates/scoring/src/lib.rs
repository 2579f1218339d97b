//! Scores: features as data, gradient-boosted trees, reasons. Pure: no sockets and no clock.
//!
//! ```text
//! Document + labelled records --train--> Bundle (a folder: model, features, calibration, baselines, reference, manifest)
//!                                           |
//! event bytes --Plan (one per writer schema)+--> slots --Program--> row --Forest--> margin + contributions
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
