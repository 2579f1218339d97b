use std::{fmt, sync::Arc};

use cel::common::{
    types::Type,
    value::{StaticVal, Val},
};
use millrace_schema::FieldPath;

/// What the names in a lowered rule stand for: `@score`, `@0` for a field of the event, `@c0` for a constant. CEL has
/// no such identifiers, so they meet no name of a rule.
#[derive(Debug, Default)]
pub(crate) struct Symbols {
    pub(crate) fields: Vec<FieldPath>,
    pub(crate) constants: Vec<Box<dyn Val>>,
}

/// What a name of a lowered rule refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Symbol {
    Score,
    Field(usize),
    Constant(usize),
}

impl Symbols {
    /// The symbol of a field; the same for each use of it.
    pub(crate) fn field(&mut self, path: &FieldPath) -> usize {
        self.fields.iter().position(|known| known == path).unwrap_or_else(|| {
            self.fields.push(path.clone());
            self.fields.len() - 1
        })
    }

    /// The symbol of a value that is made once, not at each evaluation.
    pub(crate) fn constant(&mut self, value: Box<dyn Val>) -> usize {
        self.constants.push(value);
        self.constants.len() - 1
    }
}

impl Symbol {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let name = name.strip_prefix('@')?;
        match name.strip_prefix('c') {
            Some(index) => index.parse().ok().map(Self::Constant),
            None if name == "score" => Some(Self::Score),
            None => name.parse().ok().map(Self::Field),
        }
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Score => f.write_str("@score"),
            Self::Field(index) => write!(f, "@{index}"),
            Self::Constant(index) => write!(f, "@c{index}"),
        }
    }
}

/// The type of [`Pattern`], for the overload of `matches` that takes one.
pub(crate) static PATTERN: Type = Type::new_unspecified_type("millrace.pattern");

/// A regular expression, compiled once: `cel` would compile the text at each evaluation.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(pub(crate) Arc<regex::Regex>);

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        <Self as Val>::cel_type()
    }

    fn cel_type() -> &'static Type {
        &PATTERN
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn std::any::Any> {
        Some(self)
    }
}

impl StaticVal for Pattern {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_read_back_what_they_show() {
        for symbol in [Symbol::Score, Symbol::Field(12), Symbol::Constant(0)] {
            assert_eq!(Symbol::parse(&symbol.to_string()), Some(symbol));
        }
        for name in ["score", "@result", "@", "@c", "@1x"] {
            assert_eq!(Symbol::parse(name), None, "{name}");
        }
    }
}
