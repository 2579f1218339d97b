//! Runs workflows: graphs of tasks, on a schedule, by events or by hand.
//!
//! So far its inner ring, and the runs in Postgres:
//!
//! ```text
//! document ----> plan: a DAG with its templates in it, checked whole
//! schedule ----> when it is due, on every day of every time zone
//! graph, rule -> what may run, by what became of what comes before
//! render ------> what an attempt is given
//! store -------> runs and tasks in Postgres: claimed, finished, decided
//! ```

pub mod document;
pub mod graph;
pub mod plan;
pub mod render;
pub mod rule;
pub mod schedule;
pub mod state;
pub mod store;

mod error;

pub use error::{Error, Result};
