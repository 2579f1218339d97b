//! Runs workflows: graphs of tasks, on a schedule, by events or by hand.
//!
//! ```text
//! gRPC --service--> apply --> documents in force            clock --slots--> what becomes of each moment of a schedule
//!                     |                                       |
//!                     v                                       v
//!                   plan: a DAG checked whole ------------> store: runs and tasks in Postgres
//!                                                             |   ^
//!                        claimed by any number of engines ----+   +---- what became of each attempt
//!                                     |                                             ^
//!                                     +--> render, conditions --> exec: what it does
//! ```
//!
//! | module | what is in it |
//! |---|---|
//! | `document`, `plan`, `apply` | what users write, checked with lines, and how it comes into force |
//! | `graph`, `rule`, `render`, `schedule`, `slots`, `state` | the pure core: order, trigger rules, templates, calendars, slots |
//! | `deadline`, `forecast` | what is told of deadlines, and how likely they are to be missed |
//! | `store` | Postgres: claimed, finished, decided, each in one transaction |
//! | `engine` | what makes runs go on |
//! | `exec` | what attempts do, and how they are found again |
//! | `service`, `why` | gRPC, and why something is not running |

pub mod apply;
pub mod deadline;
pub mod document;
pub mod engine;
pub mod exec;
pub mod forecast;
pub mod graph;
pub mod plan;
pub mod render;
pub mod rule;
pub mod schedule;
pub mod service;
pub mod slots;
pub mod state;
pub mod store;
pub mod why;

mod args;
mod error;
mod folder;
mod signals;

pub use args::Args;
pub use error::{Error, Result};
pub use signals::Teller;
