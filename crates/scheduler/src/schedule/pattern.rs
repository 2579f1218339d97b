use std::{fmt, str::FromStr};

use croner::{
    Cron, JobType,
    parser::{CronParser, Seconds, Year},
};
use jiff::{civil::DateTime, tz::TimeZone};

/// A cron pattern of five fields: minute, hour, day of month, month, day of week; or a nickname such as `@daily`.
/// Beyond the usual: `L`, `W` and `#`, names of months and weekdays. Where both days are restricted, either will do.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    cron: Cron,
}

/// Text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no cron pattern: {reason}")]
pub struct PatternError {
    text: String,
    reason: String,
}

impl Pattern {
    /// The first match at or after a civil time; none if there is not one.
    pub(super) fn at_or_after(&self, civil: DateTime) -> Option<DateTime> {
        // UTC has every civil time exactly once.
        let start = TimeZone::UTC.to_zoned(civil).ok()?;
        self.cron.find_next_occurrence(&start, true).ok().map(|found| found.datetime())
    }

    /// Whether it names one time of day. Such a job belongs to that time; any other goes by the time that passes.
    pub fn names_one_time(&self) -> bool {
        matches!(self.cron.determine_job_type(), JobType::FixedTime)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        match parser.parse(text) {
            Ok(cron) => Ok(Self { text: text.to_owned(), cron }),
            Err(error) => Err(PatternError { text: text.to_owned(), reason: error.to_string() }),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
