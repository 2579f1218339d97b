//! Kubernetes, as the services use it. The only user of the client.
//!
//! ```text
//! Args --connect()--> Cluster --jobs()--> Jobs --create--> a Job, or the one that is there under its name
//!                                          |  --follow---> Following: what becomes of it, from one watch for all
//!                                          |  --stop-----> its pods end; the Job stays, so that it is never made again
//!                                          +- pods, tail: what is left of it
//! ```
//!
//! [`Job`] is what somebody wants to run; what Kubernetes is given for it is a pure function of that (`job::manifest`), and
//! so is what is read of what Kubernetes says ([`State`], [`Pod`]). Nothing connects before it is asked to.

pub mod job;

mod args;
mod cluster;
mod error;
mod jobs;
mod log;
mod watch;

pub use args::Args;
pub use cluster::Cluster;
pub use error::{Error, Result};
pub use job::{Exit, Finish, Job, Key, Pod, Problem, Shards, State};
pub use jobs::Jobs;
pub use watch::{Following, Seen};
