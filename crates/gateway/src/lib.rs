//! Takes events in, checks them, and answers for each when it is durable.
//!
//! ```text
//! HTTP --body, gunzip, parse--+                                                           +--> <p>.events
//!                             +--> key? limits? --> prepare (pure) --> publish (acks=all) --+
//! gRPC --Publish[Stream]------+      |                 |                                  '--> one answer per event
//!                                 Postgres          registry: one plan per schema
//! ```
//!
//! Promises: an event that was called accepted is in Kafka on all in-sync replicas; one that was called rejected is not
//! there and will not be; one bad event never harms its neighbours. What is called unknown may be there or not, and may be
//! sent again with the same id. While Postgres or the registry is away, what is known already goes on.

mod admission;
mod args;
mod error;
mod event;
mod gateway;
mod grpc;
pub mod http;
pub mod keys;
mod limits;
pub mod metrics;
mod plan;
mod prepare;
mod routes;
mod service;
mod trace;

pub use args::Args;
pub use error::{Error, Rejection, Result};
pub use event::{Answer, Incoming, Outcome, Payload};
pub use limits::Limits;
pub use plan::Plan;
pub use prepare::{Prepared, Receipt, prepare};
pub use service::{Listeners, Service, Settings};
