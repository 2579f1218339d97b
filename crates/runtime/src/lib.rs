//! The chassis of every service: flags, telemetry, the admin port, signals, supervised tasks, servers, exit codes.
//!
//! ```text
//! main --main()--> parse flags --start()--> Process --spawn()--> tasks and threads, each with a budget
//!                     | 64                     |                    | one ends unasked: the process ends in order, exit 1
//!                     v                        v                    v
//!                   usage          logs, traces, admin port    run_until_signal()
//!                                  /livez /readyz /metrics     SIGTERM: /readyz 503 -> drain -> exit 0
//! ```
//!
//! Promises: no task ends unnoticed; a process that was asked to stop has stopped when its budget is spent.

mod accept;
mod admin;
mod args;
mod error;
mod exit;
pub mod grpc;
pub mod http;
mod optional;
mod process;
mod readiness;
pub mod secret;
mod shutdown;
mod supervise;
mod telemetry;
pub mod tls;
mod trace;

pub use args::{Args, LogFormat};
pub use error::ConfigError;
pub use exit::{CONFIGURATION, main};
pub use optional::Optional;
pub use process::Process;
pub use readiness::Ready;
pub use secret::Secret;
pub use shutdown::Shutdown;
