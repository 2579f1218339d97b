//! Events that a bundle carries with it, and what they must score: whoever is about to use the bundle tries it on them.

use std::{path::PathBuf, sync::Arc};

use millrace_schema::Schema;
use serde::{Deserialize, Serialize};

use super::{
    Bundle,
    manifest::{hex, unhex},
};
use crate::{
    Error, Result,
    gbdt::sigmoid,
    model::within,
    plan::{Plan, Scratch},
};

/// Reasons that are kept of each event.
const REASONS: usize = 3;

/// How far the probability of a model whose sums depend on the machine may be from what it was.
const NEAR: f64 = 1e-6;

/// How far that of an exact margin may be: exponentials differ in their last bits from one mathematics library to another.
const SAME: f64 = 1e-12;

/// The events and their scores.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rows {
    /// The schemas that the events were written with.
    writers: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    writer: usize,
    /// In hexadecimal digits.
    datum: String,
    margin: f64,
    probability: f64,
    /// The greatest contributions, by feature.
    reasons: Vec<(String, f64)>,
}

impl Bundle {
    /// Scores the events that the bundle carries, and compares with what they scored when it was made. What differs is an
    /// error that says where. Gives the number of events: bundles from before there were such carry none.
    ///
    /// Margins and reasons are to be the same to the last bit; of a network, probabilities before calibration within a
    /// millionth.
    pub fn warm_up(self: &Arc<Self>) -> Result<usize> {
        let Some(expected) = &self.rows else { return Ok(0) };
        let wrong = |i: usize, problem: String| self.wrong_rows(format!("rows[{i}]: {problem}"));
        let writers = self.writers(expected)?;
        let mut scratch = Scratch::default();
        for (i, row) in expected.rows.iter().enumerate() {
            let plan = writers.get(row.writer).ok_or_else(|| wrong(i, format!("no writer {}", row.writer)))?;
            let datum =
                unhex(&row.datum).ok_or_else(|| wrong(i, "its datum is not in hexadecimal digits".to_owned()))?;
            let got = score(plan, &datum, row.writer, &mut scratch).map_err(|error| wrong(i, error.to_string()))?;
            if let Some(problem) = difference(row, &got, self.model().is_exact()) {
                return Err(wrong(i, problem));
            }
        }
        Ok(expected.rows.len())
    }

    /// How many events the bundle carries.
    pub fn reference_rows(&self) -> usize {
        self.rows.as_ref().map_or(0, |rows| rows.rows.len())
    }

    /// With these events, by writer, and the scores that they have now.
    pub(crate) fn with_rows(self, writers: &[&Schema], events: &[(usize, &[u8])]) -> Result<Self> {
        let bundle = Arc::new(self);
        let mut rows = Rows { writers: writers.iter().map(|writer| writer.standalone()).collect(), rows: Vec::new() };
        let plans = bundle.writers(&rows)?;
        let mut scratch = Scratch::default();
        for (index, (writer, datum)) in events.iter().enumerate() {
            let row = score(&plans[*writer], datum, *writer, &mut scratch);
            rows.rows.push(row.map_err(|source| Error::Corrupt { index, source })?);
        }
        drop(plans);
        let bundle = Arc::into_inner(bundle).expect("the plans were the others that had it");
        let (name, training) = (bundle.manifest.name.clone(), bundle.manifest.training.clone());
        Ok(Self { rows: Some(rows), ..bundle }.described(name, training))
    }

    fn writers(self: &Arc<Self>, rows: &Rows) -> Result<Vec<Plan>> {
        let plan = |(i, text): (usize, &String)| {
            let schema = Schema::parse(text).map_err(|error| self.wrong_rows(format!("writers[{i}]: {error}")))?;
            Plan::compile(self, &schema)
        };
        rows.writers.iter().enumerate().map(plan).collect()
    }

    fn wrong_rows(&self, problem: String) -> Error {
        let file = self.manifest().files.get("rows").map_or("rows", |entry| entry.file.as_str());
        Error::Bundle { path: PathBuf::from(file), problem }
    }
}

fn score(plan: &Plan, datum: &[u8], writer: usize, scratch: &mut Scratch) -> Result<Row, millrace_schema::Corrupt> {
    let score = plan.score(datum, scratch, REASONS)?;
    let reasons = plan.reasons(scratch).map(|reason| (reason.feature.to_owned(), reason.contribution)).collect();
    Ok(Row { writer, datum: hex(datum), margin: score.margin, probability: score.probability, reasons })
}

/// What is not as it should be, if anything.
fn difference(expected: &Row, got: &Row, exact: bool) -> Option<String> {
    if !exact {
        let near = within(sigmoid(expected.margin) - sigmoid(got.margin), NEAR);
        return (!near).then(|| format!("its margin must be {} and is {}", expected.margin, got.margin));
    }
    #[expect(clippy::float_cmp, reason = "sums on a grid are exact")]
    if expected.margin != got.margin {
        return Some(format!("its margin must be {} and is {}", expected.margin, got.margin));
    }
    if !within(expected.probability - got.probability, SAME) {
        return Some(format!("its probability must be {} and is {}", expected.probability, got.probability));
    }
    let differ = expected.reasons != got.reasons;
    differ.then(|| format!("its reasons must be {:?} and are {:?}", expected.reasons, got.reasons))
}
