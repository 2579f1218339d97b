use std::fmt;

use millrace_schema::{Kind, NodeId, Schema, Type};

/// The type of an expression. Null is a value of every type that comes from the event, so it is not part of the type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ty {
    /// Known only when it is evaluated.
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    /// A string out of a schema's symbols.
    Enum(NodeId),
    List(Box<Ty>),
    Map(Box<Ty>, Box<Ty>),
    /// A record of the event's schema.
    Record(NodeId),
    /// A type as a value: `type(x) == int`.
    Type,
}

impl Ty {
    /// The type that values of a node have. A union of null and one other is that other.
    pub(crate) fn of(schema: &Schema, id: NodeId) -> Self {
        match &schema.node(id).kind {
            Kind::Null => Self::Null,
            Kind::Boolean => Self::Bool,
            Kind::Int | Kind::Long => Self::Int,
            Kind::Float | Kind::Double => Self::Double,
            Kind::Bytes | Kind::Fixed(_) => Self::Bytes,
            Kind::String => Self::String,
            Kind::Enum(_) => Self::Enum(id),
            Kind::Array(items) => Self::List(Box::new(Self::of(schema, *items))),
            Kind::Map(values) => Self::Map(Box::new(Self::String), Box::new(Self::of(schema, *values))),
            Kind::Record(_) => Self::Record(id),
            Kind::Union(branches) => {
                let mut some = branches.iter().filter(|&&branch| schema.node(branch).ty() != Type::Null);
                match (some.next(), some.next()) {
                    (Some(only), None) => Self::of(schema, *only),
                    (None, _) => Self::Null,
                    _ => Self::Dyn,
                }
            }
        }
    }

    pub(crate) fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Uint | Self::Double | Self::Dyn)
    }

    pub(crate) fn is_text(&self) -> bool {
        matches!(self, Self::String | Self::Enum(_) | Self::Dyn)
    }

    /// Whether a value of this type may equal one of the other.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dyn | Self::Null, _)
            | (_, Self::Dyn | Self::Null)
            | (Self::Record(_), Self::Map(..))
            | (Self::Map(..), Self::Record(_)) => true,
            (Self::List(a), Self::List(b)) => a.meets(b),
            (Self::Map(ka, va), Self::Map(kb, vb)) => ka.meets(kb) && va.meets(vb),
            (a, b) => a == b || (a.is_number() && b.is_number()) || (a.is_text() && b.is_text()),
        }
    }

    /// Whether `<` is defined between the two.
    pub(crate) fn orders(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dyn, other) | (other, Self::Dyn) => {
                matches!(other, Self::Bool | Self::Bytes) || other.is_number() || other.is_text()
            }
            (Self::Bool, Self::Bool) | (Self::Bytes, Self::Bytes) => true,
            (a, b) => (a.is_number() && b.is_number()) || (a.is_text() && b.is_text()),
        }
    }

    /// The type of a value that may be of either.
    pub(crate) fn join(self, other: Self) -> Self {
        match (self, other) {
            (a, b) if a == b => a,
            (Self::Null, some) | (some, Self::Null) => some,
            (Self::List(a), Self::List(b)) => match (*a, *b) {
                // the literal [] has items of any type, none in fact
                (Self::Dyn, b) => Self::List(Box::new(b)),
                (a, Self::Dyn) => Self::List(Box::new(a)),
                (a, b) => Self::List(Box::new(a.join(b))),
            },
            (a, b) if a.is_text() && b.is_text() && a != Self::Dyn && b != Self::Dyn => Self::String,
            _ => Self::Dyn,
        }
    }
}

/// As CEL names it.
impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn => f.write_str("dyn"),
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::String | Self::Enum(_) => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::List(item) => write!(f, "list({item})"),
            Self::Map(key, value) => write!(f, "map({key}, {value})"),
            Self::Record(_) => f.write_str("record"),
            Self::Type => f.write_str("type"),
        }
    }
}
