//! The loop from verdicts and signals to Postgres.
//!
//! ```text
//! Source --batch--> read: occurrences, signals --store: ledger, alerts, alert_events--> one transaction
//!    ^                | cannot be read: dead letter first         | fenced: another replica has the partition
//!    +-- commit, for lag only                                     | away: the batch waits
//! ```

mod alert;
mod read;
mod store;
mod stream;

pub(crate) use self::{
    read::Reader,
    store::Settings,
    stream::{Parts, run},
};

/// The stage of this loop's dead letters, and the service's name in its groups.
pub(crate) const STAGE: &str = "notify";

/// Told in Postgres when there may be something due to be told, and when there is something to deliver.
pub(crate) const DUE: &str = "millrace_alerter_due";
