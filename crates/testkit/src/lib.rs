//! What stories on real parts are told with.
//!
//! ```text
//! World: a local stack of its own (Kafka, Postgres, the real binaries) + a folder of documents + a client's key
//!   world.cli(["publish", ..])     the command line as a user runs it
//!   world.kill("scorer")           SIGKILL, and start again
//!   world.number("SELECT ..")      what Postgres holds
//! Database: one test's own, where no more than that is needed; so are Bucket and queue
//! Models: bundles trained, pushed, promoted and rolled back in the world's registry
//! Sender: events over gRPC, batch by batch, every answer kept: what was accepted, rejected, unknown
//! ```
//!
//! A world that is dropped while its test fails leaves its folder behind and says where the logs are.

mod aws;
mod confluent;
mod database;
mod eventually;
mod flaky;
mod models;
mod python;
mod receiver;
mod registry;
mod sender;
mod world;

pub use aws::{Bucket, queue};
pub use confluent::confluent_python;
pub use database::Database;
pub use flaky::Flaky;
pub use models::Models;
pub use python::python;
pub use registry::Registry;
pub use sender::{Outcome, Sender};
pub use world::{Builder, Finished, World};
