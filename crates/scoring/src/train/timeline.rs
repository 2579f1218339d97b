use std::ops::Range;

use jiff::Timestamp;

use super::{Corpus, corpus::Record};
use crate::{Error, Result, bundle::Training};

const MILLISECONDS_PER_DAY: i64 = 86_400_000;

/// The records of a corpus in the order of their time.
pub(super) struct Timeline<'a> {
    records: Vec<&'a Record>,
}

impl<'a> Timeline<'a> {
    pub(super) fn of(corpus: &'a Corpus) -> Self {
        Self { records: corpus.in_time() }
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// The records of a range, those of one instant together.
    pub(super) fn instants(&self, range: Range<usize>) -> impl Iterator<Item = &[&'a Record]> {
        self.records[range].chunk_by(|a, b| a.time == b.time)
    }

    /// Where the warm-up ends and where the later part begins, by shares of the labelled records. Records of one
    /// instant are never parted.
    pub(super) fn cuts(&self, warm_up: f64, later: f64) -> Result<(usize, usize)> {
        let labelled: Vec<usize> = (0..self.len()).filter(|i| self.records[*i].label.is_some()).collect();
        let cut = |share: f64| {
            let rank = (share.clamp(0.0, 1.0) * labelled.len() as f64) as usize;
            let at = labelled.get(rank).map_or(self.len(), |record| {
                self.records.partition_point(|other| other.time < self.records[*record].time)
            });
            if rank == 0 { 0 } else { at }
        };
        let (warm, split) = (cut(warm_up), cut(1.0 - later));
        if warm < split && split < self.len() {
            return Ok((warm, split));
        }
        let message = format!("{} labelled records are too few to be split by time", labelled.len());
        Err(Error::Training(message))
    }

    /// Where the last so many days begin.
    pub(super) fn last_days(&self, days: u32) -> usize {
        let Some(last) = self.records.last() else { return 0 };
        let begin = last.time.saturating_sub(i64::from(days) * MILLISECONDS_PER_DAY);
        self.records.partition_point(|record| record.time <= begin)
    }

    /// So many records from there on, evenly spread.
    pub(super) fn sample(&self, from: usize, count: usize) -> impl Iterator<Item = &'a Record> {
        let records = &self.records[from..];
        let count = count.min(records.len());
        (0..count).map(move |i| records[i * records.len() / count])
    }

    /// What a manifest says about the records.
    pub(super) fn describe(&self, split: usize) -> Training {
        let count = |label| self.records.iter().filter(|record| record.label == Some(label)).count();
        let positives = count(true);
        Training {
            from: self.time(0),
            to: self.time(self.len() - 1),
            split: self.time(split),
            records: self.len(),
            labelled: positives + count(false),
            positives,
            ..Training::default()
        }
    }

    /// When a record happened, RFC 3339.
    pub(super) fn time(&self, record: usize) -> String {
        let time = self.records[record].time;
        Timestamp::from_millisecond(time).map_or_else(|_| format!("{time} ms"), |time| time.to_string())
    }
}
