//! Needed fields out of a datum, in one walk.
//!
//! ```text
//! writer's schema + reader's schema + paths --compile--> a flat list of steps: take this, skip that
//! datum --read, one pass, no allocation--> a slot for each path
//! ```
//!
//! The reader's schema names the fields, promotes (int to long to float to double, bytes to string and back) and gives
//! the defaults; its aliases and the writer's are honoured. Where the specification would refuse a whole datum for one
//! field, a projection gives what is there: [`Slot::Missing`] for a field without a default that the writer lacks,
//! null where the reader wants a value, the text of a symbol that the reader does not know and has no default for, and
//! a number that is wider than the reader's in the width that it was written in: a model that was trained on ints scores
//! the events of a newer version that has longs.
//! Names of records do not matter outside unions. What has another type is refused by [`Projection::compile`], or, for
//! one branch of a union among others, when it is met.

mod compile;
mod compile_error;
mod plan;
mod resolve;
mod slot;

use crate::{Corrupt, FieldPath, Logical, NodeId, Schema, Type};

pub use compile_error::Error;
use plan::Plan;
pub use slot::{Complex, Slot};

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
    /// Its node in the reader's schema, without null.
    pub node: NodeId,
}

/// Reads chosen fields from data of one schema.
pub struct Projection {
    plan: Plan,
    kinds: Vec<PathKind>,
}

impl Projection {
    /// Prepares to read `paths`, named as in `reader`, from data written with `writer`. The empty path is the whole
    /// datum.
    pub fn compile(writer: &Schema, reader: &Schema, paths: &[FieldPath]) -> Result<Self, Error> {
        let (plan, kinds) = compile::compile(writer, reader, paths)?;
        Ok(Self { plan, kinds })
    }

    /// Reads one datum: a slot per path, in the order of the paths; what `out` held is gone. Returns how many bytes
    /// the datum took, which may be fewer than there are.
    #[inline]
    pub fn read<'a>(&'a self, datum: &'a [u8], out: &mut Vec<Slot<'a>>) -> Result<usize, Corrupt> {
        self.plan.read(datum, out)
    }

    /// What the path at `index` is.
    pub fn kind(&self, index: usize) -> PathKind {
        self.kinds[index]
    }

    /// How many paths there are.
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }
}

/// What `path` is in `schema` itself.
pub fn kind_of(schema: &Schema, path: &FieldPath) -> Result<PathKind, Error> {
    resolve::kind_of(schema, path)
}

#[cfg(test)]
mod tests;
