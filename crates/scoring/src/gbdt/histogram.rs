use super::{
    Settings,
    bins::{Binned, Bins, MISSING},
};

const SLOTS: usize = MISSING as usize + 1;

/// First and second derivatives of the loss, summed over rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sum {
    pub(super) gradient: f64,
    pub(super) hessian: f64,
    pub(super) rows: u32,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.gradient += other.gradient;
        self.hessian += other.hessian;
        self.rows += other.rows;
    }

    fn minus(self, other: Self) -> Self {
        if self.rows == other.rows {
            return Self::default(); // and not the rounding errors that are left over
        }
        Self {
            gradient: self.gradient - other.gradient,
            hessian: self.hessian - other.hessian,
            rows: self.rows - other.rows,
        }
    }

    /// The value that a leaf of these rows takes.
    pub(super) fn step(self, l2: f64) -> f64 {
        let weight = self.hessian + l2;
        if weight > 0.0 { -self.gradient / weight } else { 0.0 }
    }

    /// Twice what such a leaf takes off the loss.
    fn gain(self, l2: f64) -> f64 {
        self.gradient * self.gradient / (self.hessian + l2)
    }
}

/// The best way to part a leaf's rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Split {
    pub(super) gain: f64,
    pub(super) feature: usize,
    /// The last bin that goes left.
    pub(super) bin: u8,
    pub(super) missing_left: bool,
}

/// Sums by feature and bin, of the rows of one leaf.
pub(super) struct Histogram {
    sums: Vec<Sum>,
}

impl Histogram {
    /// Walks the rows once per feature: a feature's bins stay in the nearest cache.
    pub(super) fn of(data: &Binned, features: &[usize], rows: &[u32], derivatives: &[(f32, f32)]) -> Self {
        let mut sums = vec![Sum::default(); features.len() * SLOTS];
        for (&feature, sums) in features.iter().zip(sums.chunks_exact_mut(SLOTS)) {
            let column = &data.columns[feature];
            for &row in rows {
                let (gradient, hessian) = derivatives[row as usize];
                let sum = &mut sums[usize::from(column[row as usize])];
                sum.gradient += f64::from(gradient);
                sum.hessian += f64::from(hessian);
                sum.rows += 1;
            }
        }
        Self { sums }
    }

    /// The sibling of `part`, whose parent this is: no walk over its rows is needed.
    pub(super) fn without(mut self, part: &Self) -> Self {
        for (sum, other) in self.sums.iter_mut().zip(&part.sums) {
            *sum = sum.minus(*other);
        }
        self
    }

    /// The best split of all features. Of equals, the first feature and the lowest bin: training must repeat.
    pub(super) fn best(&self, bins: &Bins, features: &[usize], total: Sum, settings: &Settings) -> Option<Split> {
        let mut best: Option<Split> = None;
        for (&feature, sums) in features.iter().zip(self.sums.chunks_exact(SLOTS)) {
            scan(sums, feature, bins.len(feature), total, settings, &mut best);
        }
        best
    }
}

/// Tries each cut of one feature, with what is missing on either side.
fn scan(sums: &[Sum], feature: usize, bins: usize, total: Sum, settings: &Settings, best: &mut Option<Split>) {
    let missing = sums[usize::from(MISSING)];
    let whole = total.gain(settings.l2) + 1e-9;
    let mut left = Sum::default();
    for (bin, sum) in sums.iter().enumerate().take(bins) {
        left.add(*sum);
        // Past the last bin only the missing are left to be parted from the rest.
        let last = bin + 1 == bins;
        if last && missing.rows == 0 || sum.rows == 0 && !last {
            continue;
        }
        let with_missing = {
            let mut sides = left;
            sides.add(missing);
            sides
        };
        for (side, missing_left) in [(left, false), (with_missing, true)] {
            if missing_left && (missing.rows == 0 || last) {
                continue;
            }
            let other = total.minus(side);
            let small =
                |sum: Sum| (sum.rows as usize) < settings.min_child_rows || sum.hessian < settings.min_child_weight;
            if small(side) || small(other) {
                continue;
            }
            let gain = side.gain(settings.l2) + other.gain(settings.l2) - whole;
            if gain > best.map_or(0.0, |split| split.gain) {
                // With nothing missing here to learn from, what will be missing goes where most rows go.
                let missing_left = if missing.rows == 0 { side.rows >= other.rows } else { missing_left };
                *best = Some(Split { gain, feature, bin: bin as u8, missing_left });
            }
        }
    }
}
