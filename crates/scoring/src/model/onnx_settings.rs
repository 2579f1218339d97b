use serde::{Deserialize, Serialize};

/// What a network gives for a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// From 0 to 1.
    #[default]
    Probability,
    /// Log-odds.
    Logit,
}

/// What a network's file does not say about itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnnxSettings {
    /// What it gives.
    pub output: Output,
    /// The name of the output, where there are several; else the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which of a row's values of that output; of classes 0 and 1 the positive one is 1.
    #[serde(default)]
    pub column: usize,
    /// What stands in for missing values, by feature.
    pub impute: Vec<f32>,
    /// The row from which contributions are counted, by feature.
    pub reference: Vec<f32>,
}

impl OnnxSettings {
    pub(crate) fn check(&self, features: usize) -> Result<(), String> {
        for (name, list) in [("impute", &self.impute), ("reference", &self.reference)] {
            if list.len() != features || list.iter().any(|x| !x.is_finite()) {
                return Err(format!("`{name}` must have a number for each of {features} features"));
            }
        }
        Ok(())
    }
}
