//! Features are data: a document of typed operations over the fields of a record.
//!
//! ```text
//! document --load--> Document --check(event schema, never)--> Program: which fields, which texts, which steps
//!                                                                |
//! slots of one record --texts, keys--> steps --(Baselines)-------+--> one row of f32, in the order of the document
//! ```

mod action;
mod array;
mod check;
mod distance;
mod document;
mod operand;
mod part;
mod program;
mod row;
mod value;

pub(crate) use check::unit;
pub use check::{check, forbidden};
pub use document::{Document, Feature, Of, Op, Scale, Spec};
pub use operand::{Operand, OperandError};
pub use part::Part;
pub use program::Program;
pub use row::Cells;

#[cfg(test)]
mod tests;
