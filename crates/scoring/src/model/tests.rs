#![expect(clippy::float_cmp, reason = "sums on a grid are exact: that is what is tested")]

use proptest::prelude::*;

use super::*;

/// Trees as LightGBM writes them: one with each kind of missing values, one that is a leaf.
const LIGHTGBM: &str = "tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx=1
objective=binary sigmoid:2
feature_names=a b
feature_infos=[-3:3] [0:1]
tree_sizes=10 20

Tree=0
num_leaves=4
num_cat=0
split_feature=0 1 0
threshold=0.5 -1e-3 0.1
decision_type=10 6 0
left_child=1 -1 -2
right_child=2 -3 -4
leaf_value=-1 0.25 0.5 2
leaf_count=10 20 30 40
is_linear=0
shrinkage=1


Tree=1
num_leaves=1
num_cat=0
leaf_value=0.125
is_linear=0
shrinkage=1


end of trees

parameters:
[boosting: gbdt]
end of parameters
";

const XGBOOST: &str = r#"{"learner": {"attributes": {}, "feature_names": ["a", "b"], "feature_types": ["float", "float"],
"gradient_booster": {"model": {"gbtree_model_param": {"num_trees": "1"}, "tree_info": [0], "trees": [
{"base_weights": [0, 1, 2], "default_left": [true, false, false], "id": 0, "left_children": [1, -1, -1],
"right_children": [2, -1, -1], "parents": [2147483647, 0, 0], "split_conditions": [0.1, -0.5, 0.75],
"split_indices": [1, 0, 0], "split_type": [0, 0, 0], "sum_hessian": [4.0, 1.0, 3.0]}]}, "name": "gbtree"},
"learner_model_param": {"base_score": "[2.5E-1]", "num_class": "0", "num_feature": "2", "num_target": "1"},
"objective": {"name": "binary:logistic"}}, "version": [3, 2, 0]}"#;

fn features() -> Vec<String> {
    vec!["a".to_owned(), "b".to_owned()]
}

fn read(kind: Kind, file: &str) -> Result<Model, String> {
    Model::parse(kind, file.as_bytes(), &features(), None)
}

fn problem(kind: Kind, from: &str, to: &str) -> String {
    let file = if kind == Kind::Lightgbm { LIGHTGBM } else { XGBOOST };
    assert!(file.contains(from), "{from}");
    read(kind, &file.replacen(from, to, 1)).unwrap_err()
}

fn margin(model: &Model, row: [f32; 2]) -> f64 {
    model.explain(&row, true, &mut Vec::new())
}

#[test]
fn missing_values_go_where_lightgbm_sends_them() {
    let model = read(Kind::Lightgbm, LIGHTGBM).unwrap();
    assert_eq!((model.trees(), model.features()), (2, 2));
    // The margin is twice the sum: the objective's sigmoid is of 2.
    for (row, sum) in [
        ([0.5, -1.0], -1.0),     // not above the threshold
        ([f32::NAN, 0.5], 0.5),  // NaN goes left
        ([0.0, 0.0], -1.0),      // zero is missing and goes left, though above -0.001
        ([0.0, f32::NAN], -1.0), // as is NaN there
        ([0.500_01, 0.0], 2.0),
        ([f32::MAX, f32::NAN], 2.0),
    ] {
        assert_eq!(margin(&model, row), 2.0 * (sum + 0.125), "{row:?}");
    }
    // By leaf counts: (10 * -1 + 30 * .5 + 20 * .25 + 40 * 2) / 100.
    assert!((model.bias() - 2.0 * (0.9 + 0.125)).abs() < 1e-9);
}

#[test]
fn a_value_at_xgboosts_threshold_goes_right() {
    let model = read(Kind::Xgboost, XGBOOST).unwrap();
    let base = (0.25_f64 / 0.75).ln();
    for (x, leaf) in [(0.1_f32, 0.75), (0.1_f32.next_down(), -0.5), (f32::NAN, -0.5), (0.0, -0.5), (1.0, 0.75)] {
        assert!((margin(&model, [9.0, x]) - (base + leaf)).abs() < 1e-9, "{x}");
    }
    let older = XGBOOST.replace("\"[2.5E-1]\"", "\"2.5E-1\"").replace("[true, false, false]", "[1, 0, 0]");
    assert_eq!(read(Kind::Xgboost, &older).unwrap().bias(), model.bias());
}

