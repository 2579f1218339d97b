//! Scores events as they arrive, and trains the models that do it.
//!
//! ```text
//! <p>.events --> Lane: read --> Scorer: framing, plan, score, reasons --> <p>.scores
//!                  |  one consumer, one transactional producer, one thread; by default one lane per core
//! registry -------> Plans: one compiled plan per writer's schema, and the composed schema of its scores
//! --models DIR ---> Model: the bundle in use; another one takes its place between two batches
//! ```
//!
//! Promises: each event is scored exactly once, and what cannot be scored is dead-lettered in the same transaction
//! (`tests/stream.rs`). The event's bytes are copied into the score and never encoded again. A registry that is away
//! holds the lane back and kills no record.

pub mod batch;
pub mod lookup;
pub mod metrics;
pub mod models;
pub mod scorer;

mod args;
mod error;
mod event;
mod plans;
mod rows;
mod stream;
mod train;

pub use args::Args;
pub use batch::Batch;
pub use error::{Error, Result};
pub use models::Model;
pub use scorer::Scorer;
pub use stream::Stream;
pub use train::Train;
