use serde_json::Value;

use super::plan::Side;
use crate::{Corrupt, NodeId, Schema, Type, json};

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

/// An array, a map or a record, still encoded as its writer did. Its lengths are checked, its contents are not.
#[derive(Clone, Copy)]
pub struct Complex<'a> {
    pub(super) side: &'a Side,
    pub(super) node: NodeId,
    pub(super) len: u32,
    pub(super) bytes: &'a [u8],
}

impl<'a> Complex<'a> {
    /// Array, map or record.
    pub fn ty(&self) -> Type {
        self.side.schema.node(self.node).ty()
    }

    /// The encoded bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The schema of those bytes.
    pub fn schema(&self) -> Schema {
        self.side.schema.at(self.node)
    }

    /// The number of items of an array, of entries of a map, of fields of a record.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// As JSON, by the rules of [`json::to_json`].
    pub fn to_json(&self) -> Result<Value, Corrupt> {
        json::node_to_json(&self.side.schema, self.node, self.bytes)
    }
}

impl PartialEq for Complex<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.ty() == other.ty() && self.bytes == other.bytes
    }
}

impl std::fmt::Debug for Complex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} in {} bytes", self.ty(), self.len, self.bytes.len())
    }
}
