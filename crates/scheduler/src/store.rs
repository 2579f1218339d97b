//! Runs in Postgres, by any number of replicas at once.
//!
//! ```text
//! add_runs --> queued -- admit, under the flow's lock: as many as may run at once --> running, its tasks are there
//! claim -----> ready -> active, a new attempt with its token, and the intent to launch it: one transaction
//! finish ----> the attempt into history, its task on, the tasks that wait for it decided by their rules, runs ended,
//!              queued runs begun: one transaction. A report whose token is not alive any more is refused.
//! consume ---> events that were recorded into groups, and those that are complete into runs (see `events`)
//! take_over -> the live attempts of an instance whose lease has expired are another's
//! ```
//!
//! A claim passes over what others are claiming. Rows are locked in the order of their keys: triggers, tasks, runs, flows, pools;
//! should two transactions lock each other all the same, Postgres ends one of them, and it is tried again.

mod admit;
mod applied;
mod backfill;
mod cancel;
mod claim;
mod clear;
mod context;
mod deadlines;
mod events;
mod finish;
mod fire;
mod flows;
mod housekeeping;
mod instances;
mod kept;
mod plans;
mod pools;
mod read;
mod runs;
mod signals;
mod successors;
mod tasks;

pub use applied::{Bound, Known, Planned, Writes};
pub use backfill::{Backfill, Backfilled};
pub use claim::{Launch, Share};
pub use clear::Cleared;
pub use context::RunInfo;
pub use deadlines::Looked;
pub use events::{EventQuery, EventRow, GroupRow, NewEvent, Pending, Recorded, TriggerRow, Use};
pub use finish::{Done, Finished, Outcome, Report};
pub use fire::Fired;
pub(crate) use flows::named;
pub use flows::{Flow, FlowId};
pub use instances::InstanceId;
pub use kept::{Keep, Kept};
pub use plans::Plans;
pub use pools::Pool as PoolState;
pub use read::{AttemptRow, FlowRow, RunQuery, RunRow, SlotRow, TaskRow};
pub use runs::{NewRun, RunId, SlotRun};
pub use signals::Sending;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use backon::{ExponentialBuilder, Retryable as _};
use millrace_postgres::{Class, GenericClient, Pool, Row};
use uuid::Uuid;

use crate::error::{Error, Result};

/// The Postgres schema of all tables here.
pub const SCHEMA: &str = "scheduler";
/// The migrations of that schema.
pub const MIGRATIONS: &millrace_postgres::migrate::Embedded = &[
    ("V1__runs", include_str!("../migrations/V1__runs.sql")),
    ("V2__kept", include_str!("../migrations/V2__kept.sql")),
    ("V3__events", include_str!("../migrations/V3__events.sql")),
    ("V4__deadlines", include_str!("../migrations/V4__deadlines.sql")),
];
/// What is notified when something can be launched.
pub const READY: &str = "millrace_scheduler_ready";
/// What is notified when attempts are told to end.
pub const CANCEL: &str = "millrace_scheduler_cancel";
/// What is notified when a deadline is to be looked at.
pub const DEADLINES: &str = "millrace_scheduler_deadlines";
/// What is notified when there are signals to send.
pub const SIGNALS: &str = "millrace_scheduler_signals";
/// What is notified when a schedule has changed.
pub const SCHEDULES: &str = "millrace_scheduler_schedules";
/// What is notified when events were recorded.
pub const EVENTS: &str = "millrace_scheduler_events";

/// How often a transaction that lost against another is tried again.
const TRIES: usize = 7;
/// The first pause before; each is twice the one before it.
const PAUSE: Duration = Duration::from_millis(5);

/// The runs of all DAGs. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    plans: Arc<Plans>,
    pasts: deadlines::Pasts,
    /// Whether there are pools, as far as this process knows: without any, a claim is one statement.
    pooled: Arc<AtomicBool>,
    /// What its notifications say, so that who sends them knows them.
    voice: Arc<str>,
}

/// A task of a run, or an instance of a mapped one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The run.
    pub run: RunId,
    /// The task's number in its plan.
    pub task: i16,
    /// The instance, from 0; -1 is the task itself.
    pub item: i32,
}

/// The item of a task itself.
pub const WHOLE: i32 = -1;

impl Store {
    /// Over a database that has the [`MIGRATIONS`].
    pub fn new(pool: Pool) -> Self {
        Self {
            pool,
            plans: Arc::default(),
            pasts: deadlines::pasts(),
            pooled: Arc::new(AtomicBool::new(true)),
            voice: voice(),
        }
    }

    /// The same store with a voice of its own.
    #[must_use]
    pub fn with_voice(&self) -> Self {
        Self { voice: voice(), ..self.clone() }
    }

    /// What its notifications say.
    pub fn voice(&self) -> &str {
        &self.voice
    }

    /// Wakes whoever listens, once the transaction has committed.
    async fn notify(&self, client: &impl GenericClient, channel: &str) -> Result<()> {
        let notify = client.prepare_cached("SELECT pg_notify($1, $2)").await.map_err(db)?;
        client.query(&notify, &[&channel, &&*self.voice]).await.map_err(db)?;
        Ok(())
    }

    /// Where it is.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The plans that runs are pinned to.
    pub fn plans(&self) -> &Plans {
        &self.plans
    }

    /// Does something again that lost against another transaction.
    async fn again<T, F: Future<Output = Result<T>>>(work: impl FnMut() -> F) -> Result<T> {
        let lost = |error: &Error| matches!(error, Error::Postgres(error) if error.class() == Class::Conflict);
        work.retry(ExponentialBuilder::new().with_min_delay(PAUSE).with_max_times(TRIES).with_jitter())
            .when(lost)
            .notify(|error, _| tracing::debug!(%error, "transaction lost against another, trying again"))
            .await
    }
}

fn voice() -> Arc<str> {
    Uuid::new_v4().simple().to_string().into()
}

/// The key of a row whose first columns are that.
fn key(row: &Row) -> Key {
    Key { run: RunId(row.get(0)), task: row.get(1), item: row.get(2) }
}

/// The driver's error as ours.
fn db(error: impl Into<millrace_postgres::Error>) -> Error {
    Error::Postgres(error.into())
}
