//! Decides about scored events, and tells whom it concerns.
//!
//! ```text
//! <p>.scores --> judge: first rule that matches --one transaction--> <p>.verdicts (dead letters: <p>.dead)
//!
//! <p>.verdicts, millrace.signals --> notify --one transaction--> alerts + ledger          Postgres schema `alerter`
//!                                                                  |  due: group_wait, repeat, quiet
//!                                                                  v
//!                                                  tell: notifications (the durable log)
//!                                                                  |  claim, SKIP LOCKED
//!                                                                  v
//!                                                  deliver: signed webhooks, retried, never blocking the stream
//! ```
//!
//! Promises: a scored event is judged exactly once, under an id that a replay gives again
//! (`tests/contract/judge.rs`); what a verdict or a signal asks to be told is stored once and delivered at least once, under one
//! `webhook-id` (`tests/contract/notify.rs`).

mod args;
mod deliver;
mod error;
mod housekeeping;
mod judge;
mod metrics;
mod notify;
mod receivers;
mod tell;
mod text;

pub use args::Args;
pub use error::{Error, Result};
pub use judge::{Judge, Lookup};
pub use metrics::names;

/// The Postgres schema that is this service's own.
pub const SCHEMA: &str = "alerter";

/// Its migrations, in order.
pub const MIGRATIONS: &[(&str, &str)] = &[("V1__alerts", include_str!("../migrations/V1__alerts.sql"))];
