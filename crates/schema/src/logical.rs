//! What a value means beyond its bytes.

use serde_json::Value;

use crate::{Kind, Props};

/// The logical types of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the specification's")]
pub enum Logical {
    Decimal {
        /// Digits in all.
        precision: u32,
        /// Digits behind the point.
        scale: u32,
    },
    Uuid,
    Date,
    TimeMillis,
    TimeMicros,
    TimestampMillis,
    TimestampMicros,
    TimestampNanos,
    LocalTimestampMillis,
    LocalTimestampMicros,
    LocalTimestampNanos,
    Duration,
}

impl Logical {
    /// The logical type that `props` name, if it is known and may stand on `kind`.
    pub(crate) fn of(kind: &Kind, props: &Props) -> Option<Self> {
        let prop = |name: &str| props.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        let logical = match (prop("logicalType")?.as_str()?, kind) {
            ("decimal", Kind::Bytes | Kind::Fixed(_)) => decimal(kind, prop("precision"), prop("scale"))?,
            ("uuid", Kind::String) => Self::Uuid,
            ("uuid", Kind::Fixed(fixed)) if fixed.size == 16 => Self::Uuid,
            ("date", Kind::Int) => Self::Date,
            ("time-millis", Kind::Int) => Self::TimeMillis,
            ("time-micros", Kind::Long) => Self::TimeMicros,
            ("timestamp-millis", Kind::Long) => Self::TimestampMillis,
            ("timestamp-micros", Kind::Long) => Self::TimestampMicros,
            ("timestamp-nanos", Kind::Long) => Self::TimestampNanos,
            ("local-timestamp-millis", Kind::Long) => Self::LocalTimestampMillis,
            ("local-timestamp-micros", Kind::Long) => Self::LocalTimestampMicros,
            ("local-timestamp-nanos", Kind::Long) => Self::LocalTimestampNanos,
            ("duration", Kind::Fixed(fixed)) if fixed.size == 12 => Self::Duration,
            _ => return None,
        };
        Some(logical)
    }

    /// The name as schemas spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decimal { .. } => "decimal",
            Self::Uuid => "uuid",
            Self::Date => "date",
            Self::TimeMillis => "time-millis",
            Self::TimeMicros => "time-micros",
            Self::TimestampMillis => "timestamp-millis",
            Self::TimestampMicros => "timestamp-micros",
            Self::TimestampNanos => "timestamp-nanos",
            Self::LocalTimestampMillis => "local-timestamp-millis",
            Self::LocalTimestampMicros => "local-timestamp-micros",
            Self::LocalTimestampNanos => "local-timestamp-nanos",
            Self::Duration => "duration",
        }
    }
}

/// Digits of the longest decimals that are numbers here, as in Postgres; those of longer ones are bytes.
const MAX_DIGITS: u32 = 1_000;

/// Bytes that hold so many digits.
const MAX_BYTES: usize = 512;

/// A decimal, if its digits can be held: precision above zero, scale within it, and room in a fixed.
fn decimal(kind: &Kind, precision: Option<&Value>, scale: Option<&Value>) -> Option<Logical> {
    let precision = u32::try_from(precision?.as_u64()?).ok().filter(|&digits| digits > 0)?;
    let scale = match scale {
        Some(scale) => u32::try_from(scale.as_u64()?).ok()?,
        None => 0,
    };
    let room = match kind {
        // floor(log10(2^(8n - 1) - 1)): the digits that n bytes of two's complement can always hold
        Kind::Fixed(fixed) => ((8 * fixed.size).saturating_sub(1) as f64 * std::f64::consts::LOG10_2).floor() as u64,
        _ => u64::MAX,
    };
    (scale <= precision && u64::from(precision) <= room && precision <= MAX_DIGITS)
        .then_some(Logical::Decimal { precision, scale })
}

