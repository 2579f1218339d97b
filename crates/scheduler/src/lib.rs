//! Runs workflows: graphs of tasks, on a schedule, by events or by hand.
//!
//! So far its inner ring, without I/O:
//!
//! ```text
//! document ----> plan: a DAG with its templates in it, checked whole
//! schedule ----> when it is due, on every day of every time zone
//! graph, rule -> what may run, by what became of what comes before
//! render ------> what an attempt is given
//! ```

pub mod document;
pub mod graph;
pub mod plan;
pub mod render;
pub mod rule;
pub mod schedule;
