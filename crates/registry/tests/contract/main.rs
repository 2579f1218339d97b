//! The registry's contract, against the real Postgres and, where it matters, with real processes that are killed.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod client;
mod enforcement;
mod golden;
mod lifecycle;
mod models;
mod replicas;
mod rest;
mod stock_client;
mod support;
mod watch;
