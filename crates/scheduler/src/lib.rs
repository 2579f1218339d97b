//! Runs workflows: graphs of tasks, on a schedule, by events or by hand.

pub mod schedule;
