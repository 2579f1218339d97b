//! Whether one schema may follow others.
use crate::Schema;

/// What a new schema must be able to read, or be read by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Level {
    /// Nothing.
    None,
    /// It reads data of the latest.
    #[default]
    Backward,
    /// It reads data of all.
    BackwardTransitive,
    /// The latest reads its data.
    Forward,
    /// All read its data.
    ForwardTransitive,
    /// Both, with the latest.
    Full,
    /// Both, with all.
    FullTransitive,
}

impl Level {
    /// The name as Confluent spells it: `BACKWARD_TRANSITIVE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Backward => "BACKWARD",
            Self::BackwardTransitive => "BACKWARD_TRANSITIVE",
            Self::Forward => "FORWARD",
            Self::ForwardTransitive => "FORWARD_TRANSITIVE",
            Self::Full => "FULL",
            Self::FullTransitive => "FULL_TRANSITIVE",
        }
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.as_str()) }
}

/// A word that is no level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a compatibility level: expected NONE, BACKWARD, FORWARD or FULL, the latter three also with _TRANSITIVE")]
pub struct UnknownLevel(String);

impl std::str::FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        [Self::None, Self::Backward, Self::BackwardTransitive, Self::Forward, Self::ForwardTransitive, Self::Full, Self::FullTransitive]
            .into_iter()
            .find(|level| level.as_str() == text)
            .ok_or_else(|| UnknownLevel(text.to_owned()))
    }
}

/// The ways in which data of one schema cannot be read with another, named as Java and Confluent name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum IncompatibilityKind {
    NameMismatch,
    FixedSizeMismatch,
    MissingEnumSymbols,
    ReaderFieldMissingDefaultValue,
    TypeMismatch,
    MissingUnionBranch,
}

/// One reason why data of one schema cannot be read with another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incompatibility {
    /// Which way.
    pub kind: IncompatibilityKind,
    /// The place in the reader's schema, as a JSON pointer.
    pub path: String,
    /// One sentence.
    pub message: String,
}

/// Why data of `writer` cannot be read with `reader`; empty when all of it can.
pub fn can_read(_reader: &Schema, _writer: &Schema) -> Vec<Incompatibility> { unimplemented!() }

/// Why `new` may not follow `existing` (oldest first) at that level; empty when it may.
pub fn check(_level: Level, _new: &Schema, _existing: &[Schema]) -> Vec<Incompatibility> { unimplemented!() }
