use super::{
    Settings,
    bins::{Binned, Bins, MISSING},
    histogram::{Histogram, Split, Sum},
    model::{self, Node, Tree, on_grid},
};

/// Children are named by 16 bits.
const MOST_LEAVES: usize = 4096;

/// A tree, and the way that binned rows take through it.
pub(super) struct Grown {
    pub(super) tree: Tree,
    splits: Vec<Option<Split>>,
}

/// What a tree is grown from.
#[derive(Clone, Copy)]
pub(super) struct Soil<'a> {
    pub(super) data: &'a Binned,
    pub(super) bins: &'a Bins,
    pub(super) derivatives: &'a [(f32, f32)],
    /// The features that this tree may use, ascending.
    pub(super) features: &'a [usize],
    pub(super) settings: &'a Settings,
}

/// A leaf that may be parted.
struct Leaf {
    node: usize,
    rows: Vec<u32>,
    histogram: Histogram,
    split: Split,
}

/// Grows one tree: always the leaf that gains most is parted next, until there are enough or none gains.
pub(super) fn grow(soil: Soil<'_>, rows: Vec<u32>) -> Grown {
    let settings = soil.settings;
    let mut sums = vec![soil.total(&rows)];
    let mut splits: Vec<Option<Split>> = vec![None];
    let mut children: Vec<usize> = vec![0];
    let mut open: Vec<Leaf> = Vec::new();
    let histogram = Histogram::of(soil.data, soil.features, &rows, soil.derivatives);
    open.extend(soil.leaf(0, rows, histogram, sums[0]));

    let mut leaves = 1;
    while leaves < settings.leaves.min(MOST_LEAVES) {
        let Some(leaf) = take_best(&mut open) else { break };
        let Leaf { node, rows, histogram, split } = leaf;
        let (left, right) = soil.part(&rows, split);
        splits[node] = Some(split);
        children[node] = sums.len();
        let (left_sum, right_sum) = (soil.total(&left), soil.total(&right));
        // The smaller side is walked, the other one is what remains.
        let (left_histogram, right_histogram) = if left.len() <= right.len() {
            let small = Histogram::of(soil.data, soil.features, &left, soil.derivatives);
            let large = histogram.without(&small);
            (small, large)
        } else {
            let small = Histogram::of(soil.data, soil.features, &right, soil.derivatives);
            let large = histogram.without(&small);
            (large, small)
        };
        for (rows, sum, histogram) in [(left, left_sum, left_histogram), (right, right_sum, right_histogram)] {
            let node = sums.len();
            sums.push(sum);
            splits.push(None);
            children.push(0);
            open.extend(soil.leaf(node, rows, histogram, sum));
        }
        leaves += 1;
    }
    Grown { tree: tree(soil, &sums, &splits, &children), splits }
}

impl Soil<'_> {
    fn total(&self, rows: &[u32]) -> Sum {
        let mut total = Sum { rows: rows.len() as u32, ..Sum::default() };
        for &row in rows {
            let (gradient, hessian) = self.derivatives[row as usize];
            total.gradient += f64::from(gradient);
            total.hessian += f64::from(hessian);
        }
        total
    }

    fn leaf(&self, node: usize, rows: Vec<u32>, histogram: Histogram, sum: Sum) -> Option<Leaf> {
        let split = histogram.best(self.bins, self.features, sum, self.settings)?;
        Some(Leaf { node, rows, histogram, split })
    }

    fn part(&self, rows: &[u32], split: Split) -> (Vec<u32>, Vec<u32>) {
        let column = &self.data.columns[split.feature];
        rows.iter().copied().partition(|&row| goes_left(column[row as usize], split))
    }
}

fn goes_left(bin: u8, split: Split) -> bool {
    if bin == MISSING { split.missing_left } else { bin <= split.bin }
}

/// Of equals the one that came first.
fn take_best(open: &mut Vec<Leaf>) -> Option<Leaf> {
    let mut best = 0;
    for i in 1..open.len() {
        if open[i].split.gain > open[best].split.gain {
            best = i;
        }
    }
    (!open.is_empty()).then(|| open.remove(best))
}

fn tree(soil: Soil<'_>, sums: &[Sum], splits: &[Option<Split>], children: &[usize]) -> Tree {
    let settings = soil.settings;
    let mut values: Vec<f64> = sums.iter().map(|sum| on_grid(settings.shrinkage * sum.step(settings.l2))).collect();
    // Children come behind their parents: from the end, each parent finds its children done.
    for node in (0..sums.len()).rev().filter(|&node| splits[node].is_some()) {
        let (left, right) = (children[node], children[node] + 1);
        let weight = |i: usize| f64::from(sums[i].rows);
        let mean = (values[left] * weight(left) + values[right] * weight(right)) / (weight(left) + weight(right));
        values[node] = on_grid(mean);
    }
    let nodes = (0..sums.len()).map(|node| Node {
        value: values[node],
        rows: sums[node].rows,
        split: splits[node].map(|split| model::Split {
            feature: split.feature as u16,
            threshold: soil.bins.threshold(split.feature, split.bin),
            missing_left: split.missing_left,
            left: children[node] as u16,
        }),
    });
    Tree { nodes: nodes.collect() }
}

impl Grown {
    /// The tree's value for a row of binned data.
    pub(super) fn value(&self, data: &Binned, row: usize) -> f64 {
        let mut node = 0;
        while let (Some(split), Some(raw)) = (self.splits[node], &self.tree.nodes[node].split) {
            let right = !goes_left(data.columns[split.feature][row], split);
            node = usize::from(raw.left) + usize::from(right);
        }
        self.tree.nodes[node].value
    }
}
