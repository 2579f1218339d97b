//! The gateway's contract, against the real Kafka and Postgres.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails, in its helpers too")]

mod proxy;
mod registry;
mod support;

mod grpc;
mod http;
mod keys;
mod limits;
mod outages;
mod process;
mod tls;
