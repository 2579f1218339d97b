//! LightGBM's text format, as its `save_model` writes it.

use std::{collections::HashMap, str::FromStr};

use super::{
    same_count, same_names,
    trees::{Branch, Missing, Node, Trees},
};

/// Bits of a node's `decision_type`.
const CATEGORICAL: u8 = 1;
const DEFAULT_LEFT: u8 = 2;
const MISSING_SHIFT: u8 = 2;

/// Lines `key=value` up to the next section.
struct Section<'a> {
    /// Where it begins.
    line: usize,
    pairs: HashMap<&'a str, (usize, &'a str)>,
}

/// Reads the file for rows of these features.
pub(super) fn parse(text: &str, features: &[String]) -> Result<Trees, String> {
    let mut lines = text.lines().enumerate().map(|(i, line)| (i + 1, line.trim_end()));
    if lines.next().is_none_or(|(_, line)| line != "tree") {
        return Err("line 1: not a model in LightGBM's text format: it begins with `tree`".to_owned());
    }
    let mut sections = vec![Section { line: 1, pairs: HashMap::new() }];
    let ended = lines.any(|(number, line)| {
        if line.starts_with("Tree=") {
            sections.push(Section { line: number, pairs: HashMap::new() });
        } else if let Some(section) = sections.last_mut() {
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            section.pairs.insert(key, (number, value));
        }
        line == "end of trees"
    });
    if !ended {
        return Err("the file is cut short: there is no line `end of trees`".to_owned());
    }
    let header = sections.remove(0);
    let averages = header.pairs.contains_key("average_output");
    let scale = header.check(features)? / if averages { sections.len().max(1) as f64 } else { 1.0 };
    // The count of trees is said by the list of their sizes: a file that lost one is told by it.
    if let Some((line, sizes)) = header.pairs.get("tree_sizes") {
        let said = sizes.split_ascii_whitespace().count();
        if said != sections.len() {
            return Err(format!("line {line}: sizes of {said} trees, and there are {}", sections.len()));
        }
    }
    let mut trees = Trees::new(features.len(), 0.0)?;
    for (i, section) in sections.iter().enumerate() {
        let nodes = section.nodes().map_err(|problem| format!("tree {i}: {problem}"))?;
        trees.plant(&nodes, scale).map_err(|problem| format!("line {}: tree {i}: {problem}", section.line))?;
    }
    Ok(trees)
}

impl<'a> Section<'a> {
    /// Checks what the header says; gives what raw sums are to be multiplied by to be log-odds.
    fn check(&self, features: &[String]) -> Result<f64, String> {
        let (line, version) = self.pair("version")?;
        if !["v2", "v3", "v4"].contains(&version) {
            return Err(format!("line {line}: version {version} of the format is not one of v2, v3, v4"));
        }
        for key in ["num_class", "num_tree_per_iteration"] {
            let (line, value) = self.pair(key)?;
            if value != "1" {
                return Err(format!("line {line}: {key}={value}: only models of two classes can be used"));
            }
        }
        let most: usize = self.one("max_feature_idx")?;
        let (line, names) = self.pair("feature_names")?;
        let at = |problem: String| format!("line {line}: {problem}");
        same_count(most.saturating_add(1), features).map_err(at)?;
        let names: Vec<&str> = names.split_ascii_whitespace().collect();
        // What it calls features that it was given without names.
        let made_up = names.iter().enumerate().all(|(i, name)| *name == format!("Column_{i}"));
        if !made_up {
            same_names(names.iter().copied(), features).map_err(at)?;
        }
        let (line, objective) = self.pair("objective")?;
        let mut words = objective.split_ascii_whitespace();
        let scale = match words.next() {
            Some("binary") => words.find_map(|word| word.strip_prefix("sigmoid:")).unwrap_or("1").parse().ok(),
            Some("cross_entropy") => Some(1.0),
            _ => None,
        };
        scale.filter(|scale: &f64| scale.is_finite() && *scale > 0.0).ok_or_else(|| {
            format!("line {line}: objective `{objective}`: only `binary` and `cross_entropy` give probabilities")
        })
    }

    /// The tree's nodes: branches first, then leaves.
    fn nodes(&self) -> Result<Vec<Node>, String> {
        let leaves: usize = self.one("num_leaves")?;
        if let Some((line, linear)) = self.pairs.get("is_linear").filter(|(_, linear)| *linear != "0") {
            return Err(format!("line {line}: is_linear={linear}: linear trees cannot be used"));
        }
        let values: Vec<f64> = self.list("leaf_value", leaves)?;
        let covers: Vec<f64> =
            if self.pairs.contains_key("leaf_count") { self.list("leaf_count", leaves)? } else { vec![0.0; leaves] };
        let branches = leaves.checked_sub(1).ok_or_else(|| format!("line {}: no leaves", self.line))?;
        let mut nodes = Vec::with_capacity(branches + leaves);
        if branches > 0 {
            let asked: Vec<usize> = self.list("split_feature", branches)?;
            let thresholds: Vec<f64> = self.list("threshold", branches)?;
            let decisions: Vec<u8> = self.list("decision_type", branches)?;
            let left: Vec<i64> = self.list("left_child", branches)?;
            let right: Vec<i64> = self.list("right_child", branches)?;
            let line = self.pair("decision_type")?.0;
            for i in 0..branches {
                let missing = missing(decisions[i], thresholds[i])
                    .map_err(|problem| format!("line {line}: node {i}: {problem}"))?;
                nodes.push(Node::Branch(Branch {
                    feature: asked[i],
                    threshold: thresholds[i],
                    missing,
                    left: child(left[i], branches),
                    right: child(right[i], branches),
                }));
            }
        }
        nodes.extend(values.into_iter().zip(covers).map(|(value, cover)| Node::Leaf { value, cover }));
        Ok(nodes)
    }

    fn pair(&self, key: &str) -> Result<(usize, &'a str), String> {
        let missing = || format!("line {}: there is no `{key}`", self.line);
        self.pairs.get(key).copied().ok_or_else(missing)
    }

    fn one<T: FromStr>(&self, key: &str) -> Result<T, String> {
        let (line, value) = self.pair(key)?;
        value.trim().parse().map_err(|_| format!("line {line}: {key}={value} is not what it should be"))
    }

    fn list<T: FromStr>(&self, key: &str, length: usize) -> Result<Vec<T>, String> {
        let (line, text) = self.pair(key)?;
        let item = |item: &str| item.parse().map_err(|_| format!("line {line}: {key} has {item:?}"));
        let items: Vec<T> = text.split_ascii_whitespace().map(item).collect::<Result<_, _>>()?;
        if items.len() == length {
            return Ok(items);
        }
        Err(format!("line {line}: {key} has {} values and not {length}", items.len()))
    }
}

/// Leaves are named by the complements of their numbers. What is beyond all nodes is refused where the tree is planted.
fn child(number: i64, branches: usize) -> usize {
    if number >= 0 { number as usize } else { branches.saturating_add(!number as usize) }
}

fn missing(decision: u8, threshold: f64) -> Result<Missing, String> {
    if decision & CATEGORICAL != 0 {
        return Err("categorical splits cannot be used: encode categories as numbers".to_owned());
    }
    let left = decision & DEFAULT_LEFT != 0;
    match decision >> MISSING_SHIFT {
        // What is missing is taken for zero.
        0 => Ok(Missing { left: 0.0 <= threshold, zero: false }),
        1 => Ok(Missing { left, zero: true }),
        2 => Ok(Missing { left, zero: false }),
        other => Err(format!("unknown kind {other} of missing values")),
    }
}
