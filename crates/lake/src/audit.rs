//! The proof that nothing is missing, and nothing there twice.

use std::ops::Range;

use serde::Serialize;

use crate::{DataFile, Manifest, Stretch};

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Finding {
    /// No window has these offsets, and a later one has others.
    Missing {
        /// The first.
        first: i64,
        /// The first that is there again.
        next: i64,
    },
    /// They had left the topic before they were archived.
    Lost {
        /// The first.
        first: i64,
        /// The first that was there again.
        next: i64,
    },
    /// Two windows have these offsets.
    Twice {
        /// The first.
        first: i64,
        /// The first that is there once again.
        next: i64,
    },
    /// Two files of a window have these offsets.
    TwiceInWindow {
        /// The first.
        first: i64,
        /// The last.
        last: i64,
        /// One of the files.
        file: String,
        /// The other.
        other: String,
    },
}

/// What was found in a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// All that is accounted for: from the first window's first offset to the last one's `next`.
    pub range: Option<(i64, i64)>,
    /// Windows.
    pub windows: u64,
    /// Records in them.
    pub records: u64,
    /// Data files.
    pub files: u64,
    /// What is wrong; nothing, and all is there once.
    pub findings: Vec<Finding>,
}

/// Goes along the windows of one partition, in the order of their names. `expected`: the offsets that ought to be there, from
/// the topic itself; without them, what lies between the first and the last window.
pub fn audit<'a>(windows: impl IntoIterator<Item = &'a Manifest>, expected: Option<Range<i64>>) -> Audit {
    let mut audit = Audit::default();
    for window in windows {
        audit.windows += 1;
        audit.records = audit.records.saturating_add(window.records);
        audit.files += window.files.len() as u64;
        // A chain may begin before what is expected: that has left the topic since.
        let begin = || expected.as_ref().map_or(window.first, |expected| expected.start.min(window.first));
        let at = audit.range.map_or_else(begin, |(_, next)| next);
        if window.first > at {
            audit.findings.push(Finding::Missing { first: at, next: window.first });
        } else if window.first < at {
            audit.findings.push(Finding::Twice { first: window.first, next: at.min(window.next) });
        }
        audit.findings.extend(window.lost.map(|lost| Finding::Lost { first: lost.first, next: lost.last + 1 }));
        audit.findings.extend(within(&window.files));
        let first = audit.range.map_or(window.first, |(first, _)| first);
        audit.range = Some((first, at.max(window.next)));
    }
    if let Some(expected) = expected {
        // What was not archived and has left the topic is missing as well.
        let reached = audit.range.map_or(expected.start, |(_, next)| next);
        if reached < expected.end {
            audit.findings.push(Finding::Missing { first: reached, next: expected.end });
        }
    }
    audit
}

