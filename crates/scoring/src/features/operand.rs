use std::fmt;

use millrace_schema::FieldPath;

use super::Part;

/// A field, or a part of its text: `size`, `domain(from_addr)`, `registrable(host(link))`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Operand {
    /// The field.
    pub path: FieldPath,
    /// The parts, innermost first.
    pub parts: Vec<Part>,
}

/// A text that is no operand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperandError {
    /// Neither a path nor a part of one.
    #[error("`{0}` is neither a field (`from_addr`, `client.ip`) nor a part of one (`domain(from_addr)`)")]
    Form(String),
    /// A part that there is not.
    #[error("unknown part `{name}`: expected one of {}", Part::names().collect::<Vec<_>>().join(", "))]
    Part {
        /// As it was written.
        name: String,
    },
}

impl Operand {
    /// Reads what [`Operand`]'s `Display` writes.
    pub fn parse(text: &str) -> Result<Self, OperandError> {
        let text = text.trim();
        let Some((name, rest)) = text.split_once('(') else {
            let path = FieldPath::parse(text).ok().filter(|path| !path.is_empty());
            let path = path.ok_or_else(|| OperandError::Form(text.to_owned()))?;
            return Ok(Self { path, parts: Vec::new() });
        };
        let part = Part::parse(name).ok_or_else(|| OperandError::Part { name: name.to_owned() })?;
        let inner = rest.strip_suffix(')').ok_or_else(|| OperandError::Form(text.to_owned()))?;
        let mut operand = Self::parse(inner)?;
        operand.parts.push(part);
        Ok(operand)
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().rev().try_for_each(|part| write!(f, "{}(", part.as_str()))?;
        f.write_str(&self.path.dotted())?;
        self.parts.iter().try_for_each(|_| f.write_str(")"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_read_back_what_they_show() {
        for text in ["size", "client.ip", "domain(from_addr)", "registrable(host(link.url))"] {
            assert_eq!(Operand::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Operand::parse("registrable(host(x))").unwrap().parts, [Part::Host, Part::Registrable]);
    }

    #[test]
    fn what_is_none_is_told_what_one_is() {
        assert!(Operand::parse("domian(x)").unwrap_err().to_string().contains("expected one of domain, local"));
        for text in ["", "a b", "domain(x", "domain()", "$", "domain(x) y"] {
            assert!(matches!(Operand::parse(text), Err(OperandError::Form(_))), "{text:?}");
        }
    }
}
