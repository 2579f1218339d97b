use std::fmt;

use millrace_core::document::segment;

use super::ParseError;

/// A place in the text, kept on the stack until somebody asks.
#[derive(Clone, Copy)]
pub(super) enum Pointer<'a> {
    Root,
    Key(&'a Pointer<'a>, &'a str),
    Index(&'a Pointer<'a>, usize),
}

impl<'a> Pointer<'a> {
    pub(super) fn key(&'a self, key: &'a str) -> Self {
        Self::Key(self, key)
    }

    pub(super) fn index(&'a self, index: usize) -> Self {
        Self::Index(self, index)
    }

    pub(super) fn error(&self, message: impl Into<String>) -> ParseError {
        ParseError { pointer: self.to_string(), message: message.into() }
    }
}

impl fmt::Display for Pointer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(parent, key) => write!(f, "{parent}/{}", segment(key)),
            Self::Index(parent, index) => write!(f, "{parent}/{index}"),
        }
    }
}
