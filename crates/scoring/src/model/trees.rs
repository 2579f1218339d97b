//! Trees that others have grown: thresholds in double precision, and their own rules for what is missing.

use super::{BOUND, FINE, units, within};

/// LightGBM takes what is not further from zero for zero.
const ZERO: f64 = 1e-35_f32 as f64;

/// Stands in [`Step::feature`] of a leaf.
const LEAF: u32 = u32::MAX;

/// What happens to values that are no numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// Whether they go left.
    pub(super) left: bool,
    /// Whether zero is one of them.
    pub(super) zero: bool,
}

/// Where a row goes on; children by their places in the list of nodes.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub(super) feature: usize,
    /// Values that are not above it go left.
    pub(super) threshold: f64,
    pub(super) missing: Missing,
    pub(super) left: usize,
    pub(super) right: usize,
}

/// A node as a file has it.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Branch(Branch),
    Leaf {
        value: f64,
        /// What of the training came here: rows, or their second derivatives.
        cover: f64,
    },
}

/// A node as the walk needs it.
#[derive(Clone, Copy, Debug)]
struct Step {
    threshold: f64,
    /// What is expected here, in units of the grid.
    units: i64,
    children: [u32; 2],
    feature: u32,
    missing: Missing,
}

/// Trees whose values add up to a margin.
#[derive(Clone, Debug)]
pub struct Trees {
    features: usize,
    bias: i64,
    /// A bound of all margins.
    most: f64,
    roots: Vec<u32>,
    steps: Vec<Step>,
}

impl Trees {
    /// None yet: all margins are `base`.
    pub(super) fn new(features: usize, base: f64) -> Result<Self, String> {
        if !within(base, BOUND) {
            return Err(format!("its base is {base}"));
        }
        Ok(Self { features, bias: units(base), most: base.abs(), roots: Vec::new(), steps: Vec::new() })
    }

    /// Adds a tree whose root is the first node. Nodes that the root does not lead to are left out.
    pub(super) fn plant(&mut self, nodes: &[Node], factor: f64) -> Result<(), String> {
        let order = order(nodes, self.features)?;
        let mut place = vec![u32::MAX; nodes.len()];
        let first = self.steps.len();
        for (i, node) in order.iter().enumerate() {
            place[*node] = (first + i) as u32;
        }
        let (values, most) = means(nodes, &order, factor);
        self.most += most;
        if !within(self.most, BOUND) {
            return Err(format!("leaves may add up to {:e}, more than {BOUND}", self.most));
        }
        for node in order {
            let at = place[node];
            let units = units(values[node]);
            self.steps.push(match &nodes[node] {
                Node::Leaf { .. } => Step {
                    threshold: 0.0,
                    units,
                    children: [at; 2],
                    feature: LEAF,
                    missing: Missing { left: true, zero: false },
                },
                Node::Branch(branch) => Step {
                    threshold: branch.threshold,
                    units,
                    children: [place[branch.left], place[branch.right]],
                    feature: branch.feature as u32,
                    missing: branch.missing,
                },
            });
        }
        self.bias += self.steps[first].units;
        self.roots.push(first as u32);
        Ok(())
    }

    /// How many features a row has.
    pub fn features(&self) -> usize {
        self.features
    }

    /// How many trees.
    pub fn len(&self) -> usize {
        self.roots.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// The mean margin by the training rows: what contributions are counted from.
    pub fn bias(&self) -> f64 {
        self.bias as f64 * FINE
    }

    /// The margin of a row, and what each feature added to the bias: the step in what is expected at each node that
    /// asks for it.
    pub fn explain(&self, row: &[f32], contributions: &mut Vec<i64>) -> f64 {
        assert_eq!(row.len(), self.features, "a row has a value for each feature");
        contributions.clear();
        contributions.resize(self.features, 0);
        let mut sum = self.bias;
        for root in &self.roots {
            let mut at = &self.steps[*root as usize];
            let start = at.units;
            while at.feature != LEAF {
                let feature = at.feature as usize;
                let next = &self.steps[at.next(row[feature]) as usize];
                contributions[feature] += next.units - at.units;
                at = next;
            }
            sum += at.units - start;
        }
        sum as f64 * FINE
    }
}

impl Step {
    fn next(&self, x: f32) -> u32 {
        let x = f64::from(x);
        let missing = x.is_nan() || (self.missing.zero && x.abs() <= ZERO);
        let left = if missing { self.missing.left } else { x <= self.threshold };
        self.children[usize::from(!left)]
    }
}

/// The nodes that the root leads to, parents before their children; what is wrong with them is said.
fn order(nodes: &[Node], features: usize) -> Result<Vec<usize>, String> {
    let mut seen = vec![false; nodes.len()];
    let mut order = Vec::with_capacity(nodes.len());
    let mut open = vec![0];
    while let Some(at) = open.pop() {
        let node = nodes.get(at).ok_or_else(|| format!("node {at} of {}", nodes.len()))?;
        if std::mem::replace(&mut seen[at], true) {
            return Err(format!("node {at} has more than one parent"));
        }
        order.push(at);
        match node {
            Node::Leaf { value, .. } if !value.is_finite() => return Err(format!("node {at}: its value is {value}")),
            Node::Leaf { .. } => {}
            Node::Branch(Branch { feature, .. }) if *feature >= features => {
                return Err(format!("node {at}: feature {feature} of {features}"));
            }
            Node::Branch(Branch { threshold, .. }) if threshold.is_nan() => {
                return Err(format!("node {at}: its threshold is no number"));
            }
            Node::Branch(branch) => open.extend([branch.right, branch.left]),
        }
    }
    Ok(order)
}

/// What is expected at each node: a leaf's value, and above the leaves the mean by what came there in training. Beside
/// it the greatest value, either way.
fn means(nodes: &[Node], order: &[usize], factor: f64) -> (Vec<f64>, f64) {
    let mut values = vec![0.0; nodes.len()];
    let mut covers = vec![0.0; nodes.len()];
    let mut most = 0.0_f64;
    for at in order.iter().rev() {
        (values[*at], covers[*at]) = match &nodes[*at] {
            Node::Leaf { value, cover } => {
                let value = value * factor;
                most = most.max(value.abs());
                (value, if cover.is_finite() { cover.max(0.0) } else { 0.0 })
            }
            Node::Branch(Branch { left, right, .. }) => {
                let (left, right) = ((values[*left], covers[*left]), (values[*right], covers[*right]));
                let cover = left.1 + right.1;
                // Without knowing what came here, both ways count alike.
                let share = if cover > 0.0 { left.1 / cover } else { 0.5 };
                (left.0 * share + right.0 * (1.0 - share), cover)
            }
        };
    }
    (values, most)
}