#[test]
fn what_cannot_be_used_is_said_with_its_place() {
    for (from, to, expected) in [
        ("tree\n", "", "line 1"),
        ("version=v4", "version=v9", "line 2: version v9"),
        ("num_class=1", "num_class=3", "line 3: num_class=3"),
        ("binary sigmoid:2", "regression", "line 7: objective `regression`"),
        ("feature_names=a b", "feature_names=a c", "line 8: feature 1 is `c` in the model and `b`"),
        ("feature_idx=1", "feature_idx=2", "line 8: made for 3 features, and there are 2"),
        ("tree_sizes=10 20", "tree_sizes=10", "line 10: sizes of 1 trees"),
        ("decision_type=10 6 0", "decision_type=10 7 0", "line 17: node 1: categorical"),
        ("decision_type=10 6 0", "decision_type=10 6", "line 17: decision_type has 2 values and not 3"),
        ("left_child=1 -1", "left_child=0 -1", "line 12: tree 0: node 0 has more than one parent"),
        ("left_child=1 -1", "left_child=77 -1", "line 12: tree 0: node 77 of 7"),
        ("left_child=1 -1", "left_child=1 -9223372036854775808", "line 12: tree 0: node"),
        ("split_feature=0 1", "split_feature=0 9", "line 12: tree 0: node 1: feature 9 of 2"),
        ("threshold=0.5", "threshold=nan", "line 12: tree 0: node 0: its threshold"),
        ("leaf_value=-1", "leaf_value=inf", "its value is inf"),
        ("leaf_value=-1", "leaf_value=1e9", "more than 65536"),
        ("leaf_value=-1 0.25", "leaf_value=x 0.25", "line 20: leaf_value has \"x\""),
        ("is_linear=0", "is_linear=1", "line 22: is_linear=1: linear trees"),
        ("num_leaves=4", "num_leaves=4000000000", "has 4 values and not 4000000000"),
        ("end of trees", "", "cut short"),
    ] {
        let problem = problem(Kind::Lightgbm, from, to);
        assert!(problem.contains(expected), "{to}: {problem}");
    }
    for (from, to, expected) in [
        ("\"gbtree\"}", "\"dart\"}", "only `gbtree` can be used, and this is `dart`"),
        ("binary:logistic", "rank:pairwise", "objective `rank:pairwise`"),
        ("[2.5E-1]", "1.5", "base_score is \"1.5\""),
        ("\"num_class\": \"0\"", "\"num_class\": \"3\"", "two classes"),
        ("[\"a\", \"b\"]", "[\"b\", \"a\"]", "feature 0 is `b` in the model and `a`"),
        ("\"num_feature\": \"2\"", "\"num_feature\": \"7\"", "made for 7 features, and there are 2"),
        ("\"split_type\": [0", "\"split_type\": [1", "trees[0]: node 0: categorical"),
        ("[1, -1, -1]", "[-7, -1, -1]", "trees[0]: node 0: its child is -7"),
        ("[1, -1, -1]", "[5, -1, -1]", "trees[0]: node 5 of 3"),
        ("[1, -1, -1]", "[0, -1, -1]", "trees[0]: node 0 has more than one parent"),
        ("\"split_indices\": [1", "\"split_indices\": [4", "trees[0]: node 0: feature 4 of 2"),
        ("\"split_conditions\": [0.1, ", "\"split_conditions\": [", "split_conditions has 2 values and not 3"),
        ("\"left_children\": [1", "\"left_children\": [\"x\"", "line 3 column"),
    ] {
        let problem = problem(Kind::Xgboost, from, to);
        assert!(problem.contains(expected), "{to}: {problem}");
    }
    assert!(Model::parse(Kind::Onnx, b"no network", &features(), None).unwrap_err().contains("missing values"));
}

