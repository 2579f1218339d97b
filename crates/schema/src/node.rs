//! What a schema is made of.

use std::fmt;

use serde_json::Value;

use crate::Logical;

/// The place of a node in its schema's arena. Meaningless with another schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u32);

impl NodeId {
    /// The place as a number, dense from zero: for tables beside the arena.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Attributes that the specification does not define, in the order of the text. A logical type and its precision are
/// among them.
pub type Props = Vec<(String, Value)>;

/// One type.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// What it means, where its logical type is known and valid; others are ignored, as the specification says.
    pub logical: Option<Logical>,
    /// Attributes beyond the specification's.
    pub props: Props,
}

impl Node {
    /// The kind without its parts.
    pub fn ty(&self) -> Type {
        self.kind.ty()
    }

    /// The full name of a record, an enum or a fixed.
    pub fn name(&self) -> Option<&Name> {
        match &self.kind {
            Kind::Record(it) => Some(&it.name),
            Kind::Enum(it) => Some(&it.name),
            Kind::Fixed(it) => Some(&it.name),
            _ => None,
        }
    }

    /// Former names of a record, an enum or a fixed.
    pub fn aliases(&self) -> &[Name] {
        match &self.kind {
            Kind::Record(it) => &it.aliases,
            Kind::Enum(it) => &it.aliases,
            Kind::Fixed(it) => &it.aliases,
            _ => &[],
        }
    }

    /// The record, if it is one.
    pub fn record(&self) -> Option<&Record> {
        match &self.kind {
            Kind::Record(record) => Some(record),
            _ => None,
        }
    }
}

/// The kinds of types, with their parts.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// No value.
    Null,
    /// True or false.
    Boolean,
    /// 32 bits, signed.
    Int,
    /// 64 bits, signed.
    Long,
    /// IEEE 754, 32 bits.
    Float,
    /// IEEE 754, 64 bits.
    Double,
    /// A sequence of bytes.
    Bytes,
    /// UTF-8.
    String,
    /// A list of items.
    Array(NodeId),
    /// Values by string keys.
    Map(NodeId),
    /// One of these.
    Union(Vec<NodeId>),
    /// Named fields in order.
    Record(Record),
    /// One of these symbols.
    Enum(Enum),
    /// So many bytes.
    Fixed(Fixed),
}

impl Kind {
    /// The kind without its parts.
    pub fn ty(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Boolean => Type::Boolean,
            Self::Int => Type::Int,
            Self::Long => Type::Long,
            Self::Float => Type::Float,
            Self::Double => Type::Double,
            Self::Bytes => Type::Bytes,
            Self::String => Type::String,
            Self::Array(_) => Type::Array,
            Self::Map(_) => Type::Map,
            Self::Union(_) => Type::Union,
            Self::Record(_) => Type::Record,
            Self::Enum(_) => Type::Enum,
            Self::Fixed(_) => Type::Fixed,
        }
    }
}

/// The kinds of types, by name only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the specification's")]
pub enum Type {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Array,
    Map,
    Union,
    Record,
    Enum,
    Fixed,
}

impl Type {
    /// The name as schemas spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Bytes => "bytes",
            Self::String => "string",
            Self::Array => "array",
            Self::Map => "map",
            Self::Union => "union",
            Self::Record => "record",
            Self::Enum => "enum",
            Self::Fixed => "fixed",
        }
    }

    /// The primitive type of that name.
    pub fn primitive(name: &str) -> Option<Kind> {
        Some(match name {
            "null" => Kind::Null,
            "boolean" => Kind::Boolean,
            "int" => Kind::Int,
            "long" => Kind::Long,
            "float" => Kind::Float,
            "double" => Kind::Double,
            "bytes" => Kind::Bytes,
            "string" => Kind::String,
            _ => return None,
        })
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A record.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its full name.
    pub name: Name,
    /// Its former names.
    pub aliases: Vec<Name>,
    /// What it is for.
    pub doc: Option<String>,
    /// Its fields, in the order of the bytes.
    pub fields: Vec<Field>,
    /// Declared as `error`, which only protocols distinguish.
    pub is_error: bool,
}

impl Record {
    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The place of the field of that name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its former names.
    pub aliases: Vec<String>,
    /// What it is for.
    pub doc: Option<String>,
    /// Its type.
    pub node: NodeId,
    /// What a reader takes where the writer has no such field. Checked against the type; the value of a union belongs
    /// to the first branch that it fits.
    pub default: Option<Value>,
    /// How it sorts.
    pub order: Order,
    /// Attributes beyond the specification's.
    pub props: Props,
}

/// How a field counts when records are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the specification's")]
pub enum Order {
    #[default]
    Ascending,
    Descending,
    Ignore,
}

impl Order {
    /// The name as schemas spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ascending => "ascending",
            Self::Descending => "descending",
            Self::Ignore => "ignore",
        }
    }
}

/// An enum.
#[derive(Clone, Debug, PartialEq)]
pub struct Enum {
    /// Its full name.
    pub name: Name,
    /// Its former names.
    pub aliases: Vec<Name>,
    /// What it is for.
    pub doc: Option<String>,
    /// Its symbols, in the order of the bytes.
    pub symbols: Vec<String>,
    /// What a reader takes for a symbol that it does not know.
    pub default: Option<String>,
}

/// So many bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Fixed {
    /// Its full name.
    pub name: Name,
    /// Its former names.
    pub aliases: Vec<Name>,
    /// What it is for.
    pub doc: Option<String>,
    /// How many bytes.
    pub size: usize,
}

/// A full name: a namespace, which may be empty, and a simple name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    full: String,
    simple: usize,
}

impl Name {
    /// Joins `name` to `namespace`, unless it has a namespace of its own. Nothing is checked here.
    pub fn new(name: &str, namespace: Option<&str>) -> Self {
        match (name.rfind('.'), namespace.filter(|space| !space.is_empty())) {
            (Some(0), _) => Self { full: name[1..].to_owned(), simple: 0 },
            (Some(dot), _) => Self { full: name.to_owned(), simple: dot + 1 },
            (None, Some(space)) => Self { full: format!("{space}.{name}"), simple: space.len() + 1 },
            (None, None) => Self { full: name.to_owned(), simple: 0 },
        }
    }

    /// `trust.v1.EmailMetadata`.
    pub fn full(&self) -> &str {
        &self.full
    }

    /// `EmailMetadata`.
    pub fn simple(&self) -> &str {
        &self.full[self.simple..]
    }

    /// `trust.v1`, or nothing.
    pub fn namespace(&self) -> Option<&str> {
        (self.simple > 0).then(|| &self.full[..self.simple - 1])
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.full)
    }
}
