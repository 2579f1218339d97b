//! Runs in Postgres, by any number of replicas at once.
//!
//! ```text
//! add_run --> run + its tasks: those that wait for nothing are ready
//! claim ----> ready -> active, a new attempt with its token, and the intent to launch it: one transaction
//! finish ---> the attempt into history, its task on, the tasks that wait for it decided by their rules, runs ended:
//!             one transaction. A report whose token is not alive any more is refused.
//! ```
//!
//! A claim passes over what others are claiming. Rows are locked in the order of their keys; should two transactions lock
//! each other all the same, Postgres ends one of them, and it is tried again.

mod claim;
mod finish;
mod plans;
mod runs;
mod successors;

pub use claim::Launch;
pub use finish::{Done, Finished, Outcome, Report};
pub use plans::Plans;
pub use runs::{NewRun, RunId};

use std::{sync::Arc, time::Duration};

use backon::{ExponentialBuilder, Retryable as _};
use millrace_postgres::{Class, Pool, Row};

use crate::error::{Error, Result};

/// The Postgres schema of all tables here.
pub const SCHEMA: &str = "scheduler";
/// The migrations of that schema.
pub const MIGRATIONS: &millrace_postgres::migrate::Embedded =
    &[("V1__runs", include_str!("../migrations/V1__runs.sql"))];
/// What is notified when something can be launched.
pub const READY: &str = "millrace_scheduler_ready";

/// How often a transaction that lost against another is tried again.
const TRIES: usize = 7;
/// The first pause before; each is twice the one before it.
const PAUSE: Duration = Duration::from_millis(5);

/// The runs of all DAGs. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    plans: Arc<Plans>,
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
        Self { pool, plans: Arc::default() }
    }

    /// The plans that runs are pinned to.
    pub fn plans(&self) -> &Plans {
        &self.plans
    }

    /// Does something again that lost against another transaction.
    async fn again<T, F: Future<Output = Result<T>>>(work: impl FnMut() -> F) -> Result<T> {
        let lost = |error: &Error| matches!(error, Error::Postgres(error) if error.class() == Class::Conflict);
        work.retry(ExponentialBuilder::new().with_min_delay(PAUSE).with_max_times(TRIES))
            .when(lost)
            .notify(|error, _| tracing::debug!(%error, "transaction lost against another, trying again"))
            .await
    }
}

/// The key of a row whose first columns are that.
fn key(row: &Row) -> Key {
    Key { run: RunId(row.get(0)), task: row.get(1), item: row.get(2) }
}

/// The driver's error as ours.
fn db(error: impl Into<millrace_postgres::Error>) -> Error {
    Error::Postgres(error.into())
}
