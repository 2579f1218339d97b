use std::sync::Arc;

use millrace_schema::{Corrupt, Projection, Schema};

use crate::{Bundle, Result, features::Cells};

/// How records of one writer's schema are scored with one bundle.
pub struct Plan {
    bundle: Arc<Bundle>,
    projection: Projection,
}

/// What a model says about a record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Calibrated, from 0 to 1.
    pub probability: f64,
    /// In log-odds before calibration: what contributions sum to.
    pub margin: f64,
    /// How many of the event's bytes were its datum.
    pub consumed: usize,
}

/// Why a score is what it is, in part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reason<'a> {
    /// The feature's name.
    pub feature: &'a str,
    /// What it was computed from; nothing where that was missing.
    pub value: Option<&'a str>,
    /// What it added to the margin.
    pub contribution: f64,
}

/// Memory that is used again for each record; afterwards it holds what was found about the last one.
#[derive(Debug, Default)]
pub struct Scratch {
    cells: Cells<'static>,
    row: Vec<f32>,
    contributions: Vec<i64>,
    /// What a unit of contributions is worth.
    grid: f64,
    top: Vec<Top>,
    text: String,
}

/// A reason: its feature, and where its value stands in the text.
#[derive(Clone, Copy, Debug)]
struct Top {
    feature: usize,
    units: i64,
    value: Option<(usize, usize)>,
}

impl Scratch {
    /// The features of the last record, in the order of the document; NaN is missing.
    pub fn row(&self) -> &[f32] {
        &self.row
    }

    /// What each feature of the last record added to the model's bias; together they are the margin. Networks say so
    /// only where reasons were asked for.
    pub fn contributions(&self) -> impl ExactSizeIterator<Item = f64> {
        self.contributions.iter().map(|units| *units as f64 * self.grid)
    }
}

impl Plan {
    /// Prepares to score records of `writer`. Fields that it does not have take their defaults: those of the schema
    /// that the bundle was trained with, else those of the document of features.
    pub fn compile(bundle: &Arc<Bundle>, writer: &Schema) -> Result<Self> {
        let projection = Projection::compile(writer, bundle.schema(), bundle.program().paths())?;
        Ok(Self { bundle: Arc::clone(bundle), projection })
    }

    /// The bundle that it scores with.
    pub fn bundle(&self) -> &Arc<Bundle> {
        &self.bundle
    }

    /// Whether the writer's records have any of the fields that features are made of. Where they have none, each score is that
    /// of a record that lacks everything.
    pub fn reads_anything(&self) -> bool {
        (0..self.projection.len()).any(|slot| self.projection.kind(slot).present)
    }

    /// Scores one event and finds up to so many [`reasons`](Self::reasons).
    pub fn score(&self, event: &[u8], scratch: &mut Scratch, reasons: usize) -> Result<Score, Corrupt> {
        let bundle = &*self.bundle;
        let mut cells = Cells::recycled(std::mem::take(&mut scratch.cells));
        let read = self.projection.read(event, &mut cells.slots);
        if read.is_ok() {
            bundle.program().prepare(&mut cells);
            bundle.program().row(&cells, bundle.baselines(), &mut scratch.row);
        }
        let score = read.map(|consumed| {
            let margin = bundle.model().explain(&scratch.row, reasons > 0, &mut scratch.contributions);
            scratch.grid = bundle.model().grid();
            Score { probability: bundle.calibration().probability(margin), margin, consumed }
        });
        scratch.text.clear();
        scratch.top.clear();
        if score.is_ok() && reasons > 0 {
            top(&scratch.contributions, reasons, &mut scratch.top);
            for top in &mut scratch.top {
                let start = scratch.text.len();
                let shown = bundle.program().describe(top.feature, &cells, bundle.baselines(), &mut scratch.text);
                top.value = shown.then_some((start, scratch.text.len()));
            }
        }
        scratch.cells = Cells::recycled(cells);
        score
    }

    /// The reasons for the last score that was made with this plan and `scratch`: the greatest contributions, either
    /// way, first.
    pub fn reasons<'a>(&'a self, scratch: &'a Scratch) -> impl ExactSizeIterator<Item = Reason<'a>> {
        scratch.top.iter().map(|top| Reason {
            feature: &self.bundle.program().names()[top.feature],
            value: top.value.map(|(start, end)| &scratch.text[start..end]),
            contribution: top.units as f64 * scratch.grid,
        })
    }
}

/// The features that contribute most, either way; of equals the first. None that contributes nothing.
fn top(contributions: &[i64], most: usize, out: &mut Vec<Top>) {
    for (feature, &units) in contributions.iter().enumerate() {
        let last = out.last().filter(|_| out.len() == most).map_or(0, |last| last.units.unsigned_abs());
        if units.unsigned_abs() <= last {
            continue;
        }
        let place = out.partition_point(|other| other.units.unsigned_abs() >= units.unsigned_abs());
        out.truncate(most - 1);
        out.insert(place, Top { feature, units, value: None });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_come_first_and_nothing_is_no_reason() {
        let mut out = Vec::new();
        top(&[3, 0, -7, 3, 1, 7], 4, &mut out);
        assert_eq!(out.iter().map(|top| top.feature).collect::<Vec<_>>(), [2, 5, 0, 3]);
        out.clear();
        top(&[0, 0], 4, &mut out);
        assert!(out.is_empty());
    }
}
