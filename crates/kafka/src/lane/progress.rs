//! Where a lane is in its partitions.

use std::{collections::HashMap, sync::Arc};

/// Of each partition, the offset that comes next, and what of it is in the batch.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// By topic, then by partition: looked up for every record, without an allocation.
    places: HashMap<Arc<str>, HashMap<i32, Place>>,
    /// How many partitions have something in the batch.
    open: usize,
}

#[derive(Debug)]
struct Place {
    expected: i64,
    span: Option<Span>,
}

/// A partition's part of the batch; records that were skipped count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Its first offset.
    pub(super) first: i64,
    /// The offset after its last.
    pub(super) next: i64,
}

impl Progress {
    /// Takes an offset into the batch; false when it was seen already: after a pause or a reset a consumer may begin a
    /// little earlier.
    pub(super) fn accept(&mut self, topic: &str, partition: i32, offset: i64) -> bool {
        if !self.places.contains_key(topic) {
            self.places.insert(topic.into(), HashMap::new());
        }
        let Some(partitions) = self.places.get_mut(topic) else { return false };
        let place = partitions.entry(partition).or_insert(Place { expected: offset, span: None });
        if offset < place.expected {
            return false;
        }
        place.expected = offset + 1;
        if place.span.is_none() {
            self.open += 1;
        }
        place.span.get_or_insert(Span { first: offset, next: offset }).next = offset + 1;
        true
    }

    /// Forgets a partition; whether something of it was in the batch.
    pub(super) fn forget(&mut self, topic: &str, partition: i32) -> bool {
        let place = self.places.get_mut(topic).and_then(|partitions| partitions.remove(&partition));
        let held = place.is_some_and(|place| place.span.is_some());
        self.open -= usize::from(held);
        held
    }

    /// Whether the batch has nothing, not even a record that was skipped.
    pub(super) fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// The partitions of the batch.
    pub(super) fn spans(&self) -> impl Iterator<Item = (&str, i32, Span)> {
        self.places.iter().flat_map(|(topic, partitions)| {
            partitions.iter().filter_map(|(partition, place)| Some((&**topic, *partition, place.span?)))
        })
    }

    /// Lets a partition's part of the batch begin elsewhere: where the group has committed it.
    pub(super) fn begin_at(&mut self, topic: &str, partition: i32, first: i64) {
        let place = self.places.get_mut(topic).and_then(|partitions| partitions.get_mut(&partition));
        if let Some(span) = place.and_then(|place| place.span.as_mut()) {
            span.first = first;
        }
    }

    /// Expects the batch's offsets again.
    pub(super) fn rewind(&mut self) {
        for place in self.places.values_mut().flat_map(HashMap::values_mut) {
            if let Some(span) = place.span {
                place.expected = span.first;
            }
        }
    }

    /// Ends the batch.
    pub(super) fn clear(&mut self) {
        for place in self.places.values_mut().flat_map(HashMap::values_mut) {
            place.span = None;
        }
        self.open = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_not_taken_again_unless_it_was_rewound() {
        let mut progress = Progress::default();
        assert!(progress.is_empty());
        assert!([5, 6, 9].into_iter().all(|offset| progress.accept("t", 0, offset)), "compaction leaves gaps");
        assert!(!progress.accept("t", 0, 6) && progress.accept("t", 1, 0));
        let mut spans: Vec<_> = progress.spans().collect();
        spans.sort_by_key(|(_, partition, _)| *partition);
        assert_eq!(spans, [("t", 0, Span { first: 5, next: 10 }), ("t", 1, Span { first: 0, next: 1 })]);

        progress.rewind();
        progress.clear();
        assert!(progress.is_empty() && progress.spans().next().is_none());
        assert!(!progress.accept("t", 0, 4) && progress.accept("t", 0, 5));

        progress.begin_at("t", 0, 2);
        progress.rewind();
        assert!(progress.accept("t", 0, 2));
    }

    #[test]
    fn a_partition_that_moved_is_forgotten() {
        let mut progress = Progress::default();
        progress.accept("t", 0, 5);
        assert!(progress.forget("t", 0) && progress.is_empty());
        assert!(!progress.forget("t", 0) && !progress.forget("u", 0));
        assert!(progress.accept("t", 0, 1), "its next owner may have begun anywhere");
    }
}
