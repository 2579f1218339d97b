use std::fmt;

use millrace_core::{Fault, Source};

/// Where in a pipeline document a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The policy as a whole.
    Policy,
    /// The condition of the rule at this index.
    When(usize),
    /// A path of an alert's `group_by`.
    GroupBy {
        /// Index of the alert.
        alert: usize,
        /// Index of the path.
        path: usize,
    },
}

impl Place {
    /// The JSON pointer in the document: `/spec/policy/0/when`.
    pub fn pointer(self) -> String {
        match self {
            Self::Policy => "/spec/policy".to_owned(),
            Self::When(rule) => format!("/spec/policy/{rule}/when"),
            Self::GroupBy { alert, path } => format!("/spec/alerts/{alert}/group_by/{path}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy => f.write_str("$.spec.policy"),
            Self::When(rule) => write!(f, "$.spec.policy[{rule}].when"),
            Self::GroupBy { alert, path } => write!(f, "$.spec.alerts[{alert}].group_by[{path}]"),
        }
    }
}

/// One thing that is wrong with a policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{place}: character {}: {message}", offset + 1)]
pub struct Problem {
    /// In which text.
    pub place: Place,
    /// At which character of the text, from 0.
    pub offset: usize,
    /// What is wrong, in a sentence.
    pub message: String,
}

impl Problem {
    /// The problem with the line of the document that it was found in.
    pub fn fault(&self, source: &Source) -> Fault {
        source.fault(&self.place.pointer(), format!("character {}: {}", self.offset + 1, self.message))
    }
}
