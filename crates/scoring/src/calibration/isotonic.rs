use serde::{Deserialize, Serialize};

use super::targets;
use crate::gbdt::sigmoid;

/// Isotonic calibration without its plateaus.
///
/// Pooling adjacent violators gives blocks of margins, each with the share of positives in it. The textbook's function is
/// flat over a block: order is lost there, and a threshold takes all of a plateau or nothing of it. Here only the middle
/// of a block has the block's share. Between two middles log-odds are on a straight line, and beyond the first and the
/// last one they rise as margins do, so the whole rises everywhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Isotonic {
    /// Margins and their log-odds, both rising.
    #[serde(rename = "isotonic")]
    pub knots: Vec<(f64, f64)>,
}

/// Rows of neighbouring margins. Rows are counted in whole numbers: of equal shares none must look like the greater one.
#[derive(Clone, Copy)]
struct Block {
    rows: u64,
    positives: u64,
    margins: f64,
}

impl Block {
    fn with(self, other: Self) -> Self {
        Self {
            rows: self.rows + other.rows,
            positives: self.positives + other.positives,
            margins: self.margins + other.margins,
        }
    }

    /// Whether its share of positives is below that of the next one.
    fn is_below(self, next: Self) -> bool {
        u128::from(self.positives) * u128::from(next.rows) < u128::from(next.positives) * u128::from(self.rows)
    }

    fn knot(self, (high, low): (f64, f64)) -> (f64, f64) {
        let (rows, positives) = (self.rows as f64, self.positives as f64);
        let share = (positives * high + (rows - positives) * low) / rows;
        (self.margins / rows, (share / (1.0 - share)).ln())
    }
}

impl Isotonic {
    /// Fits to rows of both labels. Rows of one margin are one block from the start: their order means nothing.
    pub(super) fn fit(margins: &[f64], labels: &[bool]) -> Self {
        let targets = targets(labels);
        let mut rows: Vec<(f64, bool)> = margins.iter().copied().zip(labels.iter().copied()).collect();
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut blocks: Vec<Block> = Vec::new();
        #[expect(clippy::float_cmp, reason = "what is tied is equal to the last bit")]
        for ties in rows.chunk_by(|a, b| a.0 == b.0) {
            let positives = ties.iter().filter(|(_, label)| *label).count() as u64;
            let margins = ties[0].0 * ties.len() as f64;
            let mut block = Block { rows: ties.len() as u64, positives, margins };
            while let Some(last) = blocks.pop_if(|last| !last.is_below(block)) {
                block = last.with(block);
            }
            blocks.push(block);
        }
        let mut knots: Vec<(f64, f64)> = Vec::with_capacity(blocks.len());
        for block in blocks {
            let knot = block.knot(targets);
            // Sums may round two neighbours onto each other.
            if knots.last().is_none_or(|last| rises(*last, knot)) {
                knots.push(knot);
            }
        }
        Self { knots }
    }

    pub(super) fn is_sound(&self) -> bool {
        let finite = self.knots.iter().all(|(margin, log_odds)| margin.is_finite() && log_odds.is_finite());
        finite && !self.knots.is_empty() && self.knots.windows(2).all(|pair| rises(pair[0], pair[1]))
    }

    pub(super) fn probability(&self, margin: f64) -> f64 {
        let after = self.knots.partition_point(|knot| knot.0 < margin);
        let log_odds = match (self.knots.get(after.wrapping_sub(1)), self.knots.get(after)) {
            (Some(below), Some(above)) => {
                let way = (margin - below.0) / (above.0 - below.0);
                below.1 + way * (above.1 - below.1)
            }
            (Some(end), None) | (None, Some(end)) => end.1 + (margin - end.0),
            (None, None) => margin,
        };
        sigmoid(log_odds)
    }
}

fn rises(last: (f64, f64), next: (f64, f64)) -> bool {
    last.0 < next.0 && last.1 < next.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violators_are_pooled_and_the_middle_of_a_block_has_its_share() {
        // 0 0 | 1 0 1 0 (tied in twos) | 1 1: by hand, the middle block's share is a half.
        let margins = [-2.0, -1.0, 0.0, 0.0, 1.0, 1.0, 2.0, 3.0];
        let labels = [false, false, true, false, true, false, true, true];
        let fit = Isotonic::fit(&margins, &labels);
        let knots: Vec<f64> = fit.knots.iter().map(|knot| knot.0).collect();
        assert_eq!(knots, [-1.5, 0.5, 2.5]);
        assert!((fit.probability(0.5) - 0.5).abs() < 1e-12);
        // Four of each label: 1/6 and 5/6 are what they count as.
        assert!((fit.probability(-1.5) - 1.0 / 6.0).abs() < 1e-12);
        assert!((fit.probability(2.5) - 5.0 / 6.0).abs() < 1e-12);
        assert!((fit.probability(3.5) - sigmoid(5.0_f64.ln() + 1.0)).abs() < 1e-12);
    }
}