#[test]
fn names_that_were_made_up_are_no_names() {
    assert!(read(Kind::Lightgbm, &LIGHTGBM.replace("feature_names=a b", "feature_names=Column_0 Column_1")).is_ok());
    assert!(read(Kind::Xgboost, &XGBOOST.replace("[\"a\", \"b\"]", "[]")).is_ok());
}

#[test]
fn a_forest_that_averages_divides_by_its_trees() {
    let model = read(Kind::Lightgbm, &LIGHTGBM.replace("label_index=0", "average_output")).unwrap();
    assert_eq!(margin(&model, [0.5, -1.0]), -1.0 + 0.125);
}

#[test]
fn weights_with_other_names_or_without_a_scale_are_refused() {
    let coefficient =
        |feature: &str, scale| Coefficient { feature: feature.to_owned(), weight: 2.0, mean: 1.0, scale, impute: 3.0 };
    let read = |b: &str, scale| {
        let model = Logistic { intercept: 0.5, coefficients: vec![coefficient("a", 4.0), coefficient(b, scale)] };
        Model::parse(Kind::Logistic, &Model::from(model).file(), &features(), None)
    };
    let mut contributions = Vec::new();
    let model = read("b", 0.5).unwrap();
    assert_eq!(model.explain(&[5.0, f32::NAN], true, &mut contributions), 0.5 + 2.0 + 8.0);
    assert_eq!(contributions.iter().map(|units| *units as f64 * model.grid()).collect::<Vec<_>>(), [2.0, 8.0]);
    assert!(read("c", 0.5).unwrap_err().contains("feature 1 is `c`"));
    assert!(read("b", 0.0).unwrap_err().contains("coefficients[1] of `b`"));
}

/// Files that were cut short, or have a byte that is another one.
fn damaged() -> impl Strategy<Value = (Kind, Vec<u8>)> {
    let file = prop_oneof![Just((Kind::Lightgbm, LIGHTGBM)), Just((Kind::Xgboost, XGBOOST))];
    (file, any::<prop::sample::Index>(), any::<u8>(), any::<bool>()).prop_map(|((kind, file), at, byte, cut)| {
        let mut file = file.as_bytes().to_vec();
        let at = at.index(file.len());
        if cut {
            file.truncate(at);
        } else {
            file[at] = byte;
        }
        (kind, file)
    })
}

proptest! {
    #[test]
    fn bias_and_contributions_are_the_margin(a in prop::num::f32::ANY, b in prop::num::f32::NORMAL, scale in 0.01..9.0_f64) {
        let logistic = Logistic {
            intercept: -0.3,
            coefficients: features()
                .into_iter()
                .map(|feature| Coefficient { feature, weight: 0.7, mean: 0.1, scale, impute: 0.2 })
                .collect(),
        };
        // Of infinities there are none in rows.
        let row = [if a.is_finite() { a } else { f32::NAN }, b];
        for model in [read(Kind::Lightgbm, LIGHTGBM).unwrap(), read(Kind::Xgboost, XGBOOST).unwrap(), logistic.into()] {
            let mut contributions = Vec::new();
            let margin = model.explain(&row, true, &mut contributions);
            let sum: f64 = contributions.iter().map(|units| *units as f64 * model.grid()).sum();
            prop_assert_eq!(margin, model.bias() + sum);
        }
    }

    #[test]
    fn damaged_files_are_refused_or_score_and_never_panic((kind, file) in damaged()) {
        if let Ok(model) = Model::parse(kind, &file, &features(), None) {
            prop_assert!(margin(&model, [0.3, f32::NAN]).is_finite());
        }
    }
}

#[test]
fn no_part_of_a_file_is_taken_for_the_whole() {
    let trees = LIGHTGBM.find("end of trees").unwrap();
    for (kind, file, whole) in
        [(Kind::Lightgbm, LIGHTGBM, trees + "end of trees".len()), (Kind::Xgboost, XGBOOST, XGBOOST.len())]
    {
        for end in 0..whole {
            assert!(read(kind, &file[..end]).is_err(), "{kind:?} to {end}");
        }
    }
}
