//! Scores events as they arrive or from files, and trains the models that do it.
//!
//! ```text
//! <p>.events --> Lane: read --> Scorer: framing, plan --+           +--> <p>.scores
//!                  |  one consumer, one transactional producer, one thread; by default one lane per core
//! registry -------> Plans: one compiled plan per writer's schema, and the composed schema of its scores
//!                                                       |           |
//!                                                       Rows: score, reasons, head, the event's bytes: one code for both
//!                                                       |           |
//! Avro files ----> Batch: blocks on all cores ----------+           +--> files of scores, whole or not there
//! folder, or the
//! registry -------> Model: the bundle in use; another one takes its place between two batches of a lane
//! ```
//!
//! Promises: each event is scored exactly once, and what cannot be scored is dead-lettered in the same transaction
//! (`tests/stream.rs`). Within a partition, the revision of the model never goes back (`tests/it/models.rs`). A file is scored whole or fails whole, and a rerun replaces its scores (`tests/batch.rs`). The
//! event's bytes are copied into the score and never encoded again. A registry that is away holds the lane back and kills
//! no record.

pub mod batch;
pub mod lookup;
pub mod metrics;
pub mod models;
pub mod scorer;

mod args;
mod error;
mod event;
mod plans;
mod revision;
mod rows;
mod stream;
mod train;
mod wrap;

pub use args::Args;
pub use batch::Batch;
pub use error::{Error, Result};
pub use models::Model;
pub use scorer::Scorer;
pub use stream::Stream;
pub use train::Train;
pub use wrap::Wrap;
