//! The rows that Postgres refuses, found by halving.
//!
//! Each try is a whole transaction that is rolled back: the very same statements, so that a row which only an
//! aggregate or another row of the batch stumbles over is found as well.

use std::{collections::BTreeSet, future::Future, ops::Range, sync::Arc};

use millrace_kafka::source::Batch;
use millrace_postgres::copy::Rows;

use crate::{
    batch::ranges,
    error::{Error, Reject, Result},
    shape::Shape,
    store::{End, Session},
};

/// Whether Postgres takes rows.
pub(crate) trait Trial {
    /// Tries some ranges of them, and leaves nothing.
    fn fits(&mut self, ranges: &[Range<usize>]) -> impl Future<Output = Result<()>> + Send;
}

/// Rows of the stream, with their place in the ledger.
pub(crate) struct BatchTrial<'a> {
    pub(crate) session: &'a mut Session,
    pub(crate) shape: &'a Arc<Shape>,
    pub(crate) batches: &'a [Batch],
    pub(crate) rows: &'a Rows,
}

impl Trial for BatchTrial<'_> {
    async fn fits(&mut self, ranges: &[Range<usize>]) -> Result<()> {
        self.session.store(self.shape, self.batches, self.rows, ranges, End::Rollback).await.map(drop)
    }
}

/// Those of `rows` that cannot be stored beside those that can, with the reason of each.
pub(crate) async fn bad_rows(rows: Vec<usize>, trial: &mut impl Trial) -> Result<Vec<(usize, Reject)>> {
    let mut good: BTreeSet<usize> = BTreeSet::new();
    let mut bad = Vec::new();
    let mut open: Vec<Range<usize>> = Vec::from_iter((!rows.is_empty()).then_some(0..rows.len()));
    while let Some(part) = open.pop() {
        let mut tried: Vec<usize> = good.iter().copied().chain(rows[part.clone()].iter().copied()).collect();
        tried.sort_unstable();
        match trial.fits(&ranges(&tried)).await {
            Ok(()) => good.extend(&rows[part]),
            Err(error) if error.is_data() && part.len() == 1 => {
                bad.push((rows[part.start], refusal(&error)));
            }
            Err(error) if error.is_data() => {
                let middle = part.start + part.len() / 2;
                open.push(middle..part.end);
                open.push(part.start..middle);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(bad)
}

fn refusal(error: &Error) -> Reject {
    Reject::new(error.code(), error.to_string())
}
