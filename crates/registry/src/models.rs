//! Models: bundles by name and version, and which of them scores which pipeline.
//!
//! ```text
//! PushModel --> Shelf: files to S3, by the hash of their contents --> registry.models
//! PromoteModel, RollbackModel --> conditions --> registry.model_stages + registry.promotions --> the bell
//! WatchAssignment <-- the last word, whenever the bell rings
//! ```

mod assign;
mod condition;
mod manifest;
mod service;
mod shelf;
mod store;

pub(crate) use service::Service;
pub(crate) use shelf::Shelf;
