//! Lengths of time as documents write them: `10s`, `15m`, `4h`, `400d`.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u64);

/// What a span may look like; the pattern of its JSON Schema as well.
const PATTERN: &str = "^[0-9]{1,9}(ms|s|m|h|d)$";

impl Span {
    /// That many seconds.
    pub const fn seconds(n: u64) -> Self {
        Self(n * 1000)
    }

    /// That many days of 24 hours.
    pub const fn days(n: u64) -> Self {
        Self::seconds(n * 86_400)
    }

    /// In milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        Self::from_millis(span.0)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("expected a length of time such as 10s, 15m, 4h or 400d, got {text:?}");
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (number, unit) = text.split_at(digits);
        if number.len() > 9 {
            return Err(bad());
        }
        let number: u64 = number.parse().map_err(|_| bad())?;
        let unit = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(bad()),
        };
        Ok(Self(number * unit))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, name) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
            if self.0 != 0 && self.0.is_multiple_of(unit) {
                return write!(f, "{}{name}", self.0 / unit);
            }
        }
        write!(f, "{}ms", self.0)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": PATTERN,
            "description": "A length of time: a whole number and ms, s, m, h or d.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn what_is_printed_reads_back(millis in 0..999_999_999_u64) {
            let span = Span(millis);
            proptest::prop_assert_eq!(span.to_string().parse::<Span>(), Ok(span));
        }
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for text in ["", "10", "s", "1.5h", "10 s", "10y", "-1s", "9999999999999s"] {
            assert!(text.parse::<Span>().is_err_and(|error| error.contains("15m")), "{text}");
        }
        assert_eq!("90m".parse::<Span>().map(|span| span.to_string()), Ok("90m".to_owned()));
        assert_eq!("24h".parse::<Span>().map(|span| span.to_string()), Ok("1d".to_owned()));
    }
}
