//! Whether one schema may follow others.

mod compare;
mod level;

use crate::Schema;

pub(crate) use compare::Numbers;
pub use level::{Level, UnknownLevel};

/// The ways in which data of one schema cannot be read with another, as Java and Confluent tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IncompatibilityKind {
    /// A named type has another name, and no alias for the old one.
    NameMismatch,
    /// A fixed has another size.
    FixedSizeMismatch,
    /// The reader's enum lacks symbols of the writer's, and has no default.
    MissingEnumSymbols,
    /// The reader's field has no default, and the writer lacks it.
    ReaderFieldMissingDefaultValue,
    /// The types differ, and none is promoted to the other.
    TypeMismatch,
    /// The reader's union has no branch for what the writer writes.
    MissingUnionBranch,
}

impl IncompatibilityKind {
    /// The name as Confluent spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NameMismatch => "NAME_MISMATCH",
            Self::FixedSizeMismatch => "FIXED_SIZE_MISMATCH",
            Self::MissingEnumSymbols => "MISSING_ENUM_SYMBOLS",
            Self::ReaderFieldMissingDefaultValue => "READER_FIELD_MISSING_DEFAULT_VALUE",
            Self::TypeMismatch => "TYPE_MISMATCH",
            Self::MissingUnionBranch => "MISSING_UNION_BRANCH",
        }
    }

    /// Whether a [`crate::Projection`] reads past it, giving what is there.
    pub(crate) fn is_bridged(self) -> bool {
        matches!(self, Self::NameMismatch | Self::MissingEnumSymbols | Self::ReaderFieldMissingDefaultValue)
    }
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

impl std::fmt::Display for Incompatibility {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = if self.path.is_empty() { "/" } else { &self.path };
        write!(f, "{} at {path}: {}", self.kind.as_str(), self.message)
    }
}

/// Why data of `writer` cannot be read with `reader`; empty when all of it can. At most a hundred reasons.
///
/// The rules are those of the specification and Java's `SchemaCompatibility`: simple names are compared, the reader's
/// aliases count, and logical types do not matter.
pub fn can_read(reader: &Schema, writer: &Schema) -> Vec<Incompatibility> {
    compare::compare(reader, writer, Numbers::Promoted)
}

/// [`can_read`], by a reader that may take more numbers than the specification promotes.
pub(crate) fn can_read_numbers(reader: &Schema, writer: &Schema, numbers: Numbers) -> Vec<Incompatibility> {
    compare::compare(reader, writer, numbers)
}

/// Why `new` may not follow `existing` (oldest first) at that level; empty when it may.
pub fn check(level: Level, new: &Schema, existing: &[Schema]) -> Vec<Incompatibility> {
    let first = if level.is_transitive() { 0 } else { existing.len().saturating_sub(1) };
    let mut found = Vec::new();
    for (i, old) in existing.iter().enumerate().skip(first).rev() {
        let named = if i + 1 == existing.len() { "the latest".into() } else { format!("number {}", i + 1) };
        if level.is_backward() {
            let prefix = format!("the new schema cannot read data of {named}");
            found.extend(can_read(new, old).into_iter().map(|it| it.told(&prefix)));
        }
        if level.is_forward() {
            let prefix = format!("{named} cannot read data of the new schema");
            found.extend(can_read(old, new).into_iter().map(|it| it.told(&prefix)));
        }
    }
    found
}

impl Incompatibility {
    fn told(mut self, prefix: &str) -> Self {
        self.message = format!("{prefix}: {}", self.message);
        self
    }
}

#[cfg(test)]
mod tests;
