#![expect(clippy::float_cmp, reason = "sums on the grid are exact: that is what is tested")]

use proptest::prelude::*;

use super::*;
use crate::gbdt::{Forest, GRID};

/// Three features of use, one constant, one of noise; a third of the values is missing.
fn sample(rows: usize, seed: u64) -> (Matrix, Vec<bool>) {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 24) as f32
    };
    let mut matrix = Matrix::new(5);
    let mut labels = Vec::new();
    for _ in 0..rows {
        let mut row = [next(), next() * 10.0, if next() < 0.5 { 1.0 } else { 0.0 }, 3.0, next()];
        let chance = row[0] + if row[1] > 5.0 { 0.4 } else { 0.0 } - 0.3 * row[2];
        labels.push(chance + 0.2 * next() > 0.6);
        if next() < 0.33 {
            row[1] = f32::NAN;
        }
        matrix.push(&row);
    }
    (matrix, labels)
}

fn settings() -> Settings {
    Settings { rounds: 30, leaves: 15, ..Settings::default() }
}

#[test]
fn trees_learn_what_is_there_and_stop_when_the_later_rows_are_served() {
    let (rows, labels) = sample(2000, 1);
    let (later, later_labels) = sample(1000, 2);
    let many = Settings { rounds: 400, ..settings() };
    let trained = fit(&rows, &labels, Some((&later, &later_labels)), &many);
    assert!(trained.model.trees.len() < 400 && trained.losses.len() < 400, "{}", trained.losses.len());
    let best = trained.losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(best < 0.35, "{best}");
    assert!((trained.losses[trained.model.trees.len() - 1] - best).abs() < 1e-12);
    assert_eq!(trained.model.problem(), None);
}

#[test]
fn the_seed_decides_and_nothing_else_does() {
    let (rows, labels) = sample(500, 3);
    let model = |seed| fit(&rows, &labels, None, &Settings { seed, ..settings() }).model;
    assert_eq!(model(1), model(1));
    assert_ne!(model(1), model(2));
}

#[test]
fn a_mean_is_the_mean_of_what_is_below() {
    let (rows, labels) = sample(500, 4);
    for tree in fit(&rows, &labels, None, &settings()).model.trees {
        assert!(tree.nodes.len() < 2 * 15);
        for node in &tree.nodes {
            let Some(split) = &node.split else { continue };
            let (left, right) = (&tree.nodes[usize::from(split.left)], &tree.nodes[usize::from(split.left) + 1]);
            assert_eq!(node.rows, left.rows + right.rows);
            let mean = (left.value * f64::from(left.rows) + right.value * f64::from(right.rows)) / f64::from(node.rows);
            assert!((node.value - mean).abs() <= GRID);
        }
    }
}

#[test]
fn one_kind_of_label_makes_a_model_without_trees_or_of_little_to_say() {
    let (rows, _) = sample(100, 5);
    let model = fit(&rows, &[false; 100], None, &settings()).model;
    assert!(model.margin(&[0.0; 5]) < -4.0);
    assert_eq!(model.problem(), None);
}

#[test]
fn a_model_survives_its_file_and_a_broken_one_is_told_from_it() {
    let (rows, labels) = sample(300, 6);
    let model = fit(&rows, &labels, None, &settings()).model;
    let text = serde_json::to_string(&model).unwrap();
    let mut back: Model = serde_json::from_str(&text).unwrap();
    assert_eq!(back, model);
    back.trees[3].nodes[0].split.as_mut().unwrap().left = 0;
    assert!(back.problem().unwrap().starts_with("tree 3: node 0: children at 0"), "{:?}", back.problem());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// The law of reasons: bias and contributions are the margin, to the last bit, for any model and any row.
    #[test]
    fn contributions_and_bias_sum_to_the_margin(
        seed in any::<u64>(),
        leaves in 2_usize..40,
        rows in prop::collection::vec(prop::array::uniform5(prop::option::of(-2.0_f32..12.0)), 1..20),
    ) {
        let (matrix, labels) = sample(300, seed);
        let model = fit(&matrix, &labels, None, &Settings { seed, leaves, rounds: 20, ..settings() }).model;
        let forest = Forest::new(&model);
        prop_assert_eq!(forest.bias(), model.bias());
        let mut contributions = Vec::new();
        for row in rows {
            let row = row.map(|x| x.unwrap_or(f32::NAN));
            let margin = forest.explain(&row, &mut contributions);
            prop_assert_eq!(margin, model.margin(&row));
            prop_assert_eq!(margin, model.bias() + contributions.iter().map(|units| *units as f64 * GRID).sum::<f64>());
        }
    }
}
