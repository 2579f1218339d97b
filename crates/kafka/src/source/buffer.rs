//! One partition's way from records to consecutive batches. Pure.

use std::time::{Duration, Instant};

use super::{Batch, Partition};
use crate::record::Record;

/// When a batch is full, and how long one that is not may wait.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) records: usize,
    pub(super) bytes: usize,
    pub(super) linger: Duration,
}

/// The records of one partition that were read and not handed over yet.
pub(super) struct Buffer {
    partition: Partition,
    /// Where the next batch starts.
    start: i64,
    /// The offset after the last record.
    next: i64,
    records: Vec<Record>,
    bytes: usize,
    since: Option<Instant>,
    /// What the consumer says of its position may be of when the partition was ours before.
    is_fresh: bool,
}

impl Buffer {
    pub(super) fn new(partition: Partition, start: i64) -> Self {
        Self { partition, start, next: start, records: Vec::new(), bytes: 0, since: None, is_fresh: true }
    }

    /// Whether a record of that offset is due; one that was seen already comes again after a pause or a reset.
    pub(super) fn expects(&self, offset: i64) -> bool {
        offset >= self.next
    }

    /// Takes a record. One that is for another group counts as read and is not kept.
    pub(super) fn push(&mut self, offset: i64, record: Option<Record>, now: Instant) {
        self.next = offset + 1;
        self.is_fresh = false;
        self.since.get_or_insert(now);
        if let Some(record) = record {
            self.bytes += record.size();
            self.records.push(record);
        }
    }

    /// The consumer has no position: from here on, one that it has is of now.
    pub(super) fn begin(&mut self) {
        self.is_fresh = false;
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// Where the consumer is: there are no records before.
    pub(super) fn pass(&mut self, next: i64, now: Instant) {
        if next > self.next && !self.is_fresh {
            self.next = next;
            self.since.get_or_insert(now);
        }
    }

    /// The first offset that was not read.
    pub(super) fn next(&self) -> i64 {
        self.next
    }

    pub(super) fn partition(&self) -> &Partition {
        &self.partition
    }

    /// What is before `first` has left the topic: what there is, then what is lost.
    pub(super) fn lose(&mut self, first: i64) -> impl Iterator<Item = Batch> + use<> {
        let before = (self.start < self.next).then(|| self.take());
        self.next = first;
        let lost = Batch { lost: true, ..self.take() };
        before.into_iter().chain([lost])
    }

    pub(super) fn is_full(&self, bounds: Bounds) -> bool {
        self.records.len() >= bounds.records || self.bytes >= bounds.bytes
    }

    pub(super) fn is_due(&self, bounds: Bounds, now: Instant) -> bool {
        self.since.is_some_and(|since| now.duration_since(since) >= bounds.linger)
    }

    /// What there is, as a batch that follows the one before.
    pub(super) fn take(&mut self) -> Batch {
        let start = std::mem::replace(&mut self.start, self.next);
        let room = self.records.len();
        self.bytes = 0;
        self.since = None;
        Batch {
            partition: self.partition.clone(),
            start,
            records: std::mem::replace(&mut self.records, Vec::with_capacity(room)),
            next_offset: self.next,
            lost: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::Headers;

    const BOUNDS: Bounds = Bounds { records: 3, bytes: 1000, linger: Duration::from_millis(50) };

    fn buffer(start: i64) -> Buffer {
        Buffer::new(Partition { topic: "t".into(), topic_id: uuid::Uuid::nil(), partition: 0 }, start)
    }

    fn record(offset: i64, value: Vec<u8>) -> Record {
        Record { offset, timestamp_ms: None, key: None, value: Some(value.into()), headers: Headers::new() }
    }

    proptest::proptest! {
        #[test]
        fn batches_follow_each_other_whatever_is_missing(
            start in 0_i64..100,
            steps in proptest::collection::vec((0_i64..4, proptest::bool::ANY, proptest::bool::ANY), 0..50),
        ) {
            let (mut buffer, mut offset, mut expected, now) = (buffer(start), start, start, Instant::now());
            for (gap, kept, cut) in steps {
                offset += gap;
                proptest::prop_assert!(buffer.expects(offset));
                buffer.push(offset, kept.then(|| record(offset, Vec::new())), now);
                proptest::prop_assert!(!buffer.expects(offset));
                offset += 1;
                if cut {
                    let batch = buffer.take();
                    proptest::prop_assert_eq!(batch.start, expected);
                    proptest::prop_assert_eq!(batch.next_offset, offset);
                    proptest::prop_assert!(batch.records.iter().all(|r| (batch.start..batch.next_offset).contains(&r.offset)));
                    expected = batch.next_offset;
                }
            }
        }
    }

    #[test]
    fn a_batch_is_full_by_records_or_by_bytes_and_due_by_time() {
        let now = Instant::now();
        let mut buffer = buffer(0);
        assert!(!buffer.is_full(BOUNDS) && !buffer.is_due(BOUNDS, now + BOUNDS.linger));
        buffer.push(0, Some(record(0, vec![0; 990])), now);
        assert!(buffer.is_full(BOUNDS) && !buffer.is_due(BOUNDS, now) && buffer.is_due(BOUNDS, now + BOUNDS.linger));
        buffer.take();
        for offset in 1..4 {
            assert!(!buffer.is_full(BOUNDS));
            buffer.push(offset, Some(record(offset, Vec::new())), now);
        }
        assert!(buffer.is_full(BOUNDS));
    }

    #[test]
    fn a_record_for_another_group_moves_the_position_and_is_not_kept() {
        let mut buffer = buffer(5);
        buffer.push(5, None, Instant::now());
        assert!(buffer.is_due(BOUNDS, Instant::now() + BOUNDS.linger));
        let batch = buffer.take();
        assert_eq!((batch.start, batch.next_offset, batch.records.len()), (5, 6, 0));
    }

    #[test]
    fn what_is_at_the_end_and_no_record_is_told_and_what_was_passed_is_not_passed_again() {
        let now = Instant::now();
        let mut buffer = buffer(5);
        buffer.pass(700, now);
        buffer.begin();
        buffer.pass(5, now);
        assert!(!buffer.is_due(BOUNDS, now + BOUNDS.linger) && buffer.expects(5), "nothing has come");
        buffer.push(5, Some(record(5, Vec::new())), now);
        buffer.pass(8, now);
        buffer.pass(3, now);
        let batch = buffer.take();
        assert_eq!((batch.start, batch.next_offset, batch.records.len()), (5, 8, 1));
        buffer.pass(9, now);
        assert!(buffer.is_due(BOUNDS, now + BOUNDS.linger) && !buffer.expects(8));
    }

    #[test]
    fn what_is_lost_follows_what_is_there_and_has_no_records() {
        let mut buffer = buffer(5);
        buffer.push(5, Some(record(5, Vec::new())), Instant::now());
        let batches: Vec<_> = buffer.lose(20).map(|it| (it.start, it.next_offset, it.records.len(), it.lost)).collect();
        assert_eq!(batches, [(5, 6, 1, false), (6, 20, 0, true)]);
        let batches: Vec<_> = buffer.lose(30).map(|it| (it.start, it.next_offset, it.lost)).collect();
        assert_eq!(batches, [(20, 30, true)]);
        assert!(buffer.expects(30) && !buffer.expects(29));
    }
}
