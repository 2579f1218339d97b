use serde::{Deserialize, Serialize};

/// How trees are grown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Trees at most.
    pub rounds: usize,
    /// Leaves of a tree at most, up to 4096.
    pub leaves: usize,
    /// What part of a tree's step is taken.
    pub shrinkage: f64,
    /// L2 penalty on leaf values.
    pub l2: f64,
    /// The least sum of second derivatives in a leaf.
    pub min_child_weight: f64,
    /// The least number of rows in a leaf.
    pub min_child_rows: usize,
    /// The share of rows that each tree sees.
    pub row_share: f64,
    /// The share of features that each tree may use.
    pub feature_share: f64,
    /// Bins of a feature at most, up to 255.
    pub bins: usize,
    /// Rounds without improvement on the later part after which training stops.
    pub patience: usize,
    /// Training is a function of this and of the data.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rounds: 100,
            leaves: 31,
            shrinkage: 0.1,
            l2: 1.0,
            min_child_weight: 1.0,
            min_child_rows: 5,
            row_share: 0.8,
            feature_share: 0.3,
            bins: 255,
            patience: 50,
            seed: 1,
        }
    }
}
