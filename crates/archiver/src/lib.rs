//! Brings what is in Kafka's topics to the lake: every offset once, with a proof.
//!
//! ```text
//! topic --Source--> one task for each partition:
//!                     Schemas  the schema that a value was written with; what is of none is kept as bytes
//!                     Cutter   where the window ends, by offsets and times of records
//!                     Window   its files, one for each hour and schema, written in parts while they come about
//!                     Chain    the manifest, put where there is none: that is the commit
//! ends, chains --> Announcer: which hours are complete
//! ```
//!
//! A window that is not committed was never there: whoever has the partition next reads it again, from where the chain ends.
//! The group's offset is for lag alone. While S3, Kafka or the registry is away nothing is lost and nothing is given up.

mod args;
mod chain;
mod error;
mod hours;
mod metrics;
mod partition;
mod schemas;
mod serve;
mod topic;
mod window;

pub use args::Args;
pub use error::{Error, Result};
