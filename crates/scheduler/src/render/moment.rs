use std::{fmt, sync::Arc};

use jiff::{SignedDuration, Timestamp, Zoned, tz::TimeZone};
use minijinja::{
    Environment, Error, ErrorKind, State, Value,
    value::{Kwargs, Object, ObjectRepr, from_args},
};

/// A moment in a time zone, in templates: `{{ logical_date.year }}`, `{{ logical_date.add(days=1).strftime("%Y/%m/%d") }}`.
/// As text it is ISO 8601 with the distance from UTC, as in Airflow: `2026-01-31T00:00:00+00:00`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment(Zoned);

/// What adds to a moment, and how long each is. Months and years are not among them: their length varies.
const UNITS: [(&str, i64); 6] = [
    ("weeks", 7 * 86_400_000),
    ("days", 86_400_000),
    ("hours", 3_600_000),
    ("minutes", 60_000),
    ("seconds", 1_000),
    ("milliseconds", 1),
];

impl Moment {
    /// In UTC.
    pub fn new(timestamp: Timestamp) -> Self {
        Self(timestamp.to_zoned(TimeZone::UTC))
    }

    pub(super) fn strftime(&self, format: &str) -> Result<String, Error> {
        jiff::fmt::strtime::format(format, &self.0)
            .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
    }

    fn moved(&self, sign: i64, args: &[Value]) -> Result<Value, Error> {
        let (given,): (Kwargs,) = from_args(args)?;
        let mut millis = 0.0;
        for (unit, length) in UNITS {
            if let Some(count) = given.get::<Option<f64>>(unit)? {
                millis += count * length as f64;
            }
        }
        given.assert_all_used()?;
        self.plus(SignedDuration::from_millis(millis as i64 * sign)).map(Value::from_object)
    }

    /// So much later.
    pub(super) fn plus(&self, distance: SignedDuration) -> Result<Self, Error> {
        let moved = self.0.checked_add(distance);
        moved.map(Self).map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = if self.0.subsec_nanosecond() == 0 { "" } else { "%.f" };
        write!(f, "{}", self.0.strftime(&format!("%Y-%m-%dT%H:%M:%S{fraction}%:z")))
    }
}

impl Object for Moment {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let it = &self.0;
        Some(match key.as_str()? {
            "year" => it.year().into(),
            "month" => it.month().into(),
            "day" => it.day().into(),
            "hour" => it.hour().into(),
            "minute" => it.minute().into(),
            "second" => it.second().into(),
            "microsecond" => (it.subsec_nanosecond() / 1_000).into(),
            "day_of_year" => it.day_of_year().into(),
            _ => return None,
        })
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        match method {
            "strftime" => {
                let (format,): (&str,) = from_args(args)?;
                self.strftime(format).map(Value::from)
            }
            "isoformat" => from_args::<()>(args).map(|()| Value::from(self.to_string())),
            "date" => from_args::<()>(args).and_then(|()| self.strftime("%Y-%m-%d")).map(Value::from),
            "timestamp" => from_args::<()>(args).map(|()| {
                let timestamp = self.0.timestamp();
                match timestamp.subsec_nanosecond() {
                    0 => Value::from(timestamp.as_second()),
                    _ => Value::from(timestamp.as_millisecond() as f64 / 1e3),
                }
            }),
            // Sunday is 6, as in Python.
            "weekday" => from_args::<()>(args).map(|()| Value::from(self.0.weekday().to_monday_zero_offset())),
            "add" => self.moved(1, args),
            "subtract" => self.moved(-1, args),
            "in_timezone" => {
                let (name,): (&str,) = from_args(args)?;
                let there =
                    self.0.in_tz(name).map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))?;
                Ok(Value::from_object(Self(there)))
            }
            _ => Err(ErrorKind::UnknownMethod.into()),
        }
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Airflow's filters, over moments and over texts in ISO 8601.
pub(super) fn add_filters(environment: &mut Environment<'static>) {
    for (name, format) in FORMATS {
        environment.add_filter(name, move |value: &Value| read(value)?.strftime(format));
    }
}

/// Airflow's names for forms of a moment.
pub(super) const FORMATS: [(&str, &str); 5] = [
    ("ds", "%Y-%m-%d"),
    ("ds_nodash", "%Y%m%d"),
    ("ts", "%Y-%m-%dT%H:%M:%S%:z"),
    ("ts_nodash", "%Y%m%dT%H%M%S"),
    ("ts_nodash_with_tz", "%Y%m%dT%H%M%S%z"),
];

/// A moment, or a text that says one.
pub(super) fn read(value: &Value) -> Result<Moment, Error> {
    if let Some(moment) = value.downcast_object_ref::<Moment>() {
        return Ok(moment.clone());
    }
    let bad =
        || Error::new(ErrorKind::InvalidOperation, format!("expected a moment or a text in ISO 8601, got {value}"));
    let text = value.as_str().ok_or_else(bad)?;
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(Moment::new(timestamp));
    }
    // Without a distance from UTC it is in UTC, as in Airflow. A zone would be read and left unused.
    let civil = text.parse::<jiff::civil::DateTime>().ok().filter(|_| !text.contains(['[', '+', 'Z', 'z']));
    civil.and_then(|civil| civil.to_zoned(TimeZone::UTC).ok()).map(Moment).ok_or_else(bad)
}
