//! From margins to probabilities.

use serde::{Deserialize, Serialize};

use crate::gbdt::sigmoid;

/// Platt's calibration: `p = sigmoid(slope * margin + offset)`, fitted on rows that the model was not.
///
/// Not isotonic: that makes plateaus, on which a policy's threshold cannot tell events apart and order is lost, and it
/// needs far more rows at the ends, where thresholds are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Above zero: calibration never turns the order round.
    pub slope: f64,
    /// In log-odds.
    pub offset: f64,
}

/// As the margin says.
impl Default for Calibration {
    fn default() -> Self {
        Self { slope: 1.0, offset: 0.0 }
    }
}

impl Calibration {
    /// The probability of a margin.
    pub fn probability(&self, margin: f64) -> f64 {
        sigmoid(self.slope * margin + self.offset)
    }

    /// Whether it may be used: it may come from a file.
    pub fn is_sound(&self) -> bool {
        self.slope > 0.0 && self.slope.is_finite() && self.offset.is_finite()
    }

    /// Fits by Newton's method with halved steps, as Lin, Lin and Weng (2007) describe it; labels are drawn a little
    /// towards the middle, so that few rows never promise certainty. Without both kinds of labels there is nothing to
    /// fit, and margins stay as they are.
    pub fn fit(margins: &[f64], labels: &[bool]) -> Self {
        let positives = labels.iter().filter(|label| **label).count() as f64;
        let negatives = labels.len() as f64 - positives;
        if positives == 0.0 || negatives == 0.0 {
            return Self::default();
        }
        let (high, low) = ((positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0));
        let rows: Vec<(f64, f64)> =
            margins.iter().zip(labels).map(|(margin, label)| (*margin, if *label { high } else { low })).collect();
        let mut fit = Self { slope: 1.0, offset: 0.0 };
        let mut loss = fit.loss(&rows);
        for _ in 0..100 {
            let Some((next, better)) = fit.step(&rows, loss) else { break };
            let gained = loss - better;
            (fit, loss) = (next, better);
            if gained < 1e-10 * loss.abs() {
                break;
            }
        }
        if fit.is_sound() { fit } else { Self::default() }
    }

    /// A step that lowers the loss, if there is one.
    fn step(self, rows: &[(f64, f64)], loss: f64) -> Option<(Self, f64)> {
        let (mut h11, mut h22, mut h21, mut g1, mut g2) = (1e-12, 1e-12, 0.0, 0.0, 0.0);
        for (margin, target) in rows {
            let p = self.probability(*margin);
            let (error, weight) = (p - target, p * (1.0 - p));
            h11 += margin * margin * weight;
            h22 += weight;
            h21 += margin * weight;
            g1 += margin * error;
            g2 += error;
        }
        let determinant = h11 * h22 - h21 * h21;
        let (down1, down2) = (-(h22 * g1 - h21 * g2) / determinant, -(h11 * g2 - h21 * g1) / determinant);
        (0..30).find_map(|halvings| {
            let part = 0.5_f64.powi(halvings);
            let next = Self { slope: self.slope + part * down1, offset: self.offset + part * down2 };
            let better = next.loss(rows);
            (better < loss).then_some((next, better))
        })
    }

    fn loss(self, rows: &[(f64, f64)]) -> f64 {
        rows.iter()
            .map(|(margin, target)| {
                let z = self.slope * margin + self.offset;
                z.max(0.0) + (-z.abs()).exp().ln_1p() - target * z
            })
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overconfident_model_is_brought_down() {
        // Margins say 0.95 and 0.05, and one in five is otherwise.
        let (mut margins, mut labels) = (Vec::new(), Vec::new());
        for i in 0..1000 {
            margins.push(if i % 2 == 0 { 3.0 } else { -3.0 });
            labels.push((i % 2 == 0) != (i % 10 < 2));
        }
        let fit = Calibration::fit(&margins, &labels);
        assert!((fit.probability(3.0) - 0.8).abs() < 0.01, "{fit:?}");
        assert!((fit.probability(-3.0) - 0.2).abs() < 0.01, "{fit:?}");
    }

    #[test]
    fn what_cannot_be_fitted_stays_as_it_is() {
        assert_eq!(Calibration::fit(&[1.0, 2.0], &[true, true]), Calibration::default());
        assert_eq!(Calibration::fit(&[], &[]), Calibration::default());
        let reversed = Calibration::fit(&[2.0, 2.0, -2.0, -2.0], &[false, false, true, true]);
        assert!(reversed.is_sound());
    }
}