/// The big-endian two's complement of a decimal's text at `scale`: nothing if it has more digits than `precision`, or
/// more behind the point than the scale keeps.
pub(crate) fn decimal_bytes(text: &str, precision: u32, scale: u32) -> Option<Vec<u8>> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = fraction.trim_end_matches('0');
    let missing = (scale as usize).checked_sub(fraction.len())?;
    let digits = format!("{whole}{fraction}{}", "0".repeat(missing.min(64)));
    let unscaled: i128 = digits.parse().ok()?;
    if missing > 64 || unscaled.unsigned_abs().checked_ilog10().map_or(1, |log| log + 1) > precision {
        return None;
    }
    let bytes = unscaled.to_be_bytes();
    let sign = if unscaled < 0 { 0xff } else { 0 };
    // Leading bytes that only repeat the sign go.
    let kept = bytes.windows(2).take_while(|pair| pair[0] == sign && (pair[1] ^ sign) < 0x80).count();
    Some(bytes[kept..].to_vec())
}

/// The text of a decimal, from the big-endian two's complement of its unscaled value: `-12.50`. Nothing
/// for more than 512 bytes, which no decimal of the 1,000 digits that are numbers here takes.
pub fn decimal_text(bytes: &[u8], scale: u32) -> Option<String> {
    if bytes.len() > MAX_BYTES || scale > MAX_DIGITS {
        return None;
    }
    let negative = bytes.first().is_some_and(|&byte| byte >= 0x80);
    let mut rest: Vec<u8> = bytes.to_vec();
    if negative {
        let mut carry = true;
        for byte in rest.iter_mut().rev() {
            let (sum, over) = (!*byte).overflowing_add(u8::from(carry));
            (*byte, carry) = (sum, over);
        }
    }
    let mut digits = Vec::new(); // least first
    while rest.iter().any(|&byte| byte != 0) {
        let mut left = 0_u32;
        for byte in &mut rest {
            let part = left << 8 | u32::from(*byte);
            (*byte, left) = ((part / 10) as u8, part % 10);
        }
        digits.push(b'0' + left as u8);
    }
    while digits.len() <= scale as usize {
        digits.push(b'0');
    }
    if negative {
        digits.push(b'-');
    }
    digits.reverse();
    let mut text = String::from_utf8_lossy(&digits).into_owned();
    if scale > 0 {
        text.insert(text.len() - scale as usize, '.');
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_come_back() {
        for (text, scale, bytes) in [
            ("0.00", 2, &[0_u8][..]),
            ("1.28", 2, &[0, 128]),
            ("-1.28", 2, &[128]),
            ("-1.29", 2, &[0xff, 127]),
            ("255", 0, &[0, 255]),
            ("-0.01", 2, &[0xff]),
            ("12345678901234567890.12", 2, &[0x42, 0xed, 0x12, 0x3b, 0x0b, 0xd8, 0x20, 0x3a, 0x14]),
        ] {
            if text.len() < 20 {
                assert_eq!(decimal_bytes(text, 38, scale).unwrap(), bytes, "{text}");
            }
            let written = decimal_bytes(text, 38, scale).unwrap();
            assert_eq!(decimal_text(&written, scale).as_deref(), Some(text));
        }
    }

    #[test]
    fn decimals_over_their_digits_are_none() {
        assert_eq!(decimal_bytes("123.4", 3, 1), None);
        assert_eq!(decimal_bytes("1.23", 3, 1), None);
        assert_eq!(decimal_bytes("1.20", 3, 1), Some(vec![12]));
        assert_eq!(decimal_bytes("1e300", 38, 1), None);
    }

    #[test]
    fn long_decimals_have_a_text() {
        let mut bytes = vec![1];
        bytes.extend([0; 20]);
        let text = "1461501637330902918203684832716283019655932542.976";
        assert_eq!(decimal_text(&bytes, 3).as_deref(), Some(text));
        assert_eq!(decimal_text(&[], 0).as_deref(), Some("0"));
        assert_eq!(decimal_text(&[0x80], 0).as_deref(), Some("-128"));
        assert_eq!(decimal_text(&[1; 513], 0), None);
    }
}
