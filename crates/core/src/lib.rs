//! The nouns of Millrace, without I/O: what a pipeline is, what its records are called, which errors there are.
//!
//! ```text
//! document text --Source::parse--> positions + value --load::<Pipeline>--> Pipeline (validated whole)
//!                                      |                                      |
//!                                      +-- Fault { file, path, line } <-------+  all of them at once
//! ```
//!
//! Every other crate stands on this one, and it stands on none of ours.

pub mod code;
pub mod document;
pub mod duration;
pub mod header;
pub mod id;
pub mod pipeline;
pub mod record;

pub use code::Code;
pub use document::{Fault, Faults, Source};
pub use duration::Span;
pub use pipeline::Pipeline;
pub use record::Action;
