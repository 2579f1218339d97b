//! One value from Avro into one column, by the type that the column has.
//!
//! What Postgres would refuse is refused here, so that a batch hardly ever has to be taken apart: NUL in text, times
//! out of range, numbers that do not fit. Where a column could not follow its field's promotion, a value goes into it
//! if that loses nothing (a double that is whole into a `bigint`) and is refused if it would.

use millrace_postgres::copy::{Numeric, Writer};
use millrace_schema::{Logical, Slot, columns::SqlType};
use serde_json::Value;

/// A column to write to, and what its values mean.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Put {
    pub(crate) sql_type: SqlType,
    pub(crate) logical: Option<Logical>,
    pub(crate) not_null: bool,
}

/// Why a value does not go into its column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Misfit(pub(crate) &'static str);

type Outcome = Result<(), Misfit>;

impl Put {
    /// Appends the value. After a misfit the row must be taken back. `scratch` is for JSON.
    #[inline]
    pub(crate) fn write(self, slot: &Slot<'_>, out: &mut Writer, scratch: &mut Vec<u8>) -> Outcome {
        match (self.sql_type, *slot) {
            (_, Slot::Null | Slot::Missing) if self.not_null => return Err(Misfit("null where the column takes none")),
            (_, Slot::Null | Slot::Missing) => out.null(),
            (SqlType::Text, Slot::Str(text)) => return put_text(text.as_bytes(), out),
            (SqlType::BigInt, Slot::Long(value)) => out.i64(value),
            (SqlType::Double, Slot::Double(value)) => out.f64(value),
            (SqlType::Boolean, Slot::Bool(value)) => out.bool(value),
            (SqlType::Timestamptz | SqlType::Timestamp, Slot::Long(value)) => return self.moment(value, out),
            (SqlType::Jsonb, slot) => return put_json(&slot, out, scratch),
            (_, slot) => return self.rare(&slot, out),
        }
        Ok(())
    }

    #[cold]
    fn rare(self, slot: &Slot<'_>, out: &mut Writer) -> Outcome {
        match (self.sql_type, *slot) {
            (SqlType::BigInt, Slot::Double(value)) => out.i64(whole(value)?),
            (SqlType::Double, Slot::Long(value)) => out.f64(value as f64),
            (SqlType::Text, Slot::Bytes(bytes)) => {
                std::str::from_utf8(bytes).map_err(|_| Misfit("bytes that are not UTF-8"))?;
                return put_text(bytes, out);
            }
            (SqlType::Bytea, Slot::Bytes(bytes)) => out.bytea(bytes),
            (SqlType::Bytea, Slot::Str(text)) => out.bytea(text.as_bytes()),
            (SqlType::Date, Slot::Long(days)) if self.is(&[Logical::Date]) => {
                return out.date(days).map_err(|_| Misfit("a date that Postgres has no room for"));
            }
            (SqlType::Time, Slot::Long(value)) => return self.time(value, out),
            (SqlType::Uuid, Slot::Str(text)) => {
                out.uuid(uuid::Uuid::try_parse(text).map_err(|_| Misfit("a text that is no UUID"))?);
            }
            (SqlType::Uuid, Slot::Bytes(bytes)) => {
                out.uuid(uuid::Uuid::from_slice(bytes).map_err(|_| Misfit("bytes that are no UUID"))?);
            }
            (SqlType::Numeric, slot) => return self.numeric(&slot, out),
            _ => return Err(Misfit("a value of another type")),
        }
        Ok(())
    }

    fn is(self, logical: &[Logical]) -> bool {
        self.logical.is_some_and(|own| logical.contains(&own))
    }

    fn moment(self, value: i64, out: &mut Writer) -> Outcome {
        let micros = match self.logical {
            Some(Logical::TimestampMillis | Logical::LocalTimestampMillis) => value.checked_mul(1_000),
            Some(Logical::TimestampMicros | Logical::LocalTimestampMicros) => Some(value),
            Some(Logical::TimestampNanos | Logical::LocalTimestampNanos) => Some(value.div_euclid(1_000)),
            _ => return Err(Misfit("a number that is no time any more")),
        };
        let far = Misfit("a time that Postgres has no room for");
        out.timestamptz(micros.ok_or_else(|| far.clone())?).map_err(|_| far)
    }

    fn time(self, value: i64, out: &mut Writer) -> Outcome {
        let micros = if self.is(&[Logical::TimeMillis]) { value.checked_mul(1_000) } else { Some(value) };
        let far = Misfit("a time of day that is none");
        out.time(micros.ok_or_else(|| far.clone())?).map_err(|_| far)
    }

    fn numeric(self, slot: &Slot<'_>, out: &mut Writer) -> Outcome {
        let numeric = match (slot, self.logical) {
            (Slot::Bytes(unscaled), Some(Logical::Decimal { scale, .. })) => {
                u16::try_from(scale).ok().and_then(|scale| Numeric::from_be_bytes(unscaled, scale))
            }
            (Slot::Long(value), _) => Numeric::from_i128(i128::from(*value), 0),
            _ => return Err(Misfit("a value of another type")),
        };
        out.numeric(&numeric.ok_or(Misfit("a number that Postgres has no room for"))?);
        Ok(())
    }
}

