//! XGBoost's JSON, as its `save_model("model.json")` writes it.

use serde::Deserialize;

use super::{
    same_count, same_names,
    trees::{Branch, Missing, Node, Trees},
};

#[derive(Deserialize)]
struct File {
    learner: Learner,
}

#[derive(Deserialize)]
struct Learner {
    #[serde(default)]
    feature_names: Vec<String>,
    gradient_booster: Booster,
    #[serde(rename = "learner_model_param")]
    parameters: Parameters,
    objective: Named,
}

#[derive(Deserialize)]
struct Booster {
    name: String,
    /// Absent from other boosters, which are refused by their names.
    model: Option<Forest>,
}

#[derive(Deserialize)]
struct Parameters {
    base_score: String,
    num_feature: String,
    #[serde(default)]
    num_class: String,
    #[serde(default)]
    num_target: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Forest {
    trees: Vec<Tree>,
}

/// A node is a place in all of these lists.
#[derive(Deserialize)]
struct Tree {
    left_children: Vec<i64>,
    right_children: Vec<i64>,
    split_indices: Vec<usize>,
    /// A leaf's value stands here as well.
    split_conditions: Vec<f32>,
    default_left: Vec<Flag>,
    #[serde(default)]
    split_type: Vec<u8>,
    #[serde(default)]
    sum_hessian: Vec<f64>,
}

/// Older versions write booleans.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Flag {
    Bool(bool),
    Number(u8),
}

/// Reads the file for rows of these features.
pub(super) fn parse(file: &[u8], features: &[String]) -> Result<Trees, String> {
    let File { learner } = serde_json::from_slice(file).map_err(|error| error.to_string())?;
    let booster = learner.gradient_booster;
    let Some(forest) = booster.model.filter(|_| booster.name == "gbtree") else {
        return Err(format!("learner.gradient_booster: only `gbtree` can be used, and this is `{}`", booster.name));
    };
    let parameters = &learner.parameters;
    let at = |problem: String| format!("learner: {problem}");
    if !["", "0", "1"].contains(&parameters.num_class.as_str())
        || !["0", "1"].contains(&parameters.num_target.as_deref().unwrap_or("1"))
    {
        return Err(at("only models of two classes and one target can be used".to_owned()));
    }
    let number = &parameters.num_feature;
    let count = number.parse().map_err(|_| at(format!("num_feature is {number:?}")))?;
    same_count(count, features).map_err(at)?;
    if !learner.feature_names.is_empty() {
        same_names(learner.feature_names.iter().map(String::as_str), features).map_err(at)?;
    }
    let base = base(&parameters.base_score, &learner.objective.name).map_err(at)?;
    let mut trees = Trees::new(features.len(), base).map_err(at)?;
    for (i, tree) in forest.trees.iter().enumerate() {
        tree.nodes()
            .and_then(|nodes| trees.plant(&nodes, 1.0))
            .map_err(|problem| format!("learner.gradient_booster.model.trees[{i}]: {problem}"))?;
    }
    Ok(trees)
}

/// The margin of no tree. It stands there as a probability; newer versions write a list of one.
fn base(text: &str, objective: &str) -> Result<f64, String> {
    if !["binary:logistic", "reg:logistic"].contains(&objective) {
        return Err(format!("objective `{objective}`: only `binary:logistic` and `reg:logistic` give probabilities"));
    }
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let score = inner.parse::<f32>().ok().filter(|score| *score > 0.0 && *score < 1.0);
    let score = score.ok_or_else(|| format!("base_score is {text:?} and not a probability"))?;
    Ok((f64::from(score) / (1.0 - f64::from(score))).ln())
}

impl Tree {
    fn nodes(&self) -> Result<Vec<Node>, String> {
        let count = self.left_children.len();
        let lists = [
            ("right_children", self.right_children.len()),
            ("split_indices", self.split_indices.len()),
            ("split_conditions", self.split_conditions.len()),
            ("default_left", self.default_left.len()),
        ];
        for (name, length) in lists {
            if length != count {
                return Err(format!("{name} has {length} values and not {count}"));
            }
        }
        (0..count).map(|i| self.node(i).map_err(|problem| format!("node {i}: {problem}"))).collect()
    }

    fn node(&self, i: usize) -> Result<Node, String> {
        let value = self.split_conditions[i];
        let [left, right] = [self.left_children[i], self.right_children[i]];
        if left == -1 {
            let cover = self.sum_hessian.get(i).copied().unwrap_or(0.0);
            return Ok(Node::Leaf { value: f64::from(value), cover });
        }
        if self.split_type.get(i).is_some_and(|kind| *kind != 0) {
            return Err("categorical splits cannot be used: encode categories as numbers".to_owned());
        }
        let child = |child: i64| usize::try_from(child).map_err(|_| format!("its child is {child}"));
        let missing = Missing {
            left: match self.default_left[i] {
                Flag::Bool(left) => left,
                Flag::Number(left) => left != 0,
            },
            zero: false,
        };
        // Below the threshold goes left: among singles that is not above the one before it.
        let threshold = f64::from(value.next_down());
        let (left, right) = (child(left)?, child(right)?);
        Ok(Node::Branch(Branch { feature: self.split_indices[i], threshold, missing, left, right }))
    }
}
