//! The registry's contract, against the real Postgres and, where it matters, with real processes that are killed.

mod client;
mod enforcement;
mod golden;
mod replicas;
mod rest;
mod stock_client;
mod support;
mod watch;
