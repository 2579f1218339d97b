//! Schedules: looked at when the next one is due, by the database's clock.

use std::time::Duration;

use millrace_postgres::{Listener, listen::Event};
use millrace_runtime::Shutdown;

use crate::store::{Fired, SCHEDULES, Store};

/// How long nothing is looked at, at most: a clock may be set.
const LONGEST: Duration = Duration::from_secs(5);
/// How long somebody else is given.
const BUSY: Duration = Duration::from_millis(20);
/// Between two tries while Postgres is away.
const PAUSE: Duration = Duration::from_millis(500);

/// Fires schedules until shutdown. Any number of processes may: each moment is accounted for once.
pub async fn run(store: Store, shutdown: Shutdown) -> anyhow::Result<()> {
    let mut listener = Listener::start(store.pool(), &[SCHEDULES]);
    loop {
        let wait = match store.fire().await {
            Ok(Fired { flows, runs, next }) => {
                if flows > 0 {
                    tracing::debug!(flows, runs, "schedules were due");
                }
                let next = next.map_or(LONGEST, |next| Duration::try_from(next).unwrap_or_default()).min(LONGEST);
                // What is due and was not looked at is somebody else's for the moment.
                if flows == 0 { next.max(BUSY) } else { next }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot look at schedules, trying again");
                PAUSE
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            Event::Connected | Event::Notified { .. } = listener.next() => {}
            () = shutdown.wait() => return Ok(()),
        }
    }
}
