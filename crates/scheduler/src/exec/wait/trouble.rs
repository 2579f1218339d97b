//! What is wrong, and for how long it has been.

use std::time::{Duration, Instant};

/// For how long something has been wrong that waiting does not mend.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trouble {
    since: Option<Instant>,
}

impl Trouble {
    /// Whether it has been wrong for longer than `patience`, without a moment at which it was not.
    pub(super) fn lasts(&mut self, wrong: bool, now: Instant, patience: Duration) -> bool {
        self.since = wrong.then(|| self.since.unwrap_or(now));
        self.since.is_some_and(|since| now.duration_since(since) >= patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_counts_from_when_it_was_last_right() {
        const PATIENCE: Duration = Duration::from_secs(30);
        let (mut trouble, begin) = (Trouble::default(), Instant::now());
        let mut at = |seconds: u64, wrong| trouble.lasts(wrong, begin + Duration::from_secs(seconds), PATIENCE);
        assert!(!at(0, true));
        assert!(!at(29, true));
        assert!(!at(30, false));
        assert!(!at(31, true));
        assert!(!at(60, true));
        assert!(at(61, true));
    }
}
