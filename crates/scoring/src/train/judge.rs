use millrace_schema::{FieldPath, Slot};

use super::{Error, Result, Settings, rows::Past, rows::Rows};
use crate::{
    Model,
    calibration::Calibration,
    gbdt::Matrix,
    metrics::Metrics,
    reference::Reference,
    thresholds::{self, Basis, Thresholds},
};

/// What later records say about a model that has not learned from them.
pub(super) struct Judged {
    pub(super) calibration: Calibration,
    pub(super) metrics: Metrics,
    pub(super) reference: Reference,
    pub(super) thresholds: Option<Thresholds>,
}

impl Judged {
    /// `later` are the labelled rows from `split` on, which the past has not counted yet.
    pub(super) fn of(settings: &Settings, model: &Model, later: &Rows, past: &Past<'_>, split: usize) -> Result<Self> {
        let margins = margins(model, &later.matrix);
        let calibration = Calibration::fit(settings.calibration, &margins, &later.labels);
        let probabilities: Vec<f64> = margins.iter().map(|margin| calibration.probability(*margin)).collect();
        let wanted = &settings.thresholds;
        let thresholds = if wanted.rates.is_empty() {
            None
        } else {
            Some(thresholds(wanted, past, split, |row, scratch| {
                calibration.probability(model.explain(row, false, scratch))
            })?)
        };
        Ok(Self {
            metrics: Metrics::of(&probabilities, &later.labels),
            reference: Reference::of(&later.matrix, &probabilities),
            thresholds,
            calibration,
        })
    }
}

fn margins(model: &Model, rows: &Matrix) -> Vec<f64> {
    let (mut row, mut contributions) = (Vec::new(), Vec::new());
    let margin = |i| {
        rows.read(i, &mut row);
        model.explain(&row, false, &mut contributions)
    };
    (0..rows.rows()).map(margin).collect()
}

/// Of the last week, as far as the model has not learned from it: what it knows by heart it scores better than it will.
fn thresholds(
    settings: &thresholds::Settings,
    past: &Past<'_>,
    split: usize,
    score: impl Fn(&[f32], &mut Vec<i64>) -> f64,
) -> Result<Thresholds> {
    let timeline = past.timeline();
    let from = timeline.last_days(settings.days).max(split);
    let tenant = settings.tenant.as_ref().map(|field| {
        let path = FieldPath::parse(field).map_err(|error| Error::Training(format!("tenant {field:?}: {error}")))?;
        past.corpus().projections(&[path])
    });
    let tenant = tenant.transpose()?;
    let (mut scores, mut contributions) = (Vec::new(), Vec::new());
    past.each_standing_still(from..timeline.len(), |record, row| {
        if settings.basis == Basis::Negatives && record.label != Some(false) {
            return Ok(());
        }
        let mut slots = Vec::new();
        if let Some(projections) = &tenant {
            let read = projections[record.writer].read(&record.datum, &mut slots);
            read.map_err(|source| Error::Corrupt { index: record.index, source })?;
        }
        let tenant = match slots.first() {
            Some(Slot::Str(text)) => Some((*text).into()),
            Some(Slot::Long(number)) => Some(number.to_string().into()),
            _ => None,
        };
        scores.push((tenant, score(row, &mut contributions)));
        Ok(())
    })?;
    let (from, to) = (timeline.time(from), timeline.time(timeline.len() - 1));
    Ok(Thresholds { from, to, ..Thresholds::of(settings, &scores) })
}
