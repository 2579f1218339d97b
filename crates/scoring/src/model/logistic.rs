use serde::{Deserialize, Serialize};

use super::{BOUND, FINE, same_names, units, within};

/// What one feature says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coefficient {
    /// Its name in the document of features.
    pub feature: String,
    /// Log-odds for each standard deviation above the mean.
    pub weight: f64,
    /// Where it adds nothing.
    pub mean: f64,
    /// Above zero: what counts as one.
    pub scale: f64,
    /// What stands in for a missing value.
    pub impute: f64,
}

/// Logistic regression: the margin is the intercept and `weight * (x - mean) / scale` of each feature, which is what that
/// feature contributes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logistic {
    /// The margin of a row of means.
    pub intercept: f64,
    /// By feature, in the order of the document.
    pub coefficients: Vec<Coefficient>,
}

impl Logistic {
    /// Whether it may be used for rows of these features: it may come from a file.
    pub(super) fn check(&self, features: &[String]) -> Result<(), String> {
        same_names(self.coefficients.iter().map(|coefficient| coefficient.feature.as_str()), features)?;
        if !within(self.intercept, BOUND) {
            return Err(format!("its intercept is {}", self.intercept));
        }
        for (i, coefficient) in self.coefficients.iter().enumerate() {
            let Coefficient { feature, weight, mean, scale, impute } = coefficient;
            let finite = [weight, mean, impute, scale].into_iter().all(|number| number.is_finite());
            if !finite || *scale <= 0.0 {
                return Err(format!("coefficients[{i}] of `{feature}` has a number that cannot be used"));
            }
        }
        Ok(())
    }

    pub(super) fn bias(&self) -> f64 {
        units(self.intercept) as f64 * FINE
    }

    /// The margin of a row, and what each feature added to the intercept.
    pub(super) fn explain(&self, row: &[f32], contributions: &mut Vec<i64>) -> f64 {
        assert_eq!(row.len(), self.coefficients.len(), "a row has a value for each feature");
        contributions.clear();
        contributions.extend(self.coefficients.iter().zip(row).map(|(coefficient, x)| {
            let Coefficient { weight, mean, scale, impute, .. } = coefficient;
            let x = if x.is_nan() { *impute } else { f64::from(*x) };
            units(((x - mean) / scale * weight).clamp(-BOUND, BOUND))
        }));
        (units(self.intercept) + contributions.iter().sum::<i64>()) as f64 * FINE
    }
}
