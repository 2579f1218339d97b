//! The rows that Postgres refuses, found by halving.
//!
//! Each try is a whole transaction that is rolled back: the very same statements, so that a row which only an
//! aggregate or another row of the batch stumbles over is found as well.

use std::{collections::BTreeSet, ops::Range};

use crate::{
    batch::{Choice, Prepared, ranges},
    error::{Reject, Result},
    store::{End, Session},
};

/// The rows of `choice` that cannot be stored beside those that can, with the reason of each.
pub(crate) async fn bad_rows(
    session: &mut Session,
    prepared: &Prepared,
    choice: &Choice,
) -> Result<Vec<(usize, Reject)>> {
    let rows: Vec<usize> = choice.ranges.iter().cloned().flatten().collect();
    let mut good: BTreeSet<usize> = BTreeSet::new();
    let mut bad = Vec::new();
    let mut open: Vec<Range<usize>> = Vec::from_iter((!rows.is_empty()).then_some(0..rows.len()));
    while let Some(part) = open.pop() {
        let mut tried: Vec<usize> = good.iter().copied().chain(rows[part.clone()].iter().copied()).collect();
        tried.sort_unstable();
        let outcome =
            session.store(&prepared.shape, &prepared.batches, &prepared.rows, &ranges(&tried), End::Rollback).await;
        match outcome {
            Ok(_) => good.extend(&rows[part]),
            Err(error) if error.is_data() && part.len() == 1 => {
                bad.push((rows[part.start], Reject::new(error.code(), error.to_string())));
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
