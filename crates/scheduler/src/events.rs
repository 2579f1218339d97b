//! Events that neither drop nor duplicate: which of them make which runs.
//!
//! ```text
//! recorded once for (source, id), numbered without gaps
//!    |-- after a trigger's cursor --Listener: source, type, subject, `if`--> taken, with the key that `by` gives
//!    |                                                                         |
//!    '-- the others: nothing                                     fold: joins the open group of its key, which is then
//!                                                                complete, or not: each complete group is one run
//! ```
//!
//! What becomes of an event is decided without a clock and without a database: by when it and those before it were recorded,
//! and not by when anybody looks at it. So the same events make the same runs whatever the load, however many replicas look,
//! and however the work is divided into transactions (`model.rs`). A run's key names the trigger and its events' ids.

mod fold;
mod listener;
#[cfg(test)]
mod model;
mod pattern;
mod rule;

pub use fold::{Folded, Group, Taken, fold};
pub use listener::{Event, Listener, Made, Scope};
pub use rule::{End, Rule};

/// The most events of one run.
pub const MAX_EVENTS: usize = 1_000;
/// The most bytes of the data of one run's events, as JSON: a group with no room for the next event is complete.
pub const MAX_GROUP: u64 = 16 * 1024 * 1024;
/// The most bytes of an event's data, as JSON.
pub const MAX_DATA: usize = 256 * 1024;
/// The most bytes of an event's id, type and subject, and of what `by` gives.
pub const MAX_NAME: usize = 512;
