//! The contract against a real server: `DATABASE_URL` names one where databases may be made.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]
#![allow(clippy::single_range_in_vec_init, reason = "ranges of rows, one of them here")]

mod copy;
mod ledger;
mod listen;
mod migrate;
mod pool;
mod tls;