/// Offsets that two files of a window have.
fn within(files: &[DataFile]) -> Vec<Finding> {
    let stretches = files.iter().flat_map(|file| file.offsets.iter().map(move |stretch| (*stretch, file)));
    let mut stretches: Vec<(Stretch, &DataFile)> = stretches.collect();
    stretches.sort_by_key(|(stretch, _)| (stretch.first, stretch.last));
    let mut findings = Vec::new();
    let mut furthest: Option<(Stretch, &DataFile)> = None;
    for (stretch, file) in stretches {
        if let Some((before, other)) = furthest.filter(|(before, _)| before.last >= stretch.first) {
            let last = before.last.min(stretch.last);
            let (file, other) = (file.key.clone(), other.key.clone());
            findings.push(Finding::TwiceInWindow { first: stretch.first, last, file, other });
        }
        if furthest.is_none_or(|(before, _)| stretch.last > before.last) {
            furthest = Some((stretch, file));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::{collection::vec, prelude::*, sample::subsequence};
    use uuid::Uuid;

    use super::*;
    use crate::Folder;

    fn folder() -> Folder {
        Folder::new("lake", "t", Uuid::nil(), 0)
    }

    fn file(n: usize, first: i64, offsets: &[i64]) -> DataFile {
        let mut stretches = Vec::new();
        for offset in offsets {
            DataFile::add(&mut stretches, *offset);
        }
        DataFile {
            key: folder().data(first, Uuid::nil(), &n.to_string()),
            schema: None,
            hour: Timestamp::UNIX_EPOCH,
            rows: offsets.len() as u64,
            bytes: 1,
            sha256: String::new(),
            offsets: stretches,
        }
    }

    /// A window with one file that has every offset.
    fn window(first: i64, next: i64) -> Manifest {
        let offsets: Vec<i64> = (first..next).collect();
        Manifest::new(("t", Uuid::nil(), 0), (first, next), None, vec![file(0, first, &offsets)])
    }

    #[test]
    fn a_chain_is_whole_and_says_how_far_it_goes() {
        let windows = [window(5, 10), window(10, 30)];
        let audit = audit(&windows, Some(5..30));
        let expected = Audit { range: Some((5, 30)), windows: 2, records: 25, files: 2, findings: Vec::new() };
        assert_eq!(audit, expected);
        // What is archived and has left the topic since is not too much.
        assert_eq!(super::audit(&windows, Some(12..30)).findings, []);
        assert_eq!(super::audit(&windows, None).findings, []);
        assert_eq!(super::audit([], None), Audit::default());
    }

    #[test]
    fn what_is_missing_at_the_ends_is_missing() {
        let windows = [window(5, 10)];
        let missing = |first, next| Finding::Missing { first, next };
        assert_eq!(audit(&windows, Some(0..20)).findings, [missing(0, 5), missing(10, 20)]);
        assert_eq!(audit([], Some(3..9)).findings, [missing(3, 9)]);
        assert_eq!(audit([], Some(3..3)).findings, []);
        assert_eq!(audit(&windows, Some(15..20)).findings, [missing(10, 20)]);
    }

    #[test]
    fn what_was_lost_before_it_was_archived_is_told() {
        let mut after = window(20, 30);
        (after.first, after.lost) = (10, Some(Stretch { first: 10, last: 19 }));
        assert_eq!(audit([&window(0, 10), &after], Some(0..30)).findings, [Finding::Lost { first: 10, next: 20 }]);
    }

    #[test]
    fn an_offset_in_two_windows_or_two_files_is_there_twice() {
        let windows = [window(0, 10), window(8, 20), window(20, 21)];
        assert_eq!(audit(&windows, None).findings, [Finding::Twice { first: 8, next: 10 }]);
        let mut within = window(0, 10);
        within.files = vec![file(0, 0, &[0, 1, 2, 7]), file(1, 0, &[2, 3, 7, 8])];
        let twice = |first, last| Finding::TwiceInWindow {
            first,
            last,
            file: within.files[1].key.clone(),
            other: within.files[0].key.clone(),
        };
        assert_eq!(audit([&within], None).findings, [twice(2, 2), twice(7, 7)]);
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written_and_one_that_cannot_be_is_refused() {
        let (folder, window) = (folder(), window(5, 10));
        let key = folder.manifest(5);
        assert_eq!(Manifest::read(&folder, &key, &window.to_json()).unwrap(), window);
        let refused = |change: fn(&mut Manifest), key: &str| {
            let mut other = window.clone();
            change(&mut other);
            Manifest::read(&folder, key, &other.to_json()).unwrap_err().reason
        };
        assert_eq!(refused(|it| it.format = 2, &key), "has the form 2, and 1 is what can be read here");
        assert_eq!(refused(|_| (), &folder.manifest(6)), "begins with offset 5, which is not its name");
        assert_eq!(refused(|it| it.next = 5, &key), "goes from offset 5 to 5");
        assert_eq!(refused(|it| it.records = 4, &key), "has 4 records, and its files have 5");
        let name = folder.data(5, Uuid::nil(), "0");
        assert_eq!(refused(|it| it.next = 9, &key), format!("file {name}: offsets 5 to 9 are not its own"));
        assert_eq!(refused(|it| it.files[0].offsets.clear(), &key), format!("file {name}: 5 rows of 0 offsets"));
        assert!(Manifest::read(&folder, &key, b"{").is_err());
    }

    proptest! {
        /// Whatever windows are taken out of a chain, exactly their offsets are missing.
        #[test]
        fn every_window_that_is_lost_is_missed(
            (lengths, kept) in vec(1_i64..50, 1..40).prop_flat_map(|lengths| {
                let numbers: Vec<usize> = (0..lengths.len()).collect();
                let count = lengths.len();
                (Just(lengths), subsequence(numbers, 0..=count))
            })
        ) {
            let mut at = 0;
            let chain: Vec<Manifest> = lengths.iter().map(|length| { at += length; window(at - length, at) }).collect();
            let audit = audit(kept.iter().map(|number| &chain[*number]), Some(0..at));
            let mut missing = vec![false; at as usize];
            for finding in &audit.findings {
                let Finding::Missing { first, next } = finding else { panic!("{finding:?}") };
                (*first..*next).for_each(|offset| assert!(!std::mem::replace(&mut missing[offset as usize], true)));
            }
            for (number, window) in chain.iter().enumerate() {
                let is_missing = missing[window.first as usize..window.next as usize].iter().all(|it| *it);
                let is_there = missing[window.first as usize..window.next as usize].iter().all(|it| !*it);
                let is_right = if kept.contains(&number) { is_there } else { is_missing };
                prop_assert!(is_right, "window {}", number);
            }
        }

        /// Whatever window is there a second time, its offsets are.
        #[test]
        fn every_window_that_was_doubled_is_found(lengths in vec(1_i64..50, 1..40), which in any::<prop::sample::Index>()) {
            let mut at = 0;
            let mut chain: Vec<Manifest> = lengths.iter().map(|length| { at += length; window(at - length, at) }).collect();
            let doubled = which.index(chain.len());
            chain.insert(doubled, chain[doubled].clone());
            let Manifest { first, next, .. } = chain[doubled];
            prop_assert_eq!(audit(&chain, Some(0..at)).findings, vec![Finding::Twice { first, next }]);
        }
    }
}
