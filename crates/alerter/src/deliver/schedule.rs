//! When a webhook is tried again, and when it is given up.

use std::time::Duration;

use jiff::Timestamp;
use millrace_core::Span;
use rand::RngExt as _;

/// The pauses after the first, second, .. attempt, as Standard Webhooks proposes: 75 hours in all.
pub(crate) const STANDARD: [Span; 9] = [
    Span::seconds(5),
    Span::seconds(5 * 60),
    Span::seconds(30 * 60),
    Span::seconds(2 * 3600),
    Span::seconds(5 * 3600),
    Span::seconds(10 * 3600),
    Span::seconds(14 * 3600),
    Span::seconds(20 * 3600),
    Span::seconds(24 * 3600),
];

/// The longest pause that a receiver can ask for.
const MOST: Duration = Duration::from_hours(24);

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A status, and how long the receiver asked to be left alone.
    Status { status: u16, retry_after: Option<Duration> },
    /// No answer: the connection, its name, or the time ran out.
    Nothing,
    /// The settings of the receiver cannot work as they are now.
    Unusable,
}

/// What is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It was taken.
    Delivered,
    /// The receiver is gone, and is told nothing any more.
    Disabled,
    /// It is tried again after a pause.
    Retry(Duration),
    /// Enough attempts were made.
    Failed,
}

impl Next {
    /// The outcome's name in metrics.
    pub(crate) fn outcome(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Disabled => "disabled",
            Self::Retry(_) => "retried",
            Self::Failed => "failed",
        }
    }
}

/// Decides, after the attempt number `attempt`, from 1.
pub(crate) fn next(answer: &Answer, attempt: usize, pauses: &[Duration]) -> Next {
    let asked = match *answer {
        Answer::Status { status: 200..=299, .. } => return Next::Delivered,
        Answer::Status { status: 410, .. } => return Next::Disabled,
        Answer::Status { retry_after, .. } => retry_after.unwrap_or_default().min(MOST),
        Answer::Nothing | Answer::Unusable => Duration::ZERO,
    };
    match attempt.checked_sub(1).and_then(|done| pauses.get(done)) {
        Some(pause) => Next::Retry((*pause).max(asked)),
        None => Next::Failed,
    }
}

/// Up to a tenth longer, so that what failed together does not come again together.
pub(crate) fn jitter(pause: Duration) -> Duration {
    pause.mul_f64(1.0 + rand::rng().random_range(0.0..0.1))
}

/// `Retry-After`: seconds, or a date of HTTP.
pub(crate) fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp();
    Some(Duration::try_from(now.until(at).ok()?).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSES: [Duration; 2] = [Duration::from_secs(5), Duration::from_mins(5)];

    fn status(status: u16) -> Answer {
        Answer::Status { status, retry_after: None }
    }

    #[test]
    fn only_two_hundreds_are_taken_and_gone_is_the_end() {
        for taken in [200, 201, 202, 204, 299] {
            assert_eq!(next(&status(taken), 1, &PAUSES), Next::Delivered);
        }
        assert_eq!(next(&status(410), 1, &PAUSES), Next::Disabled);
        for again in [301, 302, 307, 400, 401, 404, 429, 500, 503] {
            assert_eq!(next(&status(again), 1, &PAUSES), Next::Retry(PAUSES[0]), "{again}");
        }
    }

    #[test]
    fn attempts_end_with_the_schedule() {
        assert_eq!(next(&Answer::Nothing, 1, &PAUSES), Next::Retry(PAUSES[0]));
        assert_eq!(next(&Answer::Unusable, 2, &PAUSES), Next::Retry(PAUSES[1]));
        assert_eq!(next(&Answer::Nothing, 3, &PAUSES), Next::Failed);
        let hours: u64 = STANDARD.iter().map(|pause| pause.as_millis()).sum::<u64>() / 3_600_000;
        assert_eq!(hours, 75);
    }

    #[test]
    fn a_receiver_may_ask_for_more_time_and_not_for_less() {
        let asks = |seconds| Answer::Status { status: 429, retry_after: Some(Duration::from_secs(seconds)) };
        assert_eq!(next(&asks(60), 1, &PAUSES), Next::Retry(Duration::from_mins(1)));
        assert_eq!(next(&asks(1), 1, &PAUSES), Next::Retry(PAUSES[0]));
        assert_eq!(next(&asks(u64::MAX), 1, &PAUSES), Next::Retry(MOST));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(retry_after("120", now), Some(Duration::from_mins(2)));
        assert_eq!(retry_after("Thu, 01 Jan 2026 00:01:00 GMT", now), Some(Duration::from_mins(1)));
        assert_eq!(retry_after("Wed, 31 Dec 2025 00:01:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }

    #[test]
    fn jitter_only_lengthens_and_a_little() {
        for _ in 0..100 {
            let pause = jitter(Duration::from_secs(10));
            assert!((10.0..11.0).contains(&pause.as_secs_f64()), "{pause:?}");
        }
    }
}
