//! Kafka, for the services: the only crate that knows librdkafka.
//!
//! ```text
//! gateway -----> Producer --acks=all, idempotent--> <p>.events
//! scorer, judge  Lane:   read -> Processor -> write, in one transaction with the offsets; dead letters too
//! importer, notify  Source: consecutive batches per partition, for a ledger outside Kafka
//! cli  Reader: ranges of a topic, by offset or by time        Admin: topics, ids, lag
//! ```
//!
//! What holds, and where it is shown: `tests/it/lane.rs` (a killed lane repeats nothing and loses nothing),
//! `tests/it/source.rs` (batches are consecutive over gaps and markers), `tests/it/producer.rs` (a failed send hands the
//! record back).

pub mod admin;
pub mod args;
pub mod dead;
pub mod lane;
pub mod metrics;
pub mod producer;
pub mod reader;
pub mod source;
pub mod trace;

mod client;
mod close;
mod context;
mod error;
mod headers;
mod record;

pub use admin::Admin;
pub use args::Args;
pub use bytes::Bytes;
pub use client::Client;
pub use error::{Error, Result};
pub use headers::Headers;
pub use lane::Lane;
pub use producer::{Acked, Producer};
pub use reader::Reader;
pub use record::{Outgoing, Record};
pub use source::Source;
