//! Records into rows: what is good is encoded, what is bad is put aside with a reason, and of two rows of one id the
//! later one is chosen.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Range,
    sync::Arc,
};

use millrace_kafka::source::{Batch, Partition};
use millrace_postgres::copy::{Rows, Writer};
use millrace_schema::framing::{self, SchemaRef};

use crate::{
    error::Reject,
    plan::{Plan, Row, Scratch, Stamp},
    shape::Shape,
};

/// How records of each writer's schema are stored, or why they cannot be.
pub type PlanSet = HashMap<SchemaRef, Result<Arc<Plan>, Reject>>;

/// Where a record stands: number of its batch, number in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The batch.
    pub batch: usize,
    /// The record in it.
    pub record: usize,
}

/// Batches, encoded.
pub struct Prepared {
    /// What the rows were encoded for.
    pub shape: Arc<Shape>,
    /// The batches that this is of, with their records: for dead letters and for encoding again.
    pub batches: Vec<Batch>,
    pub(crate) plans: Arc<PlanSet>,
    /// The rows.
    pub rows: Rows,
    meta: Vec<(Row, Place)>,
    /// Records that were refused before Postgres saw them.
    pub rejects: Vec<(Place, Reject)>,
}

/// Which rows are to be stored, and how many others of the same ids there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// The rows, as ranges in order.
    pub ranges: Vec<Range<usize>>,
    /// Rows that a later one of their id stands in for.
    pub lost: usize,
}

impl Prepared {
    /// Encodes `batches`. Every schema that they name is in `plans`. `now` is in microseconds since 1970.
    pub fn encode(batches: Vec<Batch>, plans: Arc<PlanSet>, shape: Arc<Shape>, writer: &mut Writer, now: i64) -> Self {
        let (mut meta, mut rejects) = (Vec::new(), Vec::new());
        let mut scratch = Scratch::default();
        let stamp = Stamp { imported_at: now, imported_from: None };
        for (batch, records) in batches.iter().map(|batch| &batch.records).enumerate() {
            for (record, content) in records.iter().enumerate() {
                let place = Place { batch, record };
                let row = datum(content).and_then(|(schema, datum)| {
                    let plan =
                        plans.get(&schema).ok_or_else(|| Reject::corrupt(format!("{schema} was not asked for")))?;
                    plan.as_ref().map_err(Reject::clone)?.encode(datum, stamp, &mut scratch, writer)
                });
                match row {
                    Ok(row) => meta.push((row, place)),
                    Err(reject) => rejects.push((place, reject)),
                }
            }
        }
        drop(scratch);
        Self { rows: writer.take(), shape, batches, plans, meta, rejects }
    }

    /// The rows to store: of each id the latest (the first of equals), without those that Postgres has refused.
    pub fn choose(&self, refused: &BTreeSet<usize>) -> Choice {
        let mut best: HashMap<&[u8], usize> = HashMap::with_capacity(self.meta.len());
        let mut lost = 0;
        for (row, (meta, _)) in self.meta.iter().enumerate() {
            if refused.contains(&row) {
                continue;
            }
            best.entry(self.rows.leading(row, self.shape.key))
                .and_modify(|kept| {
                    lost += 1;
                    if meta.scored_at > self.meta[*kept].0.scored_at {
                        *kept = row;
                    }
                })
                .or_insert(row);
        }
        let ranges = if best.len() == self.meta.len() {
            Vec::from_iter((!self.meta.is_empty()).then_some(0..self.meta.len()))
        } else {
            let mut rows: Vec<usize> = best.into_values().collect();
            rows.sort_unstable();
            ranges(&rows)
        };
        Choice { ranges, lost }
    }

    /// The record that a row is of.
    pub fn place(&self, row: usize) -> Place {
        self.meta[row].1
    }

    /// When the events of some rows were received, ms since 1970.
    pub fn receipts<'a>(&'a self, ranges: &'a [Range<usize>]) -> impl Iterator<Item = i64> + 'a {
        ranges.iter().flat_map(|range| &self.meta[range.clone()]).map(|(row, _)| row.received_at)
    }
}

/// The schemas that the records of a batch name.
pub fn schemas(batch: &Batch) -> impl Iterator<Item = SchemaRef> + '_ {
    batch.records.iter().filter_map(|record| datum(record).ok()).map(|(schema, _)| schema)
}

fn datum(record: &millrace_kafka::Record) -> Result<(SchemaRef, &[u8]), Reject> {
    let value = record.value.as_deref().ok_or_else(|| Reject::corrupt("record has no value"))?;
    framing::split(value, record.headers.get(framing::VALUE_HEADER)).map_err(Reject::corrupt)
}

/// Drops what the ledger says is stored. True when something is left to do.
pub fn trim(batches: &mut Vec<Batch>, next: impl Fn(&Partition) -> Option<i64>) -> bool {
    batches.retain_mut(|batch| next(&batch.partition).is_none_or(|next| batch.skip_to(next)));
    !batches.is_empty()
}

/// Consecutive numbers as ranges.
pub(crate) fn ranges(rows: &[usize]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for &row in rows {
        match ranges.last_mut() {
            Some(last) if last.end == row => last.end = row + 1,
            _ => ranges.push(row..row + 1),
        }
    }
    ranges
}

#[cfg(test)]
mod tests;
