//! Logistic regression by Newton's method: a handful of steps, and the same ones each time.

use serde::{Deserialize, Serialize};

use super::{Coefficient, Logistic};
use crate::gbdt::{Matrix, sigmoid};

/// How weights are found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The penalty on the squares of weights of standardised features; the intercept has none.
    pub l2: f64,
    /// Steps at most. Five to ten are the rule.
    pub steps: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { l2: 1.0, steps: 50 }
    }
}

/// Below this gain, in parts of the loss, there is nothing left to gain.
const ENOUGH: f64 = 1e-12;
/// Added to the curvature, so that it is never flat.
const RIDGE: f64 = 1e-9;

/// Fits weights to rows and labels. Features are standardised by their mean and deviation where they are not missing, and
/// missing values are the mean. Time grows with the square of the number of features.
pub fn fit(names: &[String], rows: &Matrix, labels: &[bool], settings: &Settings) -> Logistic {
    let mut problem = Problem::new(rows, labels, settings.l2.max(0.0));
    let mut weights = vec![0.0; rows.features() + 1];
    let mut loss = problem.loss(&weights);
    for _ in 0..settings.steps {
        let step = problem.step(&weights);
        let Some((next, better)) = (0..30).find_map(|halvings| {
            let part = 0.5_f64.powi(halvings);
            let next: Vec<f64> = weights.iter().zip(&step).map(|(weight, step)| weight - part * step).collect();
            let better = problem.loss(&next);
            (better < loss).then_some((next, better))
        }) else {
            break;
        };
        let gained = loss - better;
        (weights, loss) = (next, better);
        if gained <= ENOUGH * loss {
            break;
        }
    }
    let coefficients = names.iter().zip(&problem.spreads).zip(&weights).map(|((name, (mean, scale)), weight)| {
        Coefficient { feature: name.clone(), weight: *weight, mean: *mean, scale: *scale, impute: *mean }
    });
    Logistic { coefficients: coefficients.collect(), intercept: weights[rows.features()] }
}

struct Problem<'a> {
    rows: &'a Matrix,
    labels: &'a [bool],
    l2: f64,
    /// Mean and deviation by feature.
    spreads: Vec<(f64, f64)>,
    /// A standardised row, and a one for the intercept behind it.
    row: Vec<f64>,
}

impl<'a> Problem<'a> {
    fn new(rows: &'a Matrix, labels: &'a [bool], l2: f64) -> Self {
        let spreads = (0..rows.features()).map(|feature| spread(rows.column(feature))).collect();
        Self { rows, labels, l2, spreads, row: Vec::new() }
    }

    fn read(&mut self, row: usize) {
        self.row.clear();
        self.row.extend(self.spreads.iter().enumerate().map(|(feature, (mean, scale))| {
            let x = self.rows.column(feature)[row];
            if x.is_nan() { 0.0 } else { (f64::from(x) - mean) / scale }
        }));
        self.row.push(1.0);
    }

    fn margin(&self, weights: &[f64]) -> f64 {
        self.row.iter().zip(weights).map(|(x, weight)| x * weight).sum()
    }

    fn loss(&mut self, weights: &[f64]) -> f64 {
        let mut loss = self.l2 / 2.0 * weights[..weights.len() - 1].iter().map(|weight| weight * weight).sum::<f64>();
        for i in 0..self.labels.len() {
            self.read(i);
            let margin = self.margin(weights);
            let wrong = if self.labels[i] { -margin } else { margin };
            loss += wrong.max(0.0) + (-wrong.abs()).exp().ln_1p();
        }
        loss
    }

    /// The gradient, and the lower triangle of the matrix of second derivatives, row by row.
    fn derivatives(&mut self, weights: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let n = weights.len();
        let (mut gradient, mut curvature) = (vec![0.0; n], vec![0.0; n * n]);
        for i in 0..self.labels.len() {
            self.read(i);
            let p = sigmoid(self.margin(weights));
            let (error, weight) = (p - f64::from(u8::from(self.labels[i])), p * (1.0 - p));
            for (j, x) in self.row.iter().enumerate() {
                gradient[j] += error * x;
                let line = &mut curvature[j * n..=j * n + j];
                line.iter_mut().zip(&self.row).for_each(|(sum, y)| *sum += weight * x * y);
            }
        }
        for j in 0..n {
            let penalty = if j + 1 < n { self.l2 } else { 0.0 };
            gradient[j] += penalty * weights[j];
            curvature[j * n + j] += penalty + RIDGE;
        }
        (gradient, curvature)
    }

