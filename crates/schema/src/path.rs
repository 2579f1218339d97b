//! Names of places in a record.

use std::{fmt, str::FromStr, sync::Arc};

/// A field, or a field of a field: `$.attachments`, `$.client.ip`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FieldPath(Arc<[Box<str>]>);

/// A path that is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a path of field names joined by dots")]
pub struct PathError(String);

impl FieldPath {
    /// The path of these names.
    pub fn from_segments<S: AsRef<str>>(segments: impl IntoIterator<Item = S>) -> Self {
        Self(segments.into_iter().map(|segment| segment.as_ref().into()).collect())
    }

    /// Reads `a.b` or `$.a.b`; `$` alone is the whole record.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let names = match text {
            "$" => return Ok(Self::default()),
            _ => text.strip_prefix("$.").unwrap_or(text),
        };
        if names.split('.').all(is_name) {
            Ok(Self::from_segments(names.split('.')))
        } else {
            Err(PathError(text.to_owned()))
        }
    }

    /// The names, outermost first.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = &str> + DoubleEndedIterator {
        self.0.iter().map(AsRef::as_ref)
    }

    /// The outermost name, unless it is the whole record.
    pub fn first(&self) -> Option<&str> {
        self.0.first().map(AsRef::as_ref)
    }

    /// How many names.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it is the whole record.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of the two is the other, or within it.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.segments().zip(other.segments()).all(|(a, b)| a == b)
    }

    /// The names with dots and without `$`.
    pub fn dotted(&self) -> String {
        self.0.join(".")
    }
}

/// Whether `text` may name a field, a type or a symbol: a letter or `_`, then letters, digits and `_`.
pub(crate) fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        self.0.iter().try_for_each(|segment| write!(f, ".{segment}"))
    }
}

impl FromStr for FieldPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_back_what_they_show() {
        for text in ["$", "$.a", "$.a.b_1"] {
            assert_eq!(FieldPath::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(FieldPath::parse("a.b").unwrap().to_string(), "$.a.b");
        for text in ["", "a.", "$.", ".a", "a b", "1a", "$a"] {
            assert!(FieldPath::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_path_overlaps_with_what_it_holds_and_what_holds_it() {
        let path = |text| FieldPath::parse(text).unwrap();
        for (a, b) in [("a", "a"), ("a.b", "a"), ("a", "a.b"), ("$", "a")] {
            assert!(path(a).overlaps(&path(b)), "{a} {b}");
        }
        for (a, b) in [("a", "ab"), ("a.b", "a.c"), ("b.a", "a")] {
            assert!(!path(a).overlaps(&path(b)), "{a} {b}");
        }
    }
}
