//! Schedules: looked at when the next one is due, by the database's clock.

use std::time::Duration;

use millrace_postgres::{Listener, listen::Event};
use millrace_runtime::Shutdown;

use crate::store::{Fired, SCHEDULES, Store};

/// How long nothing is looked at, at most: a clock may be set.
const LONGEST: Duration = Duration::from_secs(5);
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
                next.map_or(LONGEST, |next| Duration::try_from(next).unwrap_or_default()).min(LONGEST)
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
