//! Stories on a real Kubernetes: the cluster of `deploy/e2e`, with Kafka and Postgres of the local stack outside it. `make e2e`
//! starts all of them; by hand: `deploy/e2e/cluster exec -- cargo test --release -p millrace-tests --test e2e`.
#![allow(clippy::unwrap_used, reason = "a story ends at the first surprise")]

mod cluster;
mod jobs;
mod nodes;
mod pods;
