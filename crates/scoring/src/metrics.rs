//! How well scores tell positives from negatives.

use serde::{Deserialize, Serialize};

/// What is measured on rows that a model was not fitted to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Labelled rows.
    pub rows: usize,
    /// Positive ones.
    pub positives: usize,
    /// The chance that a positive is scored above a negative.
    pub roc_auc: f64,
    /// Mean logarithmic loss of the calibrated probabilities.
    pub log_loss: f64,
    /// Mean squared error of the calibrated probabilities.
    pub brier: f64,
    /// The share of positives that are found when so many negatives are taken for positives.
    pub recall: Vec<Recall>,
}

/// A point of the ROC curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recall {
    /// The greatest share of negatives that are taken for positives.
    pub at_fpr: f64,
    /// The share of positives above the threshold.
    pub recall: f64,
    /// Scores at or above it count as positive.
    pub threshold: f64,
}

impl Metrics {
    /// Of probabilities and what was true.
    pub fn of(probabilities: &[f64], labels: &[bool]) -> Self {
        Self {
            rows: labels.len(),
            positives: labels.iter().filter(|label| **label).count(),
            roc_auc: roc_auc(probabilities, labels),
            log_loss: mean(probabilities, labels, |p, label| -(if label { p } else { 1.0 - p }).max(1e-15).ln()),
            brier: mean(probabilities, labels, |p, label| (p - f64::from(u8::from(label))).powi(2)),
            recall: [0.001, 0.01, 0.05].map(|at_fpr| recall_at(probabilities, labels, at_fpr)).to_vec(),
        }
    }
}

/// The area under the ROC curve: ties count half. One half where there is only one kind of label.
pub fn roc_auc(scores: &[f64], labels: &[bool]) -> f64 {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    let (mut below, mut area) = (0.0, 0.0);
    for ties in order.chunk_by(|a, b| scores[*a].total_cmp(&scores[*b]).is_eq()) {
        let positives = ties.iter().filter(|row| labels[**row]).count() as f64;
        let negatives = ties.len() as f64 - positives;
        area += positives * (below + negatives / 2.0);
        below += negatives;
    }
    let positives = scores.len() as f64 - below;
    if positives == 0.0 || below == 0.0 { 0.5 } else { area / (positives * below) }
}

/// The lowest threshold that takes at most `at_fpr` of the negatives for positives, and what it finds.
pub fn recall_at(scores: &[f64], labels: &[bool], at_fpr: f64) -> Recall {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let positives = labels.iter().filter(|label| **label).count();
    let allowed = (at_fpr * (labels.len() - positives) as f64).floor() as usize;
    let (mut found, mut wrong, mut best) = (0, 0, Recall { at_fpr, recall: 0.0, threshold: 1.0 });
    for ties in order.chunk_by(|a, b| scores[*a].total_cmp(&scores[*b]).is_eq()) {
        let hits = ties.iter().filter(|row| labels[**row]).count();
        found += hits;
        wrong += ties.len() - hits;
        if wrong > allowed {
            break;
        }
        best = Recall { at_fpr, recall: found as f64 / positives.max(1) as f64, threshold: scores[ties[0]] };
    }
    best
}

fn mean(probabilities: &[f64], labels: &[bool], loss: impl Fn(f64, bool) -> f64) -> f64 {
    let sum: f64 = probabilities.iter().zip(labels).map(|(p, label)| loss(*p, *label)).sum();
    sum / labels.len().max(1) as f64
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these quotients are exact")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_curves() {
        let labels = [false, false, true, true];
        assert_eq!(roc_auc(&[0.1, 0.4, 0.35, 0.8], &labels), 0.75); // scikit-learn's example
        assert_eq!(roc_auc(&[0.5; 4], &labels), 0.5);
        assert_eq!(roc_auc(&[0.5, 0.6], &[true, true]), 0.5);
        let recall = recall_at(&[0.1, 0.4, 0.35, 0.8], &labels, 0.1);
        assert_eq!((recall.recall, recall.threshold), (0.5, 0.8));
        assert_eq!(recall_at(&[0.1, 0.4, 0.35, 0.8], &labels, 0.5).recall, 1.0);
    }

    proptest! {
        #[test]
        fn the_area_is_the_share_of_pairs_in_order(rows in prop::collection::vec((0_u8..10, any::<bool>()), 2..40)) {
            let scores: Vec<f64> = rows.iter().map(|row| f64::from(row.0)).collect();
            let labels: Vec<bool> = rows.iter().map(|row| row.1).collect();
            let (mut pairs, mut ordered) = (0.0, 0.0);
            for (x, _) in rows.iter().filter(|row| row.1) {
                for (y, _) in rows.iter().filter(|row| !row.1) {
                    pairs += 1.0;
                    ordered += f64::from(u8::from(x > y)) + 0.5 * f64::from(u8::from(x == y));
                }
            }
            let expected = if pairs == 0.0 { 0.5 } else { ordered / pairs };
            prop_assert!((roc_auc(&scores, &labels) - expected).abs() < 1e-12);
        }
    }
}
