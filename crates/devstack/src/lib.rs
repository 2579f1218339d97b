//! The local stack: real Kafka, real Postgres, a stand-in for AWS and the services, each a child process with its own folder.
//!
//! ```text
//! Stack::builder(".millrace") --start()--> lock -> guard -> fetch (Maven and pip, once per user) -> stores -> services -> env
//!                                            |       |
//!                one stack per folder <------+       +--> sh that outlives us: when our end of its pipe closes, however we
//!                                                         ended, it stops every process that the stack has started
//! .millrace/
//!   env           addresses as dotenv, mode 0600     kafka/, postgres/   data, kept from start to start
//!   logs/         one file per part, rotated         gateway/ ..         working folders
//!   lock, run/    who runs here, and which processes secrets/, models/   made once
//! ```
//!
//! Promises, each with a test in `tests/`: data of the first start are found by the second; a port in use is named with its
//! owner; after `shutdown`, after a drop and after SIGKILL of the starter no process is left; a crash is recovered from.
//!
//! It knows nothing of Kafka clients or SQL: whoever needs topics or keys between two steps starts the parts one by one.

mod aws;
mod cache;
mod env;
mod error;
mod event;
mod folder;
mod guard;
mod http;
mod kafka;
mod keeper;
mod leash;
mod part;
pub mod ports;
mod postgres;
mod prerequisites;
mod process;
mod running;
mod service;
mod stack;

pub use error::{Error, Result};
pub use event::{Event, Reporter};
pub use http::get as http_get;
pub use part::Part;
pub use ports::Ports;
pub use running::{Running, down, find};
pub use stack::{Builder, Child, Stack};
