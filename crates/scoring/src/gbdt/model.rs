use serde::{Deserialize, Serialize};

/// Node values are multiples of this. Values are within 32, so that sums of thousands are exact in an `f64`,
/// and differences fit 32 bits.
pub const GRID: f64 = 1.0 / (1_u64 << 24) as f64;

/// The greatest value of a node.
const BOUND: f64 = 32.0;

/// The nearest value on the grid.
pub(super) fn on_grid(value: f64) -> f64 {
    (value.clamp(-BOUND, BOUND) / GRID).round() * GRID
}

/// A node of a tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// What is expected of a row that gets here: a leaf's value, and above the leaves the mean by training rows.
    pub value: f64,
    /// How many training rows got here.
    pub rows: u32,
    /// The way on, unless it is a leaf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
}

/// Where a row goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// The feature that is asked.
    pub feature: u16,
    /// Values that are not above it go left.
    pub threshold: f32,
    /// Whether what is missing goes left.
    pub missing_left: bool,
    /// The left child's place in the tree; the right one's is the next.
    pub left: u16,
}

/// A tree; the root is its first node, and children come behind their parents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tree {
    /// Its nodes.
    pub nodes: Vec<Node>,
}

/// Trees whose values add up to a margin: the logarithm of the odds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// How many features a row has.
    pub features: usize,
    /// The margin of no tree.
    pub base: f64,
    /// In the order of training.
    pub trees: Vec<Tree>,
}

impl Model {
    /// What is wrong with the model, if anything: it may come from a file.
    pub fn problem(&self) -> Option<String> {
        if !sound(self.base) {
            return Some(format!("base {} is not on the grid of node values", self.base));
        }
        self.trees
            .iter()
            .enumerate()
            .find_map(|(i, tree)| tree.problem(self.features).map(|problem| format!("tree {i}: {problem}")))
    }

    /// The mean margin of the training rows: what contributions are counted from.
    pub fn bias(&self) -> f64 {
        self.base + self.trees.iter().map(|tree| tree.nodes[0].value).sum::<f64>()
    }

    /// The margin of a row, by the definition and without haste; [`Forest`](super::Forest) is the fast way.
    pub fn margin(&self, row: &[f32]) -> f64 {
        self.base + self.trees.iter().map(|tree| tree.leaf(row).value).sum::<f64>()
    }
}

impl Tree {
    fn problem(&self, features: usize) -> Option<String> {
        if self.nodes.is_empty() || self.nodes.len() > usize::from(u16::MAX) {
            return Some(format!("{} nodes", self.nodes.len()));
        }
        let mut parents = vec![0_u32; self.nodes.len()];
        for (i, node) in self.nodes.iter().enumerate() {
            if !sound(node.value) {
                return Some(format!("node {i}: value {} is not on the grid of node values", node.value));
            }
            let Some(split) = &node.split else { continue };
            let left = usize::from(split.left);
            if left <= i || left + 1 >= self.nodes.len() {
                return Some(format!("node {i}: children at {left} of {}", self.nodes.len()));
            }
            if usize::from(split.feature) >= features || !split.threshold.is_finite() {
                return Some(format!("node {i}: feature {} of {features} at {}", split.feature, split.threshold));
            }
            parents[left] += 1;
            parents[left + 1] += 1;
        }
        (parents[1..].iter().any(|count| *count != 1)).then(|| "a node without one parent".to_owned())
    }

    fn leaf(&self, row: &[f32]) -> &Node {
        let mut node = &self.nodes[0];
        while let Some(split) = &node.split {
            node = &self.nodes[usize::from(split.next(row[usize::from(split.feature)]))];
        }
        node
    }
}

impl Split {
    /// The child that a value goes to.
    pub fn next(&self, x: f32) -> u16 {
        let left = if x.is_nan() { self.missing_left } else { x <= self.threshold };
        self.left + u16::from(!left)
    }
}

fn sound(value: f64) -> bool {
    value.abs() <= BOUND && (value / GRID).fract() == 0.0
}
