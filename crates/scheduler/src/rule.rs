//! Trigger rules: what becomes of a task, by what became of those that it waits for.

use crate::document::Rule;

/// What became of the tasks that one waits for, by number. A mapped task counts once, for all its instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub total: u32,
    /// Those that succeeded.
    pub succeeded: u32,
    /// Those that failed, were cancelled, or could not run because of a failure before them.
    pub failed: u32,
    /// Those that were skipped.
    pub skipped: u32,
}

/// What becomes of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing yet.
    Wait,
    /// It can run.
    Run,
    /// It will not run, and that is in order.
    Skip,
    /// It will not run, because of a failure.
    Fail,
}

impl Counts {
    /// Those that are done.
    pub fn done(self) -> u32 {
        self.succeeded + self.failed + self.skipped
    }

    /// Decides by the rule. What was decided once stays decided, whatever comes later: a count only grows.
    pub fn decide(self, rule: Rule) -> Decision {
        let Self { total, succeeded, failed, skipped } = self;
        let all_done = self.done() == total;
        if total == 0 || rule == Rule::Always {
            return Decision::Run;
        }
        match rule {
            Rule::Always => Decision::Run,
            Rule::AllSuccess | Rule::NoneFailed | Rule::NoneFailedMinOneSuccess if failed > 0 => Decision::Fail,
            Rule::AllSuccess | Rule::NoneSkipped if skipped > 0 => Decision::Skip,
            Rule::AllFailed if succeeded + skipped > 0 => Decision::Skip,
            Rule::AllSkipped if succeeded + failed > 0 => Decision::Skip,
            Rule::OneSuccess if succeeded > 0 => Decision::Run,
            Rule::OneFailed if failed > 0 => Decision::Run,
            Rule::OneDone if succeeded + failed > 0 => Decision::Run,
            _ if !all_done => Decision::Wait,
            Rule::OneSuccess if failed > 0 => Decision::Fail,
            Rule::OneSuccess | Rule::OneFailed | Rule::OneDone => Decision::Skip,
            Rule::NoneFailedMinOneSuccess if succeeded == 0 => Decision::Skip,
            Rule::AllSuccess
            | Rule::AllFailed
            | Rule::AllDone
            | Rule::AllSkipped
            | Rule::NoneFailed
            | Rule::NoneFailedMinOneSuccess
            | Rule::NoneSkipped => Decision::Run,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: [Rule; 11] = [
        Rule::AllSuccess,
        Rule::AllFailed,
        Rule::AllDone,
        Rule::AllSkipped,
        Rule::OneSuccess,
        Rule::OneFailed,
        Rule::OneDone,
        Rule::NoneFailed,
        Rule::NoneFailedMinOneSuccess,
        Rule::NoneSkipped,
        Rule::Always,
    ];

    /// What a rule says once all are done, in words of its own.
    fn at_the_end(rule: Rule, done: Counts) -> Decision {
        let Counts { total, succeeded, failed, skipped } = done;
        let (holds, because_of_failure) = match rule {
            Rule::AllSuccess => (succeeded == total, failed > 0),
            Rule::AllFailed => (failed == total, false),
            Rule::AllDone | Rule::Always => (true, false),
            Rule::AllSkipped => (skipped == total, false),
            Rule::OneSuccess => (succeeded > 0, failed > 0),
            Rule::OneFailed => (failed > 0, false),
            Rule::OneDone => (succeeded + failed > 0, false),
            Rule::NoneFailed => (failed == 0, failed > 0),
            Rule::NoneFailedMinOneSuccess => (failed == 0 && succeeded > 0, failed > 0),
            Rule::NoneSkipped => (skipped == 0, false),
        };
        match (holds, because_of_failure) {
            (true, _) => Decision::Run,
            (false, true) => Decision::Fail,
            (false, false) => Decision::Skip,
        }
    }

    /// Every order in which up to four tasks can end.
    #[test]
    fn a_decision_is_that_of_the_end_or_comes_before_it_and_stays() {
        for total in 0..=4_u32 {
            for order in 0..3_u32.pow(total) {
                for rule in RULES {
                    let (mut counts, mut decided) = (Counts { total, ..Counts::default() }, Decision::Wait);
                    for place in 0..=total {
                        let decision = counts.decide(rule);
                        assert!(
                            decided == Decision::Wait || !early(rule) || decision == decided,
                            "{rule:?} {counts:?}"
                        );
                        if decided == Decision::Wait {
                            decided = decision;
                        }
                        if place < total {
                            match order / 3_u32.pow(place) % 3 {
                                0 => counts.succeeded += 1,
                                1 => counts.failed += 1,
                                _ => counts.skipped += 1,
                            }
                        }
                    }
                    assert_ne!(decided, Decision::Wait, "{rule:?} {counts:?}");
                    if total > 0 && exact(rule) {
                        assert_eq!(decided, at_the_end(rule, counts), "{rule:?} {counts:?}");
                    }
                }
            }
        }
    }

    /// Rules whose early decision never differs from a later one.
    fn early(rule: Rule) -> bool {
        rule != Rule::AllSuccess
    }

    /// All but the one that may skip before it sees a failure.
    fn exact(rule: Rule) -> bool {
        rule != Rule::AllSuccess
    }

    #[test]
    fn with_all_success_whatever_comes_first_decides() {
        let skipped_first = Counts { total: 2, skipped: 1, ..Counts::default() };
        assert_eq!(skipped_first.decide(Rule::AllSuccess), Decision::Skip);
        let failed_first = Counts { total: 2, failed: 1, ..Counts::default() };
        assert_eq!(failed_first.decide(Rule::AllSuccess), Decision::Fail);
        let both = Counts { total: 2, failed: 1, skipped: 1, ..Counts::default() };
        assert_eq!(both.decide(Rule::AllSuccess), Decision::Fail);
    }
}
