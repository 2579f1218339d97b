//! What was seen before: counters by key, learned from records in the order of their time.
//!
//! A counter is a sum, so tables of two parts of the past merge into that of the whole. The same tables serve training,
//! where they grow record by record, and scoring, where they stand still.

mod codec;

use rustc_hash::FxHashMap;

/// How often a key was seen, and how often as a positive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records with this key.
    pub seen: u32,
    /// Those of them whose label was positive. Only tables of categories count these.
    pub positive: u32,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.seen = self.seen.saturating_add(other.seen);
        self.positive = self.positive.saturating_add(other.positive);
    }
}

/// The counters of one combination of operands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    name: String,
    total: Tally,
    entries: FxHashMap<u64, Tally>,
}

impl Table {
    /// What is counted: `seen(from_name, from_addr)`, `category(charset)`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Over all keys, also those that were dropped.
    pub fn total(&self) -> Tally {
        self.total
    }

    /// How many keys are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none was seen.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How often a key was seen; never, if it is not known.
    pub fn get(&self, key: u64) -> Tally {
        self.entries.get(&key).copied().unwrap_or_default()
    }

    /// Counts a record.
    pub fn add(&mut self, key: u64, positive: bool) {
        self.count(key, Tally { seen: 1, positive: u32::from(positive) });
    }

    fn count(&mut self, key: u64, tally: Tally) {
        self.total.add(tally);
        self.entries.entry(key).or_default().add(tally);
    }

    /// Keeps the keys that were seen most; of equals the lower ones, so that the outcome repeats.
    fn keep(&mut self, most: usize) {
        if self.entries.len() > most {
            let mut keys: Vec<(u32, u64)> = self.entries.iter().map(|(key, tally)| (tally.seen, *key)).collect();
            keys.sort_unstable_by_key(|(seen, key)| (std::cmp::Reverse(*seen), *key));
            for (_, key) in &keys[most..] {
                self.entries.remove(key);
            }
            self.entries.shrink_to_fit();
        }
    }
}

/// The tables of a model, in the order of its program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baselines {
    tables: Vec<Table>,
}

impl Baselines {
    /// Empty tables of these names.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let table = |name: &str| Table { name: name.to_owned(), ..Table::default() };
        Self { tables: names.into_iter().map(table).collect() }
    }

    /// All tables.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// One table.
    pub fn table(&self, index: usize) -> &Table {
        &self.tables[index]
    }

    /// One table, to count in.
    pub fn table_mut(&mut self, index: usize) -> &mut Table {
        &mut self.tables[index]
    }

    /// Keys of all tables.
    pub fn len(&self) -> usize {
        self.tables.iter().map(Table::len).sum()
    }

    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.tables.iter().all(Table::is_empty)
    }

    /// Adds what another part of the past has seen. Tables go by their names.
    pub fn merge(&mut self, other: &Self) {
        for table in &other.tables {
            let Some(mine) = self.tables.iter_mut().find(|mine| mine.name == table.name) else {
                self.tables.push(table.clone());
                continue;
            };
            mine.total.add(table.total);
            for (key, tally) in &table.entries {
                mine.entries.entry(*key).or_default().add(*tally);
            }
        }
    }

    /// Bounds the keys of each table.
    pub fn keep(&mut self, most: usize) {
        self.tables.iter_mut().for_each(|table| table.keep(most));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counted(records: &[(u64, bool)]) -> Baselines {
        let mut baselines = Baselines::new(["a", "b"]);
        for (key, positive) in records {
            baselines.table_mut(0).add(*key % 8, *positive);
            baselines.table_mut(1).add(*key, false);
        }
        baselines
    }

    proptest! {
        #[test]
        fn the_parts_of_a_past_merge_into_the_whole(
            records in prop::collection::vec((0_u64..40, any::<bool>()), 0..80),
            at in 0_usize..80,
        ) {
            let at = at.min(records.len());
            let mut merged = counted(&records[..at]);
            merged.merge(&counted(&records[at..]));
            prop_assert_eq!(&merged, &counted(&records));
            prop_assert_eq!(Baselines::from_bytes(&merged.to_bytes()).unwrap(), merged);
        }
    }

    #[test]
    fn a_bound_keeps_what_was_seen_most() {
        let mut baselines = counted(&[(1, false), (2, true), (2, false), (3, false)]);
        baselines.keep(2);
        let table = baselines.table(1);
        assert_eq!((table.len(), table.get(2).seen, table.get(1).seen, table.get(3).seen), (2, 2, 1, 0));
        assert_eq!(table.total().seen, 4, "what was dropped was seen all the same");
    }
}
