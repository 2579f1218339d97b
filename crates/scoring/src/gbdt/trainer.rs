use super::{
    Matrix, Model, Settings, Tree,
    bins::{Binned, Bins},
    grow::{Soil, grow},
    model::on_grid,
    random::Random,
    sigmoid,
};

/// A model, and how its training went.
#[derive(Clone, Debug)]
pub struct Trained {
    /// Up to its best round.
    pub model: Model,
    /// Logarithmic loss on the later rows, by round; empty without such rows.
    pub losses: Vec<f64>,
}

/// Fits trees to rows and labels. With later rows, training stops when these are no longer predicted better, and the
/// model ends at the best round.
///
/// The same data, settings and seed give the same model.
pub fn fit(rows: &Matrix, labels: &[bool], later: Option<(&Matrix, &[bool])>, settings: &Settings) -> Trained {
    let bins = Bins::fit(rows, settings.bins);
    let data = bins.apply(rows);
    let base = on_grid(log_odds(labels));
    let mut run = Run { margins: vec![base; labels.len()], labels, settings, random: Random::new(settings.seed) };
    let mut watch = later.map(|(matrix, labels)| Watch::new(bins.apply(matrix), labels, base));
    let mut trees = Vec::new();
    for _ in 0..settings.rounds {
        let Some(tree) = run.round(&data, &bins, watch.as_mut()) else { break };
        trees.push(tree);
        if watch.as_ref().is_some_and(|watch| watch.is_over(settings.patience)) {
            break;
        }
    }
    let losses = watch.map_or_else(Vec::new, |watch| {
        trees.truncate(watch.best + 1);
        watch.losses
    });
    Trained { model: Model { features: rows.features(), base, trees }, losses }
}

struct Run<'a> {
    margins: Vec<f64>,
    labels: &'a [bool],
    settings: &'a Settings,
    random: Random,
}

impl Run<'_> {
    /// The next tree, or none when nothing is left to gain.
    fn round(&mut self, data: &Binned, bins: &Bins, watch: Option<&mut Watch<'_>>) -> Option<Tree> {
        let derivatives: Vec<(f32, f32)> = self.margins.iter().zip(self.labels).map(derivative).collect();
        let rows = self.random.bernoulli(data.rows, self.settings.row_share);
        let features = self.random.choose(data.columns.len(), self.settings.feature_share);
        let soil = Soil { data, bins, derivatives: &derivatives, features: &features, settings: self.settings };
        let grown = grow(soil, rows);
        for (row, margin) in self.margins.iter_mut().enumerate() {
            *margin += grown.value(data, row);
        }
        if let Some(watch) = watch {
            watch.advance(|data, row| grown.value(data, row));
        }
        (grown.tree.nodes.len() > 1).then_some(grown.tree)
    }
}

/// Looks at rows from after the training's.
struct Watch<'a> {
    data: Binned,
    labels: &'a [bool],
    margins: Vec<f64>,
    losses: Vec<f64>,
    best: usize,
}

impl<'a> Watch<'a> {
    fn new(data: Binned, labels: &'a [bool], base: f64) -> Self {
        Self { data, labels, margins: vec![base; labels.len()], losses: Vec::new(), best: 0 }
    }

    fn advance(&mut self, value: impl Fn(&Binned, usize) -> f64) {
        for (row, margin) in self.margins.iter_mut().enumerate() {
            *margin += value(&self.data, row);
        }
        let loss = self.margins.iter().zip(self.labels).map(|(margin, label)| loss(*margin, *label)).sum::<f64>();
        self.losses.push(loss / self.labels.len() as f64);
        if self.losses.last() < self.losses.get(self.best) {
            self.best = self.losses.len() - 1;
        }
    }

    fn is_over(&self, patience: usize) -> bool {
        self.losses.len() - 1 - self.best >= patience
    }
}

/// Of the logistic loss by the margin: first and second.
fn derivative((margin, label): (&f64, &bool)) -> (f32, f32) {
    let p = sigmoid(*margin);
    ((p - f64::from(u8::from(*label))) as f32, (p * (1.0 - p)).max(1e-12) as f32)
}

/// `ln(1 + exp(-m))` for a positive and `ln(1 + exp(m))` for a negative, without overflow.
fn loss(margin: f64, label: bool) -> f64 {
    let wrong = if label { -margin } else { margin };
    wrong.max(0.0) + (-wrong.abs()).exp().ln_1p()
}

fn log_odds(labels: &[bool]) -> f64 {
    let positives = labels.iter().filter(|label| **label).count() as f64;
    // Half a row of each kind, so that an absent kind is unlikely and not impossible.
    ((positives + 0.5) / (labels.len() as f64 - positives + 0.5)).ln()
}

#[cfg(test)]
mod tests;
