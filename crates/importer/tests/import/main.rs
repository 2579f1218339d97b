//! The importer's contract, with the real binary against real Kafka and Postgres: `KAFKA_BOOTSTRAP_SERVERS` and
//! `DATABASE_URL` name them. Every test has its own topics, database and registry.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod bad_rows;
mod once;
mod outages;
mod proxy;
mod replacing;
mod schemas;
mod world;
