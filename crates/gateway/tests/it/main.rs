//! The gateway's contract, against the real Kafka and Postgres.

mod proxy;
mod registry;
mod support;

mod grpc;
mod http;
mod keys;
mod limits;
mod outages;
mod process;
