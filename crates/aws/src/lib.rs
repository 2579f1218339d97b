//! S3, SNS and SQS, for the services: the only crate that knows the SDK of AWS.
//!
//! ```text
//! Args --client()--> Client, which asks for nothing before its first call
//!                      |-- objects()   Objects: head, list, read (ranges, pinned), put, upload (in parts), delete
//!                      |-- queue(url)  Queue: receive (long polling), delete, give back, send, depth
//!                      +-- topic(arn)  Topic: publish, subscribe
//! ```
//!
//! Credentials come by the SDK's chain (environment, profile, web identity, container, instance); where the services are, by
//! [`Args`] or by the environment that every SDK reads. A failure is an [`Error`] that knows what it is to a retry; the SDK
//! has tried again by itself before (three tries, with backoff).

mod args;
mod body;
mod client;
mod error;
mod objects;
mod queue;
mod topic;
mod upload;

pub use args::Args;
pub use body::{Body, Wanted};
pub use client::Client;
pub use error::{Error, Kind, Result};
pub use objects::{Listing, Object, Objects};
pub use queue::{Depth, Message, Queue};
pub use topic::Topic;
pub use upload::Upload;
