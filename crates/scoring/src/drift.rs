//! How far rows and scores have moved from what they were when the model was made.
//!
//! ```text
//! Reference (of the bundle) --edges--> Counts: rows into bins, one per lane and window --merge--> Report
//! ```
//!
//! The bins never change: a window's counts are compared with the reference's, bin by bin, and what is missing is a bin of
//! its own. Counters of several lanes add up to those of one that had seen all rows.

use crate::reference::{Histogram, Reference};

/// The least share that a bin counts with in [PSI](Divergence::psi), whose logarithms know no zero: as if it had one row
/// of ten thousand.
pub const LEAST_SHARE: f64 = 1e-4;

/// Bins of one feature, one after the other in the counts; the last one is of what is missing.
#[derive(Clone, Debug, PartialEq)]
struct Bins {
    edges: Vec<f32>,
    first: usize,
}

impl Bins {
    fn place(&self, x: f32) -> usize {
        let bin = if x.is_nan() { self.edges.len() + 1 } else { self.edges.partition_point(|edge| *edge < x) };
        self.first + bin
    }
}

/// Rows and scores of a window, counted into the reference's bins.
#[derive(Clone, Debug, PartialEq)]
pub struct Counts {
    rows: u64,
    /// By feature, then that of scores.
    bins: Vec<Bins>,
    /// Of all bins.
    values: Vec<u64>,
}

/// How far two distributions are from each other. Both are zero for equal ones.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Divergence {
    /// Population stability index, in nats: the sum of `(q - p) ln(q / p)` over bins, where shares below
    /// [`LEAST_SHARE`] count as that. By custom, below 0.1 nothing has happened, and above 0.25 something has.
    pub psi: f64,
    /// Jensen-Shannon divergence in bits: from 0, to 1 for distributions that have nothing in common.
    pub js: f64,
}

/// The drift of a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Rows of the window. Of few rows, divergences are of chance: a bin count of some hundreds is enough.
    pub rows: u64,
    /// By feature, in the order of the document.
    pub features: Vec<Divergence>,
    /// Of calibrated probabilities.
    pub score: Divergence,
}

impl Counts {
    /// Nothing counted yet.
    pub fn new(reference: &Reference) -> Self {
        let mut first = 0;
        let bins = histograms(reference).map(|histogram| {
            let bins = Bins { edges: histogram.edges.clone(), first };
            first += bins.edges.len() + 2;
            bins
        });
        let bins = bins.collect();
        Self { rows: 0, bins, values: vec![0; first] }
    }

    /// Counts a row and its probability.
    pub fn add(&mut self, row: &[f32], probability: f64) {
        assert_eq!(row.len() + 1, self.bins.len(), "a row has a value for each feature");
        self.rows += 1;
        for (bins, x) in self.bins.iter().zip(row.iter().chain([&(probability as f32)])) {
            self.values[bins.place(*x)] += 1;
        }
    }

    /// Adds what another lane has counted, with the same reference.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.bins, other.bins, "counts of one reference");
        self.rows += other.rows;
        self.values.iter_mut().zip(&other.values).for_each(|(mine, other)| *mine += other);
    }

    /// How many rows were counted.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Gives what was counted, and begins the next window.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let taken = self.clone();
        self.rows = 0;
        self.values.fill(0);
        taken
    }

    /// Compares with the reference that it was made from.
    pub fn report(&self, reference: &Reference) -> Report {
        let ends = self.bins.iter().skip(1).map(|bins| bins.first).chain([self.values.len()]);
        let mut all = self.bins.iter().zip(ends).zip(histograms(reference)).map(|((bins, end), histogram)| {
            let before: Vec<u64> =
                histogram.counts.iter().chain([&histogram.missing]).map(|count| u64::from(*count)).collect();
            divergence(&before, &self.values[bins.first..end])
        });
        let features: Vec<Divergence> = all.by_ref().take(reference.features.len()).collect();
        Report { rows: self.rows, features, score: all.next().unwrap_or_default() }
    }
}

fn histograms(reference: &Reference) -> impl Iterator<Item = &Histogram> {
    reference.features.iter().chain([&reference.score])
}

