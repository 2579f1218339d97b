//! Avro for streams: schemas, what may follow what, and the bytes of single records.
//!
//! ```text
//! text --Schema::parse--> Schema --canonical, rabin, java_string, guid--> names of the schema
//!                           |  \--compatibility--> may this one follow those?
//!                           |   \--scored, archived, columns--> the records around an event, the table under it
//!                           |
//!                           +--compile--> Projection (needed fields only), Validator (all of it), json::Encoder
//!                                            |
//! value --framing::split--> schema id + datum bytes --> slots, verdict, JSON
//! file  --container::Reader--> raw datums
//! ```
//!
//! Everything here is pure: bytes in, values out. Input is hostile until it has been walked: lengths, nesting and
//! decompression are bounded, and nothing panics on bytes that a stranger sent. The feature `client` adds cached
//! access to a registry.

pub mod archived;
pub mod columns;
pub mod compatibility;
pub mod container;
pub mod framing;
pub mod json;
pub mod logical;
pub mod projection;
pub mod scored;
pub mod wire;

#[cfg(feature = "client")]
pub mod client;

mod arena;
mod canonical;
mod guid;
mod java;
mod nested;
mod node;
mod parse;
mod path;
mod shape;
mod validator;

pub use arena::Schema;
pub use guid::Guid;
pub use logical::Logical;
pub use node::{Enum, Field, Fixed, Kind, Name, Node, NodeId, Order, Props, Record, Type};
pub use parse::ParseError;
pub use path::{FieldPath, PathError};
pub use projection::{Projection, Slot};
pub use validator::{Invalid, Validator};
pub use wire::Corrupt;
