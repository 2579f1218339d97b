//! The chassis as services see it. How a whole process ends by signals is tested with a real one, in
//! `crates/registry/tests/contract/lifecycle.rs`.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod process;
mod servers;
mod support;
