//! Needed fields out of a datum, in one walk.
use millrace_core::Code;
use serde_json::Value;
use crate::{Corrupt, FieldPath, Logical, NodeId, Schema, Type};

/// The value of one path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Slot<'a> {
    /// The writer's schema has no such field, and the reader's gives no default.
    Missing,
    /// No value.
    Null,
    /// A boolean.
    Bool(bool),
    /// An int or a long, also of a logical type: a timestamp in its unit, a date in days.
    Long(i64),
    /// A float or a double.
    Double(f64),
    /// A string, or the symbol of an enum.
    Str(&'a str),
    /// Bytes or a fixed, also of a logical type.
    Bytes(&'a [u8]),
    /// An array, a map or a record, still encoded.
    Complex(Complex<'a>),
}

/// An array, a map or a record, still encoded.
#[derive(Clone, Copy)]
pub struct Complex<'a> { schema: &'a Schema, node: NodeId, bytes: &'a [u8] }

impl PartialEq for Complex<'_> { fn eq(&self, other: &Self) -> bool { self.bytes == other.bytes } }
impl std::fmt::Debug for Complex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("Complex") }
}

impl<'a> Complex<'a> {
    /// Array, map or record.
    pub fn ty(&self) -> Type { self.schema.node(self.node).ty() }
    /// The encoded bytes.
    pub fn bytes(&self) -> &'a [u8] { self.bytes }
    /// The schema of those bytes.
    pub fn schema(&self) -> Schema { self.schema.at(self.node) }
    /// The number of items of an array, of entries of a map, of fields of a record.
    pub fn len(&self) -> usize { unimplemented!() }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool { self.len() == 0 }
    /// As JSON, by the rules of [`crate::json::to_json`].
    pub fn to_json(&self) -> Result<Value, Corrupt> { unimplemented!() }
}

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathKind {
    /// The type in the reader's schema; that of the one branch beside null in a union, or a union of several.
    pub ty: Type,
    /// Its logical type.
    pub logical: Option<Logical>,
    /// Whether it may be null, in the reader's schema or in the writer's.
    pub nullable: bool,
    /// Whether the writer's schema has it; else it is always its default or missing.
    pub present: bool,
    /// Its node in the reader's schema.
    pub node: NodeId,
}

/// Why paths cannot be read from data of a schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The reader's schema has no such field.
    #[error("{path}: no such field")]
    UnknownField {
        /// What was asked for.
        path: FieldPath,
    },
    /// The writer's type is none that the reader's can be read from.
    #[error("{path}: {writer} cannot be read as {reader}")]
    Unreadable {
        /// What was asked for.
        path: FieldPath,
        /// The reader's type.
        reader: Type,
        /// The writer's type.
        writer: Type,
    },
}

impl Error {
    /// What callers see.
    pub fn code(&self) -> Code {
        match self {
            Self::UnknownField { .. } => Code::InvalidConfig,
            Self::Unreadable { .. } => Code::IncompatibleSchema,
        }
    }
    /// Low cardinality, stable: a metric label.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::UnknownField { .. } => "unknown_field",
            Self::Unreadable { .. } => "unreadable_field",
        }
    }
    /// Schemas do not change.
    pub fn is_retriable(&self) -> bool { false }
}

/// Reads chosen fields from data of one schema.
pub struct Projection {}

impl Projection {
    /// Prepares to read `paths`, named as in `reader`, from data written with `writer`.
    pub fn compile(_writer: &Schema, _reader: &Schema, _paths: &[FieldPath]) -> Result<Self, Error> { unimplemented!() }
    /// Reads one datum: a slot per path, in the order of the paths. Returns how many bytes the datum took.
    pub fn read<'a>(&'a self, _datum: &'a [u8], _out: &mut Vec<Slot<'a>>) -> Result<usize, Corrupt> { unimplemented!() }
    /// What the path at `index` is.
    pub fn kind(&self, _index: usize) -> PathKind { unimplemented!() }
    /// How many paths there are.
    pub fn len(&self) -> usize { unimplemented!() }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool { self.len() == 0 }
}

/// What `path` is in `schema`, without a writer: `present` is true.
pub fn kind_of(_schema: &Schema, _path: &FieldPath) -> Result<PathKind, Error> { unimplemented!() }
