//! The alerter's contract, with its binary, real Kafka and real Postgres. `KAFKA_BOOTSTRAP_SERVERS` and `DATABASE_URL` say
//! where those are; `make test` starts them.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod faults;
mod judge;
mod notify;
mod receiver;
mod registry;
mod signals;
mod world;
