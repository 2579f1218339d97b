use super::{GRID, Model};

/// How many trees are walked side by side: enough to hide the time that each step waits for its node.
const ABREAST: usize = 8;

/// Set in [`Step::feature`] when what is missing goes right.
const MISSING_RIGHT: u16 = 1 << 15;

/// A node as the walk needs it: 8 bytes. A leaf leads to itself, so that trees of different depth stay in step.
#[derive(Clone, Copy, Debug)]
struct Step {
    threshold: f32,
    feature: u16,
    /// Relative to the tree's first node.
    left: u16,
}

/// What one feature adds on the way to one leaf, in units of the grid.
#[derive(Clone, Copy, Debug)]
struct Share {
    feature: u32,
    units: i32,
}

/// Trees that are walked side by side: the place of each one's root.
#[derive(Clone, Debug)]
struct Group {
    roots: [u32; ABREAST],
    depth: u32,
}

/// A model laid out for speed. Margins are summed in whole units of the grid, in no particular order and exactly.
#[derive(Clone, Debug)]
pub struct Forest {
    features: usize,
    bias: i64,
    steps: Vec<Step>,
    /// By step: where its shares begin. Those of a leaf end where those of the next step begin.
    shares_at: Vec<u32>,
    shares: Vec<Share>,
    groups: Vec<Group>,
}

impl Forest {
    /// Lays out a model that has no [problem](Model::problem).
    pub fn new(model: &Model) -> Self {
        let mut forest = Self {
            features: model.features,
            bias: units(model.bias()),
            steps: Vec::new(),
            shares_at: Vec::new(),
            shares: Vec::new(),
            groups: Vec::new(),
        };
        let mut roots: Vec<(u32, u32)> = model.trees.iter().map(|tree| forest.plant(&tree.nodes)).collect();
        // Trees of like depth walk together.
        roots.sort_unstable();
        let idle = forest.plant(&[super::Node { value: 0.0, rows: 0, split: None }]);
        forest.shares_at.push(forest.shares.len() as u32);
        for chunk in roots.chunks(ABREAST) {
            let mut group = Group { roots: [idle.1; ABREAST], depth: 0 };
            for (slot, (depth, root)) in group.roots.iter_mut().zip(chunk) {
                *slot = *root;
                group.depth = group.depth.max(*depth);
            }
            forest.groups.push(group);
        }
        forest
    }

    /// Adds a tree; gives its depth and the place of its root.
    fn plant(&mut self, nodes: &[super::Node]) -> (u32, u32) {
        let root = self.steps.len() as u32;
        let mut paths: Vec<Vec<Share>> = vec![Vec::new(); nodes.len()];
        let mut depths = vec![0_u32; nodes.len()];
        for (i, node) in nodes.iter().enumerate() {
            self.shares_at.push(self.shares.len() as u32);
            let Some(split) = &node.split else {
                self.steps.push(Step { threshold: f32::INFINITY, feature: 0, left: i as u16 });
                self.shares.extend(paths[i].iter().filter(|share| share.units != 0));
                continue;
            };
            let missing = if split.missing_left { 0 } else { MISSING_RIGHT };
            self.steps.push(Step { threshold: split.threshold, feature: split.feature | missing, left: split.left });
            for child in [usize::from(split.left), usize::from(split.left) + 1] {
                let units = (units(nodes[child].value) - units(node.value)) as i32;
                paths[child] = with(&paths[i], Share { feature: u32::from(split.feature), units });
                depths[child] = depths[i] + 1;
            }
        }
        (depths.iter().copied().max().unwrap_or(0), root)
    }

    /// How many features a row has.
    pub fn features(&self) -> usize {
        self.features
    }

    /// The margin from which contributions are counted.
    pub fn bias(&self) -> f64 {
        self.bias as f64 * GRID
    }

    /// The margin of a row, and what each feature added to the bias: `contributions` has one sum per feature, in
    /// units of the [grid](GRID).
    pub fn explain(&self, row: &[f32], contributions: &mut Vec<i64>) -> f64 {
        assert_eq!(row.len(), self.features, "a row has a value for each feature");
        contributions.clear();
        contributions.resize(self.features, 0);
        for group in &self.groups {
            for leaf in self.walk(row, group) {
                let shares = self.shares_at[leaf] as usize..self.shares_at[leaf + 1] as usize;
                for share in &self.shares[shares] {
                    contributions[share.feature as usize] += i64::from(share.units);
                }
            }
        }
        (self.bias + contributions.iter().sum::<i64>()) as f64 * GRID
    }

    /// The leaves that a row comes to in the trees of a group.
    #[expect(clippy::needless_bitwise_bool, reason = "no branch: which way a row goes is what a predictor cannot know")]
    fn walk(&self, row: &[f32], group: &Group) -> [usize; ABREAST] {
        let mut at = group.roots;
        for _ in 0..group.depth {
            let mut moved = 0;
            for (at, root) in at.iter_mut().zip(group.roots) {
                let step = self.steps[*at as usize];
                let x = row[usize::from(step.feature & !MISSING_RIGHT)];
                let right = (x > step.threshold) | (x.is_nan() & (step.feature & MISSING_RIGHT != 0));
                let next = root + u32::from(step.left) + u32::from(right);
                moved |= *at ^ next;
                *at = next;
            }
            if moved == 0 {
                break; // all are at their leaves
            }
        }
        at.map(|at| at as usize)
    }
}

fn units(value: f64) -> i64 {
    (value / GRID) as i64
}

/// The path with one more share; a feature that was asked before has one share, their sum.
fn with(path: &[Share], share: Share) -> Vec<Share> {
    let mut path = path.to_vec();
    match path.iter_mut().find(|other| other.feature == share.feature) {
        Some(other) => other.units += share.units,
        None => path.push(share),
    }
    path
}