fn put_text(text: &[u8], out: &mut Writer) -> Outcome {
    if text.contains(&0) {
        return Err(Misfit("a text with NUL (U+0000), which Postgres cannot store"));
    }
    out.bytea(text);
    Ok(())
}

/// The integer that a double is.
fn whole(value: f64) -> Result<i64, Misfit> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53: every whole double below is one integer only
    if value.fract() == 0.0 && value.abs() <= EXACT {
        Ok(value as i64)
    } else {
        Err(Misfit("a number that is not whole"))
    }
}

fn put_json(slot: &Slot<'_>, out: &mut Writer, scratch: &mut Vec<u8>) -> Outcome {
    let value = match *slot {
        Slot::Null | Slot::Missing => Value::Null,
        Slot::Bool(value) => Value::Bool(value),
        Slot::Long(value) => value.into(),
        Slot::Double(value) => serde_json::Number::from_f64(value).map_or(Value::Null, Value::Number),
        Slot::Str(text) => text.into(),
        Slot::Bytes(bytes) => base64(bytes).into(),
        Slot::Complex(complex) => complex.to_json().map_err(|_| Misfit("bytes that are not what the schema says"))?,
    };
    if has_nul(&value) {
        return Err(Misfit("a text with NUL (U+0000), which Postgres cannot store"));
    }
    scratch.clear();
    // Writing into memory does not fail, and the keys of a JSON value are texts.
    serde_json::to_writer(&mut *scratch, &value).map_err(|_| Misfit("a value that JSON cannot say"))?;
    out.jsonb(scratch);
    Ok(())
}

fn has_nul(value: &Value) -> bool {
    let nul = |text: &str| text.as_bytes().contains(&0);
    match value {
        Value::String(text) => nul(text),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(entries) => entries.iter().any(|(key, value)| nul(key) || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// As the schema crate says bytes in JSON.
fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(sql_type: SqlType, logical: Option<Logical>, slot: &Slot<'_>) -> Result<Vec<u8>, Misfit> {
        let mut writer = Writer::default();
        writer.begin_row(1);
        Put { sql_type, logical, not_null: false }.write(slot, &mut writer, &mut Vec::new())?;
        writer.end_row();
        Ok(writer.take().bytes()[6..].to_vec())
    }

    #[test]
    fn promoted_values_go_into_the_column_that_is_there_or_not_at_all() {
        assert_eq!(put(SqlType::BigInt, None, &Slot::Double(3.0)), Ok(3_i64.to_be_bytes().to_vec()));
        assert!(put(SqlType::BigInt, None, &Slot::Double(3.5)).is_err());
        assert!(put(SqlType::BigInt, None, &Slot::Double(f64::NAN)).is_err());
        assert!(put(SqlType::BigInt, None, &Slot::Double(1e17)).is_err());
        assert_eq!(put(SqlType::Double, None, &Slot::Long(3)), Ok(3.0_f64.to_be_bytes().to_vec()));
        assert_eq!(put(SqlType::Text, None, &Slot::Bytes(b"ab")), Ok(b"ab".to_vec()));
        assert!(put(SqlType::Text, None, &Slot::Bytes(&[0xff])).is_err());
        assert!(put(SqlType::Text, None, &Slot::Long(3)).is_err());
    }

    #[test]
    fn what_postgres_would_refuse_is_refused_before() {
        assert!(put(SqlType::Text, None, &Slot::Str("a\0b")).is_err());
        assert!(put(SqlType::Jsonb, None, &Slot::Str("a\0b")).is_err());
        assert_eq!(put(SqlType::Jsonb, None, &Slot::Str("\\u0000")).unwrap(), b"\x01\"\\\\u0000\"");
        let millis = Some(Logical::TimestampMillis);
        assert!(put(SqlType::Timestamptz, millis, &Slot::Long(i64::MAX)).is_err());
        assert!(put(SqlType::Timestamptz, millis, &Slot::Long(-300_000_000_000_000)).is_err());
        assert!(put(SqlType::Timestamptz, millis, &Slot::Long(0)).is_ok());
        assert!(put(SqlType::Timestamptz, None, &Slot::Long(0)).is_err());
        assert!(put(SqlType::Date, Some(Logical::Date), &Slot::Long(i64::MAX)).is_err());
        assert!(put(SqlType::Uuid, None, &Slot::Str("no")).is_err());
    }

    #[test]
    fn null_needs_a_column_that_takes_it() {
        let mut writer = Writer::default();
        writer.begin_row(1);
        let put = Put { sql_type: SqlType::Text, logical: None, not_null: true };
        assert!(put.write(&Slot::Missing, &mut writer, &mut Vec::new()).is_err());
    }
}
