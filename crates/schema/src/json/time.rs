//! Values that JSON writes as text although Avro holds numbers.

use jiff::{
    Timestamp,
    civil::{Date, DateTime, Time},
};

use crate::Logical;

const NANOS_PER_DAY: i128 = 86_400_000_000_000;

/// Nanoseconds in the unit of a logical type that counts them.
fn unit(logical: Logical) -> Option<i128> {
    Some(match logical {
        Logical::TimestampMillis | Logical::LocalTimestampMillis | Logical::TimeMillis => 1_000_000,
        Logical::TimestampMicros | Logical::LocalTimestampMicros | Logical::TimeMicros => 1_000,
        Logical::TimestampNanos | Logical::LocalTimestampNanos => 1,
        Logical::Date => NANOS_PER_DAY,
        _ => return None,
    })
}

/// Whether `logical` is a number that may be written as the text of a time.
pub(super) fn is_time(logical: Option<Logical>) -> bool {
    logical.is_some_and(|logical| unit(logical).is_some())
}

/// The number that a text stands for. What is finer than the unit is cut off.
pub(super) fn parse(logical: Logical, text: &str) -> Option<i64> {
    let nanos = match logical {
        Logical::TimestampMillis | Logical::TimestampMicros | Logical::TimestampNanos => {
            text.parse::<Timestamp>().ok()?.as_nanosecond()
        }
        Logical::LocalTimestampMillis | Logical::LocalTimestampMicros | Logical::LocalTimestampNanos => {
            // An offset or a zone would say more than a local time holds.
            (!text.ends_with('Z')).then_some(())?;
            local_nanos(text.parse::<DateTime>().ok()?)?
        }
        Logical::Date => local_nanos(text.parse::<Date>().ok()?.to_datetime(Time::midnight()))?,
        Logical::TimeMillis | Logical::TimeMicros => {
            let time: Time = text.parse().ok()?;
            local_nanos(Date::constant(1970, 1, 1).to_datetime(time))?
        }
        _ => return None,
    };
    i64::try_from(nanos.div_euclid(unit(logical)?)).ok()
}

/// The text of a number, if it is one that a calendar has.
pub(super) fn format(logical: Logical, value: i64) -> Option<String> {
    let nanos = i128::from(value) * unit(logical)?;
    let timestamp = Timestamp::from_nanosecond(nanos).ok()?;
    let local = || timestamp.to_zoned(jiff::tz::TimeZone::UTC).datetime();
    Some(match logical {
        Logical::TimestampMillis | Logical::TimestampMicros | Logical::TimestampNanos => timestamp.to_string(),
        Logical::LocalTimestampMillis | Logical::LocalTimestampMicros | Logical::LocalTimestampNanos => {
            local().to_string()
        }
        Logical::Date => local().date().to_string(),
        Logical::TimeMillis | Logical::TimeMicros if (0..NANOS_PER_DAY).contains(&nanos) => local().time().to_string(),
        _ => return None,
    })
}

fn local_nanos(local: DateTime) -> Option<i128> {
    Some(local.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_nanosecond())
}

/// The doubles that JSON has no numbers for.
pub(super) fn special_double(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back() {
        for (logical, value, text) in [
            (Logical::TimestampMillis, 1_767_225_600_123, "2026-01-01T00:00:00.123Z"),
            (Logical::TimestampMicros, -1, "1969-12-31T23:59:59.999999Z"),
            (Logical::LocalTimestampMillis, 0, "1970-01-01T00:00:00"),
            (Logical::Date, -1, "1969-12-31"),
            (Logical::TimeMillis, 86_399_999, "23:59:59.999"),
        ] {
            assert_eq!(format(logical, value).as_deref(), Some(text));
            assert_eq!(parse(logical, text), Some(value));
        }
        assert_eq!(parse(Logical::TimestampMillis, "2026-01-01T01:00:00.1239+01:00"), Some(1_767_225_600_123));
    }

    #[test]
    fn what_no_calendar_has_is_no_text() {
        assert_eq!(format(Logical::TimestampMillis, i64::MAX), None);
        assert_eq!(format(Logical::TimeMillis, 86_400_000), None);
        for text in ["", "2026", "2026-13-01T00:00:00Z", "2026-01-01"] {
            assert_eq!(parse(Logical::TimestampMillis, text), None, "{text}");
        }
    }
}
