//! What features and scores looked like when the model was made: drift is counted from here.

use serde::{Deserialize, Serialize};

use crate::gbdt::Matrix;

/// Bins of a histogram at most.
const BINS: usize = 20;

/// How values were spread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Histogram {
    /// Ascending; bin `i` holds what is above the edge before it and not above `edges[i]`, the last bin all the rest.
    pub edges: Vec<f32>,
    /// One more than edges.
    pub counts: Vec<u32>,
    /// Values that were not there.
    pub missing: u32,
}

/// The histograms of a bundle, of rows as scoring sees them: later than what the baselines have counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// By feature, in the order of the document. Edges are quantiles.
    pub features: Vec<Histogram>,
    /// Of calibrated probabilities, in bins of equal width.
    pub score: Histogram,
}

impl Reference {
    /// Of rows and their probabilities.
    pub fn of(rows: &Matrix, probabilities: &[f64]) -> Self {
        let scores: Vec<f32> = probabilities.iter().map(|p| *p as f32).collect();
        let edges = (1..BINS).map(|i| i as f32 / BINS as f32).collect();
        let features = (0..rows.features()).map(|feature| {
            let column = rows.column(feature);
            Histogram::of(column, quantiles(column))
        });
        Self { features: features.collect(), score: Histogram::of(&scores, edges) }
    }

    /// What is wrong with it, if anything: it may come from a file.
    pub(crate) fn problem(&self, features: usize) -> Option<String> {
        if self.features.len() != features {
            return Some(format!("histograms of {} features, and there are {features}", self.features.len()));
        }
        let mut all = self.features.iter().chain([&self.score]);
        let wrong = all.position(|histogram| !histogram.is_sound())?;
        Some(format!("histogram {wrong} has no rising edges with a count for each bin"))
    }
}

impl Histogram {
    /// Counts values between the given edges.
    pub fn of(values: &[f32], edges: Vec<f32>) -> Self {
        let mut histogram = Self { counts: vec![0; edges.len() + 1], edges, missing: 0 };
        for x in values {
            histogram.add(*x);
        }
        histogram
    }

    fn is_sound(&self) -> bool {
        self.counts.len() == self.edges.len() + 1 && self.edges.windows(2).all(|pair| pair[0] < pair[1])
    }

    /// Counts one value.
    pub fn add(&mut self, x: f32) {
        if x.is_nan() {
            self.missing += 1;
        } else {
            self.counts[self.edges.partition_point(|edge| *edge < x)] += 1;
        }
    }
}

fn quantiles(column: &[f32]) -> Vec<f32> {
    let mut values: Vec<f32> = column.iter().copied().filter(|x| x.is_finite()).collect();
    values.sort_unstable_by(f32::total_cmp);
    let mut edges: Vec<f32> = (1..BINS).filter_map(|i| values.get(i * values.len() / BINS).copied()).collect();
    edges.dedup();
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_counted_once() {
        let mut rows = Matrix::new(2);
        for i in 0..100 {
            rows.push(&[i as f32, if i % 10 == 0 { f32::NAN } else { 1.0 }]);
        }
        let reference = Reference::of(&rows, &[0.999; 100]);
        let [spread, constant] = &reference.features[..] else { panic!("two features") };
        assert_eq!((spread.counts.len(), spread.counts.iter().sum::<u32>()), (20, 100));
        assert!(spread.counts.iter().all(|count| (4..=6).contains(count)), "{spread:?}");
        assert_eq!((constant.missing, constant.counts.iter().sum::<u32>()), (10, 90));
        assert_eq!(reference.score.counts.last(), Some(&100));
    }
}
