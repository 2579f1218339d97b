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
    (scale <= precision && u64::from(precision) <= room).then_some(Logical::Decimal { precision, scale })
}
