//! One record's values, and the row that they make.

use std::fmt::Write;

use millrace_schema::Slot;

use super::{
    Program, Scale,
    program::{Action, Step},
    value::{Value, magnitude, value},
};
use crate::{baselines::Baselines, hash};

/// What was read of one record. Made once, filled anew for each.
#[derive(Debug, Default)]
pub struct Cells<'a> {
    /// By path of the program.
    pub slots: Vec<Slot<'a>>,
    pub(super) values: Vec<Value<'a>>,
    pub(super) hashes: Vec<u64>,
    /// By table; none where a part of the key is null.
    pub(super) keys: Vec<Option<u64>>,
}

impl Cells<'_> {
    /// Empty, with the memory of another one whose record is done with.
    pub fn recycled(other: Cells<'_>) -> Self {
        let Cells { mut slots, mut values, hashes, keys } = other;
        slots.clear();
        values.clear();
        // Nothing is moved: this says to the compiler that empty vectors hold no borrow.
        Self {
            slots: slots.into_iter().map(|_| Slot::Null).collect(),
            values: values.into_iter().map(|_| Value::Null).collect(),
            hashes,
            keys,
        }
    }
}

impl Program {
    /// Takes texts, hashes and keys from the slots that were read.
    pub fn prepare(&self, cells: &mut Cells<'_>) {
        let Cells { slots, values, hashes, keys } = cells;
        values.clear();
        hashes.clear();
        keys.clear();
        for cell in &self.cells {
            let value = value(slots[cell.slot], cell);
            hashes.push(if cell.hashed { value.hash() } else { 0 });
            values.push(value);
        }
        for table in &self.tables {
            let whole = table.category || table.cells.iter().all(|cell| values[*cell] != Value::Null);
            let hashes = table.cells.iter().map(|cell| hashes[*cell]);
            keys.push(if whole { hashes.reduce(hash::pair) } else { None });
        }
    }

    /// The row of a prepared record, in the light of what was seen before it.
    pub fn row(&self, cells: &Cells<'_>, baselines: &Baselines, row: &mut Vec<f32>) {
        row.clear();
        row.extend(self.steps.iter().map(|step| {
            let raw = step.action.raw(cells, baselines);
            let scaled = if step.scale == Scale::Log { magnitude(raw) } else { raw };
            // What is beyond all numbers says no more than what is missing.
            if scaled.is_finite() { scaled } else { f32::NAN }
        }));
        if cells.slots.iter().any(|slot| matches!(slot, Slot::Missing)) {
            self.defaults(cells, row);
        }
    }

    /// Features of fields that the writer's version does not have.
    #[cold]
    fn defaults(&self, cells: &Cells<'_>, row: &mut [f32]) {
        for (step, value) in self.steps.iter().zip(row) {
            if step.slots.iter().any(|slot| matches!(cells.slots[*slot], Slot::Missing)) {
                *value = step.default;
            }
        }
    }

    /// Counts a prepared record. Categories count it only if it has a label.
    pub fn learn(&self, cells: &Cells<'_>, label: Option<bool>, baselines: &mut Baselines) {
        for (i, (table, key)) in self.tables.iter().zip(&cells.keys).enumerate() {
            let Some(key) = *key else { continue };
            match (table.category, label) {
                (true, Some(positive)) => baselines.table_mut(i).add(key, positive),
                (true, None) => {}
                (false, _) => baselines.table_mut(i).add(key, false),
            }
        }
    }

    /// What a feature was computed from, for people; nothing where that is missing.
    pub fn describe(&self, feature: usize, cells: &Cells<'_>, baselines: &Baselines, out: &mut String) -> bool {
        let Step { action, slots, default, .. } = &self.steps[feature];
        if slots.iter().any(|slot| matches!(cells.slots[*slot], Slot::Missing)) {
            return put_number(*default, out);
        }
        match action {
            Action::Category { cell, .. } | Action::Among { cell, .. } => cells.values[*cell].put(out),
            Action::Flag { .. }
            | Action::NullSlot { .. }
            | Action::NullCell { .. }
            | Action::Equal { .. }
            | Action::Contains { .. } => {
                let raw = action.raw(cells, baselines);
                out.push_str(if raw > 0.0 { "true" } else { "false" });
                !raw.is_nan()
            }
            Action::Seen { table } => {
                let seen = cells.keys[*table].map(|key| baselines.table(*table).get(key).seen);
                seen.is_some_and(|seen| put_number(seen as f32, out))
            }
            _ => put_number(action.raw(cells, baselines), out),
        }
    }
}

/// At most four decimals, without zeros at the end.
fn put_number(number: f32, out: &mut String) -> bool {
    // Most are whole, and these are quickly written. Writing to a string does not fail.
    if number.fract() == 0.0 && number.abs() < 1e9 {
        return write!(out, "{}", number as i64).is_ok();
    }
    let rounded = (f64::from(number) * 1e4).round() / 1e4;
    number.is_finite() && write!(out, "{rounded}").is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recycled_cells_keep_their_memory_and_nothing_else() {
        let mut cells =
            Cells { slots: vec![Slot::Str("a"); 64], values: vec![Value::Text("a"); 64], ..Cells::default() };
        let places = (cells.slots.as_ptr().addr(), cells.values.as_ptr().addr());
        for _ in 0..3 {
            cells = Cells::recycled(cells);
            assert_eq!((cells.slots.len(), cells.values.len()), (0, 0));
            assert_eq!((cells.slots.as_ptr().addr(), cells.values.as_ptr().addr()), places);
        }
    }

    #[test]
    fn numbers_are_shown_short() {
        let shown = |number| {
            let mut out = String::new();
            put_number(number, &mut out).then_some(out)
        };
        assert_eq!(
            [7.0, -1.0, 0.123_456, 1.5e9, f32::NAN].map(shown),
            [
                Some("7".to_owned()),
                Some("-1".to_owned()),
                Some("0.1235".to_owned()),
                Some("1500000000".to_owned()),
                None
            ]
        );
    }
}
