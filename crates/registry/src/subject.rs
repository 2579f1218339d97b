use std::fmt;

use crate::{Error, Result};

/// Confluent's spelling of the default context, which every plain name is in.
const DEFAULT_CONTEXT: &str = ":.:";
/// Bytes of a subject's name.
const MAX: usize = 512;

/// The name of a subject, checked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Subject(String);

impl Subject {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let name = text.strip_prefix(DEFAULT_CONTEXT).unwrap_or(text);
        let reserved = matches!(name, "__GLOBAL" | "__EMPTY");
        if name.is_empty() || name.len() > MAX || reserved || name.chars().any(char::is_control) {
            return Err(Error::InvalidSubject(text.to_owned()));
        }
        Ok(Self(name.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_the_default_context_is_the_plain_name() {
        assert_eq!(Subject::parse(":.:mail-value").unwrap(), Subject::parse("mail-value").unwrap());
    }

    #[test]
    fn what_cannot_be_a_name_is_refused() {
        for text in ["", ":.:", "a\nb", "__GLOBAL", &"x".repeat(MAX + 1)] {
            assert!(matches!(Subject::parse(text), Err(Error::InvalidSubject(_))), "{text:?}");
        }
    }
}
