//! The revision below which a lane must not score.
//!
//! A champion's revision only grows, but scorers hear of it at different times. A partition that one of them has scored with
//! revision 7 may move to another that still has 6. So a lane commits its revision beside its offsets, and one that gets
//! partitions does not begin before
//!
//! 1. its model's revision is at least the greatest that was committed in any of them. Nothing later can be: the former
//!    owner's transactions have ended, or are refused (see `millrace_kafka::lane`). This alone holds whatever the registry says,
//!    and also while it is away; it has no end but a model that is new enough.
//! 2. the registry was asked after the assignment, and what it said is in use, or was refused, or it does not answer. Each
//!    revision that anybody has ever scored with was the registry's before, so this holds as well where nothing was committed,
//!    or where a person has set the offsets anew. It has an end: a registry that is away or slow holds nobody up for long.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long a lane waits for the registry's answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is committed beside offsets.
#[derive(Serialize, Deserialize)]
struct Word {
    revision: u64,
}

/// The text that is committed beside offsets.
pub(crate) fn write(revision: u64) -> String {
    format!("{{\"revision\":{revision}}}")
}

/// The revision in such a text. One that somebody else has written says none.
pub(crate) fn read(text: &str) -> Option<u64> {
    serde_json::from_str(text).ok().map(|Word { revision }| revision)
}

/// What a lane knows when it is about to score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Knowledge {
    /// Of the model in use.
    pub(crate) revision: u64,
    /// The greatest that was committed in a partition that came.
    pub(crate) committed: u64,
    /// How long it has waited for the registry's answer; none where it has it, or needs none.
    pub(crate) unanswered: Option<Duration>,
}

/// Whether it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Wait {
    #[error("revision {revision} of the model is behind {committed}, by which one of the partitions was scored")]
    Behind { revision: u64, committed: u64 },
    #[error("the registry has not yet said who the champion is")]
    Unanswered,
}

impl Wait {
    /// Low cardinality, stable: a metric label.
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::Behind { .. } => "behind",
            Self::Unanswered => "unanswered",
        }
    }
}

/// Whether a lane may score with what it knows.
pub(crate) fn check(knowledge: Knowledge) -> Result<(), Wait> {
    let Knowledge { revision, committed, unanswered } = knowledge;
    if revision < committed {
        return Err(Wait::Behind { revision, committed });
    }
    match unanswered {
        Some(waited) if waited < PATIENCE => Err(Wait::Unanswered),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_comes_back_and_that_of_others_says_nothing() {
        assert_eq!(write(7), r#"{"revision":7}"#);
        assert_eq!(read(&write(u64::MAX)), Some(u64::MAX));
        assert_eq!(read(r#"{"revision":7,"more":"of a later version"}"#), Some(7));
        for other in ["", "7", "{}", r#"{"revision":-1}"#, "consumer-group-tool"] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn nobody_scores_below_what_was_committed_however_long_it_takes() {
        let knows = |revision, committed, unanswered| check(Knowledge { revision, committed, unanswered });
        assert_eq!(knows(6, 7, Some(PATIENCE * 100)), Err(Wait::Behind { revision: 6, committed: 7 }));
        assert_eq!(knows(6, 7, None), Err(Wait::Behind { revision: 6, committed: 7 }));
        assert_eq!(knows(7, 7, None), Ok(()));
        assert_eq!(knows(8, 7, None), Ok(()));
    }

    #[test]
    fn the_registry_is_waited_for_and_not_for_ever() {
        let knows = |unanswered| check(Knowledge { revision: 7, committed: 7, unanswered });
        assert_eq!(knows(Some(Duration::ZERO)), Err(Wait::Unanswered));
        assert_eq!(knows(Some(PATIENCE)), Ok(()));
        assert_eq!(knows(None), Ok(()));
    }
}