/// Of two lists of counts, bin by bin. Nothing is known of a list of zeros: there is no divergence then.
pub fn divergence(before: &[u64], now: &[u64]) -> Divergence {
    let total = |counts: &[u64]| counts.iter().sum::<u64>() as f64;
    let (all_before, all_now) = (total(before), total(now));
    if all_before == 0.0 || all_now == 0.0 {
        return Divergence::default();
    }
    let mut divergence = Divergence::default();
    for (before, now) in before.iter().zip(now) {
        let (p, q) = (*before as f64 / all_before, *now as f64 / all_now);
        // A bin that was empty and is so still says nothing.
        if p + q > 0.0 {
            let (low, high) = (p.max(LEAST_SHARE), q.max(LEAST_SHARE));
            divergence.psi += (high - low) * (high / low).ln();
            divergence.js += f64::midpoint(part(p, q), part(q, p));
        }
    }
    divergence
}

/// What a bin adds to the divergence from the middle of both.
fn part(p: f64, q: f64) -> f64 {
    if p == 0.0 { 0.0 } else { p * (2.0 * p / (p + q)).log2() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gbdt::Matrix;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn known_values() {
        // With p = (.5, .3, .2) and q = (.2, .3, .5): PSI is 2 * .3 * ln 2.5, and scipy 1.17 has
        // jensenshannon(p, q, base=2) ** 2 == 0.0958156020033584.
        let found = divergence(&[5, 3, 2], &[20, 30, 50]);
        assert!(near(found.psi, 0.6 * 2.5_f64.ln()), "{found:?}");
        assert!((found.js - 0.095_815_602_003_358_4).abs() < 1e-12, "{found:?}");
        assert_eq!(divergence(&[5, 3, 2], &[500, 300, 200]), Divergence::default());
        assert_eq!(divergence(&[0, 0], &[1, 2]), Divergence::default());
        // Nothing in common: one bit, and an index that ends at the least share.
        let apart = divergence(&[10, 0], &[0, 10]);
        assert!(near(apart.js, 1.0) && near(apart.psi, 2.0 * (1.0 - 1e-4) * 1e4_f64.ln()), "{apart:?}");
    }

    fn reference() -> Reference {
        let mut rows = Matrix::new(2);
        (0_u8..100).for_each(|i| rows.push(&[f32::from(i), if i % 4 == 0 { f32::NAN } else { 1.0 }]));
        Reference::of(&rows, &(0..100).map(|i| f64::from(i) / 100.0).collect::<Vec<_>>())
    }

    #[test]
    fn what_moves_is_told_from_what_stays() {
        let reference = reference();
        let mut counts = Counts::new(&reference);
        for i in 0_u8..100 {
            counts.add(&[f32::from(i), f32::NAN], f64::from(i) / 100.0);
        }
        let Report { rows, features, score } = counts.report(&reference);
        assert_eq!((rows, features.len()), (100, 2));
        assert!(near(features[0].psi, 0.0) && near(score.js, 0.0), "{features:?} {score:?}");
        assert!(features[1].psi > 0.25 && features[1].js > 0.1, "what was there is missing: {features:?}");
        assert_eq!(counts.take().rows(), 100);
        assert_eq!(counts, Counts::new(&reference));
    }

    proptest! {
        #[test]
        fn merged_counts_are_those_of_all_rows(
            rows in prop::collection::vec((-50.0..150.0_f32, any::<bool>(), 0.0..1.0_f64), 0..60),
            at in 0_usize..60,
        ) {
            let reference = reference();
            let at = at.min(rows.len());
            let count = |rows: &[(f32, bool, f64)]| {
                let mut counts = Counts::new(&reference);
                for (x, missing, probability) in rows {
                    counts.add(&[*x, if *missing { f32::NAN } else { *x }], *probability);
                }
                counts
            };
            let mut merged = count(&rows[..at]);
            merged.merge(&count(&rows[at..]));
            prop_assert_eq!(&merged, &count(&rows));
            let report = merged.report(&reference);
            for divergence in report.features.iter().chain([&report.score]) {
                prop_assert!(divergence.psi >= 0.0 && (-1e-12..=1.0 + 1e-12).contains(&divergence.js), "{divergence:?}");
            }
        }
    }
}
