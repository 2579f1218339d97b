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

use std::time::{Duration, Instant};

use millrace_kafka::lane::Assigned;
use serde::{Deserialize, Serialize};

use crate::models::{Model, Question};

/// How long a lane waits for the registry's answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it waits on the spot for the model that it needs: mostly that is there within a round trip.
const SETTLE: Duration = Duration::from_secs(1);

/// What is committed beside offsets.
#[derive(Serialize, Deserialize)]
struct Word {
    revision: u64,
}

/// The text that is committed beside offsets.
fn write(revision: u64) -> String {
    format!("{{\"revision\":{revision}}}")
}

/// The revision in such a text. One that somebody else has written says none.
fn read(text: &str) -> Option<u64> {
    serde_json::from_str(text).ok().map(|Word { revision }| revision)
}

/// What a lane knows when it is about to score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Knowledge {
    /// Of the model in use.
    revision: u64,
    /// The greatest that was committed in a partition that came.
    committed: u64,
    /// How long it has waited for the registry's answer; none where it has it, or needs none.
    unanswered: Option<Duration>,
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
fn check(knowledge: Knowledge) -> Result<(), Wait> {
    let Knowledge { revision, committed, unanswered } = knowledge;
    if revision < committed {
        return Err(Wait::Behind { revision, committed });
    }
    match unanswered {
        Some(waited) if waited < PATIENCE => Err(Wait::Unanswered),
        _ => Ok(()),
    }
}

/// By which promotion a lane scores, and what it must not score below.
pub(crate) struct Standing {
    /// 0 where a folder says the model.
    revision: u64,
    /// The same as a header has it, or nothing.
    text: String,
    committed: u64,
    /// The registry was asked at that time, and its answer is still to be seen.
    asked: Option<(Question, Instant)>,
}

impl Standing {
    pub(crate) fn new(revision: u64) -> Self {
        let mut standing = Self { revision: 0, text: String::new(), committed: 0, asked: None };
        standing.set(revision);
        standing
    }

    /// The lane scores with a model of that revision.
    pub(crate) fn set(&mut self, revision: u64) {
        if revision != self.revision {
            self.revision = revision;
            self.text = revision.to_string();
        }
    }

    /// For a header; empty where a folder says the model.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What is to be committed beside offsets.
    pub(crate) fn word(&self) -> Option<String> {
        (self.revision > 0).then(|| write(self.revision))
    }

    /// Partitions came: what others have left in them counts from here on, and the registry is asked.
    pub(crate) fn begin(&mut self, partitions: &[Assigned], model: &Model) {
        let words = partitions.iter().filter_map(|partition| partition.metadata.as_deref());
        self.committed = words.filter_map(read).fold(self.committed, u64::max);
        let question = model.ask();
        self.asked = Some((question, Instant::now()));
        model.wait_for(question, self.committed, SETTLE);
    }

    /// Sees whether the registry has answered.
    pub(crate) fn look(&mut self, model: &Model) {
        self.asked = self.asked.filter(|(question, _)| !model.has_answered(*question));
    }

    /// Whether the lane may score. Where it is behind, the registry is asked again.
    pub(crate) fn check(&mut self, model: &Model) -> Result<(), Wait> {
        let unanswered = self.asked.map(|(_, since)| since.elapsed());
        let knowledge = Knowledge { revision: self.revision, committed: self.committed, unanswered };
        let checked = check(knowledge);
        match (checked, self.asked) {
            (Err(_), None) => self.asked = Some((model.ask(), Instant::now())),
            (Ok(()), Some((_, since))) => {
                self.asked = None;
                let (revision, waited) = (self.revision, since.elapsed());
                tracing::warn!(revision, ?waited, "the registry does not answer, going on with the model in use");
            }
            _ => {}
        }
        checked
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
