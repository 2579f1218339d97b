use super::Matrix;

/// The bin of what is missing; the others are below it.
pub(super) const MISSING: u8 = u8::MAX;

/// Where each feature's values are cut: bin `b` holds what is above `cuts[b - 1]` and not above `cuts[b]`.
#[derive(Clone, Debug)]
pub(super) struct Bins {
    cuts: Vec<Vec<f32>>,
}

/// One byte per value, by column.
pub(super) struct Binned {
    pub(super) rows: usize,
    pub(super) columns: Vec<Vec<u8>>,
}

impl Bins {
    /// Cuts between distinct values where these are few, else at quantiles of the rows.
    pub(super) fn fit(matrix: &Matrix, most: usize) -> Self {
        let most = most.clamp(2, usize::from(MISSING));
        Self { cuts: (0..matrix.features()).map(|feature| cuts(matrix.column(feature), most)).collect() }
    }

    pub(super) fn apply(&self, matrix: &Matrix) -> Binned {
        let bin = |cuts: &[f32], x: f32| {
            if x.is_nan() { MISSING } else { cuts.partition_point(|cut| *cut < x) as u8 }
        };
        let columns = self
            .cuts
            .iter()
            .enumerate()
            .map(|(feature, cuts)| matrix.column(feature).iter().map(|x| bin(cuts, *x)).collect::<Vec<u8>>());
        Binned { rows: matrix.rows(), columns: columns.collect() }
    }

    /// How many bins the feature has, that of the missing apart.
    pub(super) fn len(&self, feature: usize) -> usize {
        self.cuts[feature].len() + 1
    }

    /// What no value of the bin is above. The last bin ends where numbers do.
    pub(super) fn threshold(&self, feature: usize, bin: u8) -> f32 {
        self.cuts[feature].get(usize::from(bin)).copied().unwrap_or(f32::MAX)
    }
}

fn cuts(column: &[f32], most: usize) -> Vec<f32> {
    let mut values: Vec<f32> = column.iter().copied().filter(|x| x.is_finite()).collect();
    values.sort_unstable_by(f32::total_cmp);
    let mut distinct = values.clone();
    distinct.dedup();
    if distinct.len() <= most {
        return distinct.windows(2).map(|pair| between(pair[0], pair[1])).collect();
    }
    let mut cuts: Vec<f32> = (1..most)
        .filter_map(|i| {
            let low = values[i * values.len() / most];
            let next = distinct.partition_point(|x| *x <= low);
            distinct.get(next).map(|high| between(low, *high))
        })
        .collect();
    cuts.dedup();
    cuts
}

/// A number `x` with `low <= x < high`.
fn between(low: f32, high: f32) -> f32 {
    let middle = low + (high - low) / 2.0;
    if middle.is_finite() && middle < high { middle } else { low }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: &[f32]) -> Matrix {
        let mut matrix = Matrix::new(1);
        for x in values {
            matrix.push(&[*x]);
        }
        matrix
    }

    #[test]
    fn a_value_is_not_above_its_bins_threshold_and_above_the_one_before() {
        let values: Vec<f32> = (0..1000).map(|i| ((i * 37) % 613) as f32 / 7.0 - 20.0).collect();
        for most in [2, 16, 255] {
            let matrix = column(&values);
            let bins = Bins::fit(&matrix, most);
            assert!(bins.len(0) <= most && bins.len(0) > most / 2, "{}", bins.len(0));
            for (x, bin) in values.iter().zip(&bins.apply(&matrix).columns[0]) {
                let last = usize::from(*bin) + 1 == bins.len(0);
                assert!(last || *x <= bins.threshold(0, *bin));
                assert!(*bin == 0 || *x > bins.threshold(0, bin - 1));
            }
        }
    }

    #[test]
    fn constants_and_the_missing_have_bins_too() {
        let matrix = column(&[3.0, f32::NAN, 3.0]);
        let bins = Bins::fit(&matrix, 255);
        assert_eq!(bins.len(0), 1);
        assert_eq!(bins.apply(&matrix).columns[0], [0, MISSING, 0]);
        assert!(between(1.0, 1.0_f32.next_up()) < 1.0_f32.next_up());
    }
}
