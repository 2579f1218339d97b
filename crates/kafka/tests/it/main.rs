//! What this crate promises, against the real broker of the test stack.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod admin;
mod lane;
mod producer;
mod source;
mod support;
