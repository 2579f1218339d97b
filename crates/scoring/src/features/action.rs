use millrace_schema::{Slot, Type};

use super::{
    Cells, array,
    distance::distance,
    program::Action,
    value::{Value, magnitude},
};
use crate::baselines::{Baselines, Tally};

impl Action {
    /// The feature before it is scaled; NaN where it is missing.
    pub(super) fn raw(&self, cells: &Cells<'_>, baselines: &Baselines) -> f32 {
        let slot = |at: &usize| cells.slots[*at];
        let cell = |at: &usize| cells.values[*at];
        match self {
            Self::Numeric { slot: at } => number(slot(at)) as f32,
            Self::Flag { slot: at } => flag(slot(at)),
            Self::NullSlot { slot: at } => truth(matches!(slot(at), Slot::Null | Slot::Missing)),
            Self::NullCell { cell: at } => truth(cell(at) == Value::Null),
            Self::LengthSlot { slot: at } => length(slot(at)),
            Self::LengthCell { cell: at } => text(cell(at)).map_or(f32::NAN, characters),
            Self::Ratio { over, under } => (number(slot(over)) / number(slot(under))) as f32,
            Self::Hour { slot: at, unit } => hour(slot(at), *unit),
            Self::Weekday { slot: at, unit } => weekday(slot(at), *unit),
            Self::Equal { a, b } => cell(a).equals(cell(b)).map_or(f32::NAN, truth),
            Self::Distance { a, b, bound } => match (text(cell(a)), text(cell(b))) {
                (Some(a), Some(b)) => distance(a, b, *bound) as f32,
                _ => f32::NAN,
            },
            Self::Contains { slot: at, cell: item } => contains(slot(at), cell(item)),
            Self::Among { cell: at, values } => truth(values.contains(&cells.hashes[*at])),
            Self::Category { .. } | Self::Seen { .. } | Self::Share { .. } => self.learned(cells, baselines),
        }
    }

    fn learned(&self, cells: &Cells<'_>, baselines: &Baselines) -> f32 {
        let tally = |table: &usize| cells.keys[*table].map(|key| baselines.table(*table).get(key));
        let learned = match self {
            Self::Category { table, smoothing, .. } => {
                tally(table).map(|tally| rate(tally, baselines.table(*table).total(), *smoothing))
            }
            Self::Seen { table } => tally(table).map(|tally| magnitude(tally.seen as f32)),
            Self::Share { whole, part } => match (tally(whole), tally(part)) {
                (Some(whole), Some(part)) if whole.seen > 0 => Some((part.seen as f32 / whole.seen as f32).min(1.0)),
                _ => None,
            },
            _ => None,
        };
        learned.unwrap_or(f32::NAN)
    }
}

/// The share of positives, mixed with so many rows of the mean: a category that was seen once says little.
fn rate(tally: Tally, total: Tally, smoothing: f64) -> f32 {
    let mean = (f64::from(total.positive) + 0.5) / (f64::from(total.seen) + 1.0);
    ((f64::from(tally.positive) + smoothing * mean) / (f64::from(tally.seen) + smoothing)) as f32
}

fn truth(it: bool) -> f32 {
    f32::from(u8::from(it))
}

fn flag(slot: Slot<'_>) -> f32 {
    match slot {
        Slot::Bool(it) => truth(it),
        _ => f32::NAN,
    }
}

fn number(slot: Slot<'_>) -> f64 {
    match slot {
        Slot::Long(number) => number as f64,
        Slot::Double(number) => number,
        _ => f64::NAN,
    }
}

fn text(value: Value<'_>) -> Option<&str> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

fn characters(text: &str) -> f32 {
    text.chars().count() as f32
}

fn length(slot: Slot<'_>) -> f32 {
    match slot {
        Slot::Str(text) => characters(text),
        Slot::Bytes(bytes) => bytes.len() as f32,
        Slot::Complex(it) if it.ty() != Type::Record => it.len() as f32,
        _ => f32::NAN,
    }
}

fn contains(slot: Slot<'_>, item: Value<'_>) -> f32 {
    match (slot, item) {
        (Slot::Complex(array), Value::Text(item)) if array.ty() == Type::Array => {
            truth(array::texts(array).any(|text| text.eq_ignore_ascii_case(item)))
        }
        _ => f32::NAN,
    }
}

fn hour(slot: Slot<'_>, unit: i64) -> f32 {
    match slot {
        Slot::Long(time) => (time.div_euclid(unit).rem_euclid(86_400) / 3_600) as f32,
        _ => f32::NAN,
    }
}

fn weekday(slot: Slot<'_>, unit: i64) -> f32 {
    match slot {
        // The first of January 1970 was a Thursday.
        Slot::Long(time) => (time.div_euclid(unit).div_euclid(86_400) + 3).rem_euclid(7) as f32,
        _ => f32::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_utc_and_before_1970_too() {
        let sunday = 1_032_714_000_000; // 2002-09-22T17:00:00Z, a Sunday
        assert_eq!((hour(Slot::Long(sunday), 1_000), weekday(Slot::Long(sunday), 1_000)), (17.0, 6.0));
        assert_eq!((hour(Slot::Long(-1), 1_000), weekday(Slot::Long(-1), 1_000)), (23.0, 2.0));
    }

    #[test]
    fn a_rate_is_between_the_mean_and_its_own() {
        let total = Tally { seen: 999, positive: 99 };
        let near = |a: f32, b: f32| (a - b).abs() < 1e-3;
        assert!(near(rate(Tally::default(), total, 10.0), 0.0995));
        assert!(near(rate(Tally { seen: 10, positive: 10 }, total, 10.0), 0.549_75));
    }
}
