//! The scheduler on a real Postgres.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod clear;
mod clock;
mod deadlines;
mod engine;
mod housekeeping;
mod kill;
mod model;
mod process;
mod runs;
mod schedules;
mod service;
mod waits;
mod world;
