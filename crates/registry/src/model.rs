//! The nouns of the registry.

use std::{fmt, sync::Arc};

use millrace_schema::{Guid, compatibility::Level};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, subject::Subject};

/// One schema's use of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reference {
    pub(crate) name: String,
    pub(crate) subject: String,
    pub(crate) version: u32,
}

/// A schema's content under its id. It never changes.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) id: u32,
    pub(crate) guid: Guid,
    /// As Java's `Schema.toString()` writes it.
    pub(crate) text: String,
    pub(crate) references: Vec<Reference>,
}

/// A content's place in a subject.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) subject: String,
    pub(crate) number: u32,
    pub(crate) content: Arc<Content>,
    pub(crate) deleted: bool,
}

/// What a client offers, to be registered, looked up or checked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offer {
    pub(crate) text: String,
    pub(crate) references: Vec<Reference>,
}

/// Which version of a subject is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    Number(u32),
    Latest,
}

impl Pick {
    /// `latest`, `-1`, or a number from 1.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if matches!(text, "latest" | "-1") {
            return Ok(Self::Latest);
        }
        let number = text.parse::<u32>().ok().filter(|number| (1..=i32::MAX.unsigned_abs()).contains(number));
        number.map(Self::Number).ok_or_else(|| Error::InvalidVersion(text.to_owned()))
    }
}

/// Which versions count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Visible {
    /// Those that were not deleted.
    #[default]
    Live,
    /// Softly deleted ones too.
    All,
    /// Softly deleted ones only.
    Deleted,
}

/// A part of a list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    pub(crate) offset: i64,
    /// `None` is no limit.
    pub(crate) limit: Option<i64>,
}

/// How a subject is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deletion {
    /// Hidden.
    Soft,
    /// For good, after a soft one.
    Permanent,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) revision: u64,
    pub(crate) subject: String,
    pub(crate) what: What,
}

/// What happened.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Registered { version: u32, content: Arc<Content> },
    Deleted { version: u32, content: Arc<Content> },
    Configured { level: Level },
}

/// Why a schema may not be registered: one reason, and the version that it stands against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The older version.
    pub version: u32,
    /// Which way they do not fit, as Confluent names it: `READER_FIELD_MISSING_DEFAULT_VALUE`.
    pub kind: String,
    /// The place in the reader's schema.
    pub path: String,
    /// One sentence.
    pub message: String,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, kind, path, message } = self;
        write!(f, "{{errorType:'{kind}', description:'{message}', path:'{path}', version:{version}}}")
    }
}

/// The versions that a level compares with, and how it compares with one.
pub(crate) fn compared<T>(level: Level, versions: &[T]) -> (Level, &[T]) {
    let latest = versions.len().saturating_sub(1)..;
    match level {
        Level::None => (Level::None, &[]),
        Level::Backward | Level::Forward | Level::Full => (level, &versions[latest]),
        Level::BackwardTransitive => (Level::Backward, versions),
        Level::ForwardTransitive => (Level::Forward, versions),
        Level::FullTransitive => (Level::Full, versions),
    }
}

/// A subject's versions, or nothing of them.
pub(crate) type Numbers = Vec<u32>;

impl Reference {
    pub(crate) fn subject(&self) -> Result<Subject> {
        Subject::parse(&self.subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_from_one_or_the_latest() {
        assert_eq!(Pick::parse("latest").unwrap(), Pick::Latest);
        assert_eq!(Pick::parse("-1").unwrap(), Pick::Latest);
        assert_eq!(Pick::parse("7").unwrap(), Pick::Number(7));
        for text in ["0", "-2", "", "x", "2147483648", "1.0"] {
            assert!(matches!(Pick::parse(text), Err(Error::InvalidVersion(_))), "{text}");
        }
    }

    #[test]
    fn only_transitive_levels_look_beyond_the_latest() {
        assert_eq!(compared(Level::Backward, &[1, 2, 3]), (Level::Backward, &[3][..]));
        assert_eq!(compared(Level::FullTransitive, &[1, 2, 3]), (Level::Full, &[1, 2, 3][..]));
        assert_eq!(compared(Level::None, &[1, 2, 3]), (Level::None, &[][..]));
        assert_eq!(compared::<i32>(Level::Full, &[]), (Level::Full, &[][..]));
    }
}
