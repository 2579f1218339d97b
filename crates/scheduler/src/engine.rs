//! What makes runs go on: claims tasks that are ready, has them carried out, reports what became of them.
//!
//! ```text
//!               NOTIFY, a retry that is due, the end of an attempt, a sweep every second
//!                 v
//! claim --> prepare (conditions, lists, templates) --> carry out --> outcome by the task's rules --> report --+
//!   ^                                                                                                         |
//!   +------------------------------ what has become ready is claimed at once ---------------------------------+
//! ```
//!
//! Nothing polls: the sweep is for what a notification that was lost would have said, for leases and for time-outs. An
//! engine that has lost its lease drops what it looked after, which is somebody else's then, and begins anew.

mod clock;
mod life;
mod metrics;
mod perform;
mod retry;
mod work;

pub use clock::{fire_schedules, watch_deadlines};
pub use metrics::Metrics;
pub use work::{Work, wanted};

use std::{sync::Arc, time::Duration};

use millrace_runtime::Shutdown;

use crate::{error::Result, exec::Executors, store::Store};

/// How an engine works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of the instance, the same after a restart of the same machine.
    pub name: String,
    /// For how long an instance that says nothing keeps what it looks after.
    pub lease: Duration,
    /// How many attempts it carries out at once; those that only let time pass are not counted.
    pub parallelism: usize,
    /// How much of that may be in the background.
    pub background: usize,
    /// How long it waits at its end for calls that have begun.
    pub drain: Duration,
}

/// Makes runs go on. Any number of them, in any number of processes.
pub struct Engine {
    store: Store,
    executors: Arc<Executors>,
    settings: Settings,
    metrics: Metrics,
}

impl Engine {
    /// Over a store.
    pub fn new(store: &Store, executors: Executors, settings: Settings, metrics: Metrics) -> Self {
        Self { store: store.with_voice(), executors: Arc::new(executors), settings, metrics }
    }

    /// Works until shutdown.
    pub async fn run(self: Arc<Self>, shutdown: Shutdown) -> anyhow::Result<()> {
        while !shutdown.is_triggered() {
            match life::Life::begin(&self).await {
                Ok(life) => life.live(&shutdown).await,
                Err(error) => {
                    tracing::warn!(%error, "cannot begin to work, trying again");
                    pause(&shutdown).await;
                }
            }
        }
        Ok(())
    }

    /// Does something again until Postgres is there.
    async fn insist<T, F: Future<Output = Result<T>>>(
        &self,
        what: &'static str,
        mut work: impl FnMut() -> F,
    ) -> Result<T> {
        loop {
            match work().await {
                Err(error) if error.is_retriable() => {
                    tracing::warn!(%error, what, "trying again");
                    tokio::time::sleep(PAUSE).await;
                }
                other => return other,
            }
        }
    }
}

/// Between two tries while Postgres is away.
const PAUSE: Duration = Duration::from_millis(500);

async fn pause(shutdown: &Shutdown) {
    tokio::select! {
        () = tokio::time::sleep(PAUSE) => {}
        () = shutdown.wait() => {}
    }
}
