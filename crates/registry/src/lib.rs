//! The registry: Avro schemas by subject, version, id and content, for Confluent's clients and for our own; and models.
//!
//! ```text
//! REST (Confluent's API) --+                      +-- store: Postgres schema `registry`
//!                          +--> Registry ---------+
//! gRPC (RegistryService) --+      |  checks       +-- cache: what an id names never changes
//! gRPC (ModelService) -----+      |               +-- models: bundles in S3, who scores which pipeline
//!        ^                        |
//!        +------ Watch <------ changes, by revision (LISTEN says when to look)
//! ```
//!
//! Promises: any number of replicas, none of them the leader; one id per content, versions without holes, duplicates refused by the
//! database itself (`tests/contract/replicas.rs`). What compatibility refuses is refused on every replica (`tests/contract/enforcement.rs`). A watcher
//! that comes back with its last revision misses nothing (`tests/contract/watch.rs`). Stock clients work (`tests/contract/stock_client.rs`).

mod args;
mod error;
mod grpc;
pub mod metrics;
mod model;
mod models;
mod registry;
mod rest;
mod serve;
mod store;
mod subject;
mod watch;

pub use args::Args;
pub use error::{Error, Result};
pub use model::Conflict;
pub use serve::{MIGRATIONS, ModelStore, Options, Parts, serve};
