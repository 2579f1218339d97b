use jiff::{SignedDuration, Timestamp};
use millrace_core::Span;

/// A fixed distance, from an anchor on in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Every {
    step: i64,
    anchor: i64,
}

impl Every {
    /// Of a distance that is not zero.
    pub fn new(step: Span, anchor: Timestamp) -> Option<Self> {
        let step = i64::try_from(step.as_millis()).ok().filter(|step| *step > 0)?;
        Some(Self { step, anchor: anchor.as_millisecond() })
    }

    /// The first instant after another.
    pub fn after(self, instant: Timestamp) -> Option<Timestamp> {
        self.at(self.steps(instant) + 1)
    }

    /// The last instant before another.
    pub fn before(self, instant: Timestamp) -> Option<Timestamp> {
        let steps = self.steps(instant);
        match self.at(steps) {
            Some(found) if found < instant => Some(found),
            _ => self.at(steps - 1),
        }
    }

    /// Whole steps from the anchor to the instant or just before it.
    fn steps(self, instant: Timestamp) -> i64 {
        let distance = instant.duration_since(Timestamp::UNIX_EPOCH) - SignedDuration::from_millis(self.anchor);
        let (nanos, step) = (distance.as_nanos(), i128::from(self.step) * 1_000_000);
        nanos.div_euclid(step) as i64
    }

    fn at(self, steps: i64) -> Option<Timestamp> {
        let millis = self.step.checked_mul(steps)?.checked_add(self.anchor)?;
        Timestamp::from_millisecond(millis).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_stand_on_the_anchor() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let every = Every::new(Span::seconds(900), at("2026-01-01T00:05:00Z")).unwrap();
        assert_eq!(every.after(at("2026-01-01T00:05:00Z")), Some(at("2026-01-01T00:20:00Z")));
        assert_eq!(every.after(at("2026-01-01T00:19:59.999Z")), Some(at("2026-01-01T00:20:00Z")));
        assert_eq!(every.before(at("2026-01-01T00:20:00Z")), Some(at("2026-01-01T00:05:00Z")));
        assert_eq!(every.before(at("2025-12-31T23:51:00Z")), Some(at("2025-12-31T23:50:00Z")));
        assert_eq!(Every::new(Span::seconds(0), at("2026-01-01T00:00:00Z")), None);
    }
}
