use serde::{Deserialize, Serialize};

use super::targets;
use crate::gbdt::sigmoid;

/// Platt's calibration: `p = sigmoid(slope * margin + offset)`, fitted on rows that the model was not.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Platt {
    /// Above zero: calibration never turns the order round.
    pub slope: f64,
    /// In log-odds.
    pub offset: f64,
}

/// As the margin says.
impl Default for Platt {
    fn default() -> Self {
        Self { slope: 1.0, offset: 0.0 }
    }
}

impl Platt {
    /// The probability of a margin.
    pub(super) fn probability(&self, margin: f64) -> f64 {
        sigmoid(self.slope * margin + self.offset)
    }

    pub(super) fn is_sound(&self) -> bool {
        self.slope > 0.0 && self.slope.is_finite() && self.offset.is_finite()
    }

    /// Fits by Newton's method with halved steps, as Lin, Lin and Weng (2007) describe it.
    pub(super) fn fit(margins: &[f64], labels: &[bool]) -> Self {
        let (high, low) = targets(labels);
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
