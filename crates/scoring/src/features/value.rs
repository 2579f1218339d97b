use millrace_schema::Slot;

use super::program::Cell;
use crate::hash;

/// A text is shown up to here in reasons.
const SHOWN: usize = 80;

/// A value that is compared or counted by.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Value<'a> {
    #[default]
    Null,
    /// A text or a symbol, or a part of it.
    Text(&'a str),
    Number(i64),
    Flag(bool),
}

impl Value<'_> {
    pub(super) fn hash(self) -> u64 {
        match self {
            Self::Null => hash::NULL,
            Self::Text(text) => hash::text(text),
            Self::Number(number) => hash::number(number),
            Self::Flag(flag) => hash::number(i64::from(flag)),
        }
    }

    /// Whether both are the same, whatever the case of letters; unknown where one is null.
    pub(super) fn equals(self, other: Self) -> Option<bool> {
        match (self, other) {
            (Self::Null, _) | (_, Self::Null) => None,
            (Self::Text(a), Self::Text(b)) => Some(a.eq_ignore_ascii_case(b)),
            _ => Some(self == other),
        }
    }

    /// Shows it, unless there is none.
    pub(super) fn put(self, out: &mut String) -> bool {
        match self {
            Self::Null => return false,
            Self::Text(text) => out.push_str(&text[..text.floor_char_boundary(SHOWN)]),
            Self::Number(number) => out.push_str(&number.to_string()),
            Self::Flag(flag) => out.push_str(if flag { "true" } else { "false" }),
        }
        true
    }
}

/// The value of a cell. A text may have been written as bytes by an older version of the record.
pub(super) fn value<'a>(slot: Slot<'a>, cell: &Cell) -> Value<'a> {
    let text = match slot {
        Slot::Str(text) => Some(text),
        Slot::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
        Slot::Long(number) if cell.parts.is_empty() => return Value::Number(number),
        // A whole number that a newer version of the record writes as a double is the same category as before.
        Slot::Double(number) if cell.parts.is_empty() && number.fract() == 0.0 => return Value::Number(number as i64),
        Slot::Bool(flag) if cell.parts.is_empty() => return Value::Flag(flag),
        _ => None,
    };
    let part = cell.parts.iter().try_fold(text.unwrap_or_default(), |text, part| part.of(text));
    match (text, part) {
        (Some(_), Some(part)) => Value::Text(part),
        _ => Value::Null,
    }
}

/// `log2(1 + x)`, straight between powers of two, and odd: rises wherever x does, and is the same on every machine.
pub(super) fn magnitude(x: f32) -> f32 {
    const BITS: f32 = (1 << 23) as f32;
    let size = 1.0 + x.abs();
    // The bits of a float are its exponent, then its mantissa: read as a number, they are such a logarithm.
    let log = (size.to_bits() as i32 - 1.0_f32.to_bits() as i32) as f32 / BITS;
    if x.is_nan() { x } else { log.copysign(x) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magnitudes_are_logarithms_at_powers_of_two() {
        for (x, expected) in [(0.0, 0.0), (1.0, 1.0), (3.0, 2.0), (1023.0, 10.0), (-7.0, -3.0), (5.0, 2.5)] {
            assert!((magnitude(x) - expected).abs() < 1e-6, "{x}: {}", magnitude(x));
        }
        assert!(magnitude(f32::NAN).is_nan());
        assert!(magnitude(1e9) > magnitude(0.9e9));
    }

    #[test]
    fn null_is_equal_to_nothing_and_hashes() {
        assert_eq!(Value::Null.equals(Value::Text("a")), None);
        assert_eq!(Value::Text("A").equals(Value::Text("a")), Some(true));
        assert_eq!(Value::Text("1").equals(Value::Number(1)), Some(false));
        assert_eq!(Value::Null.hash(), hash::NULL);
    }
}