    /// What is to be taken away from the weights.
    fn step(&mut self, weights: &[f64]) -> Vec<f64> {
        let (mut step, mut factor) = self.derivatives(weights);
        solve(&mut factor, &mut step);
        step
    }
}

/// Solves in place by Cholesky's method: `matrix` is a lower triangle, and `x` the right side, then the solution.
fn solve(matrix: &mut [f64], x: &mut [f64]) {
    let n = x.len();
    for j in 0..n {
        for i in j..n {
            let dot: f64 = (0..j).map(|k| matrix[i * n + k] * matrix[j * n + k]).sum();
            let rest = matrix[i * n + j] - dot;
            matrix[i * n + j] = if i == j { rest.max(RIDGE * RIDGE).sqrt() } else { rest / matrix[j * n + j] };
        }
    }
    for i in 0..n {
        let dot: f64 = (0..i).map(|k| matrix[i * n + k] * x[k]).sum();
        x[i] = (x[i] - dot) / matrix[i * n + i];
    }
    for i in (0..n).rev() {
        let dot: f64 = (i + 1..n).map(|k| matrix[k * n + i] * x[k]).sum();
        x[i] = (x[i] - dot) / matrix[i * n + i];
    }
}

/// Mean and deviation of what is there. What never differs has a deviation of one, and comes to nothing.
fn spread(column: &[f32]) -> (f64, f64) {
    let there = || column.iter().filter(|x| !x.is_nan()).map(|x| f64::from(*x));
    let count = there().count().max(1) as f64;
    let mean = there().sum::<f64>() / count;
    let deviation = (there().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count).sqrt();
    (mean, if deviation > 1e-12 { deviation } else { 1.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_up() -> (Matrix, Vec<bool>) {
        let (mut rows, mut labels) = (Matrix::new(3), Vec::new());
        for i in 0_u32..400 {
            let x = [f64::from(i % 17) / 4.0, f64::from(i % 5), 7.0].map(|x| x as f32);
            labels.push((x[0] - x[1] + (i * 7 % 11) as f32 / 3.0) > 1.5);
            rows.push(&[x[0], if i % 9 == 0 { f32::NAN } else { x[1] }, x[2]]);
        }
        (rows, labels)
    }

    #[test]
    fn where_it_ends_there_is_no_slope() {
        let (rows, labels) = made_up();
        let names: Vec<String> = ["a", "b", "constant"].map(str::to_owned).to_vec();
        let fitted = fit(&names, &rows, &labels, &Settings::default());
        let weights: Vec<f64> =
            fitted.coefficients.iter().map(|c| c.weight).chain(std::iter::once(fitted.intercept)).collect();
        let (gradient, _) = Problem::new(&rows, &labels, 1.0).derivatives(&weights);
        assert!(gradient.iter().all(|slope| slope.abs() < 1e-4), "{gradient:?}");
        assert!(weights[0] > 0.5 && weights[1] < -0.5 && weights[2].abs() < 1e-9, "{weights:?}");
        assert_eq!(fitted.check(&names), Ok(()));
        assert_eq!(fit(&names, &rows, &labels, &Settings::default()), fitted, "the same each time");
    }

    #[test]
    fn what_is_told_apart_by_a_line_ends_as_well() {
        let mut rows = Matrix::new(1);
        (0_u8..20).for_each(|i| rows.push(&[f32::from(i)]));
        let labels: Vec<bool> = (0..20).map(|i| i > 9).collect();
        let fitted = fit(&["x".to_owned()], &rows, &labels, &Settings { l2: 0.0, ..Settings::default() });
        assert!(fitted.coefficients[0].weight.is_finite() && fitted.coefficients[0].weight > 1.0);
    }
}
