//! Brings scores and verdicts from Kafka to Postgres, exactly once.
//!
//! ```text
//! <p>.scores   --> Intake: gather --> Plans --> Prepared (rows of binary COPY, rejects) --> Storer --> pipeline.<table>
//! <p>.verdicts -->    |               registry, table                                      |          pipeline.<table>_<aggregate>
//!                     |                                                                    |          pipeline.<table>_verdicts
//!                     +-- group offsets, for lag only                                      +--> <p>.dead, before the ledger moves
//!
//! one transaction: ledger, COPY into a temporary table, INSERT .. ON CONFLICT, rows that give way, aggregates
//! ```
//!
//! Promises, each shown by a test in `tests/`: an event is stored once, however often the process is killed; of two
//! scores of one event the later one stays; aggregates equal their rows exactly; a record that cannot be stored goes to
//! the dead letters and its neighbours are stored; while Postgres, Kafka or the registry is away nothing is lost and
//! nothing is given up. A verdict's row is keyed by event id and verdict id: a replay under the same policy and model
//! gives the same ids and changes nothing, so that there are as many rows as verdicts.

pub mod batch;
pub mod ddl;
pub mod feed;
pub mod metrics;
pub mod plan;
pub mod shape;
pub mod store;
pub mod stream;

mod aggregate;
mod args;
mod dead;
mod error;
mod intake;
mod isolate;
mod objects;
mod patience;
mod plans;
mod storer;
mod value;
mod view;

pub use args::Args;
pub use error::{Error, Reject, Result};
pub use stream::serve;

/// The importer's own Postgres schema, where its ledger is.
pub const SCHEMA: &str = "importer";

/// The migrations of that schema.
pub const MIGRATIONS: &millrace_postgres::migrate::Embedded = &[
    ("V1__offsets", include_str!("../migrations/V1__offsets.sql")),
    ("V2__objects", include_str!("../migrations/V2__objects.sql")),
];
