//! Events and what they make: recorded once, looked at by each trigger in the order of their numbers.
//!
//! ```text
//! record   the source's row, then numbers without gaps: a number that is seen has all that are lower before it
//! listen   a DAG that is applied: its triggers, each with a cursor of its own, from the events after that on
//! consume  of a trigger, in one transaction: its cursor, its groups, the runs of those that are complete
//! ```
//!
//! Rows are locked in the order: triggers, flows, sources.

mod consume;
mod ledger;
mod list;
mod listen;
mod record;

pub use list::{EventQuery, EventRow, GroupRow, Pending, TriggerRow, Use};
pub use record::{NewEvent, Recorded};

pub(super) use listen::{hold, hold_one, leave, listen};

use millrace_postgres::Row;

use crate::events::Event;

/// What an [`Event`] `e` of a source `s` is read from.
const EVENT: &str = "e.seq, s.name, e.event_id, e.type, e.subject, e.at, e.data, e.bytes";

fn event(row: &Row) -> Event {
    Event {
        seq: row.get(0),
        source: row.get(1),
        id: row.get(2),
        kind: row.get(3),
        subject: row.get(4),
        at: row.get(5),
        data: row.get(6),
        bytes: u64::try_from(row.get::<_, i32>(7)).unwrap_or_default(),
    }
}
