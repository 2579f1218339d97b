//! The importer's contract, with the real binary against real Kafka and Postgres and the stand-in of S3, SNS and SQS:
//! `KAFKA_BOOTSTRAP_SERVERS`, `DATABASE_URL` and `AWS_ENDPOINT_URL` name them. Every test has its own topics, database and registry.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod bad_rows;
mod files;
mod objects;
mod once;
mod outages;
mod poison;
mod proxy;
mod replacing;
mod schemas;
mod world;
