//! Postgres, as the services use it. The only user of the driver.
//!
//! ```text
//! Args --pool()--> Pool --get()--> Client --transaction()--> Transaction
//!                   |                 |                          |
//!                   |                 +-- migrate: <service> schema, history inside it
//!                   |                                            +-- copy: binary COPY, rows encoded straight into a buffer
//!                   +-- listen: LISTEN, reconnecting             +-- ledger: offsets that fence
//! ```
//!
//! Every failure is an [`Error`] that knows by its SQLSTATE whether it may pass ([`Error::is_retriable`]) or whether
//! the data itself is refused ([`Error::is_data`]). Nothing connects before it is asked to: a service starts, and stays
//! alive, while Postgres is away.

pub mod copy;
pub mod ledger;
pub mod listen;
pub mod migrate;

mod args;
mod class;
mod connect;
mod error;
mod pool;
mod text;
mod tls;

pub use args::Args;
pub use class::Class;
pub use deadpool_postgres::{Client, GenericClient, Transaction};
pub use error::{Error, Result};
pub use ledger::Ledger;
pub use listen::Listener;
pub use migrate::{check, migrate};
pub use pool::{Pool, ready};
pub use text::storable;
pub use tokio_postgres::{Row, Statement, types};
