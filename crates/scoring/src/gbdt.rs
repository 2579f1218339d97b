//! Gradient-boosted trees: a histogram trainer and a forest that is laid out for speed.
//!
//! ```text
//! Matrix --Bins--> one byte per value --grow (leaf-wise, best first)--> Tree --> Model --compile--> Forest
//!                                          ^ gradients of the logistic loss       |                  |
//!                                          +------- margins <---------------------+     margin + contributions
//! ```
//!
//! All node values lie on a [grid](GRID): their sums are exact in any order, so that contributions plus bias *are* the
//! margin and not nearly so.

mod bins;
mod forest;
mod grow;
mod histogram;
mod matrix;
mod model;
mod random;
mod settings;
mod trainer;

pub use forest::Forest;
pub use matrix::Matrix;
pub use model::{GRID, Model, Node, Split, Tree};
pub use settings::Settings;
pub use trainer::{Trained, fit};

/// The probability of a margin.
pub fn sigmoid(margin: f64) -> f64 {
    1.0 / (1.0 + (-margin).exp())
}
