//! What comes with time, and with events: looked at when the next thing is due, by the database's clock.

use std::time::Duration;

use millrace_postgres::{Listener, listen::Event};
use millrace_runtime::Shutdown;

use crate::{
    error::Result,
    store::{EVENTS, Fired, SCHEDULES, Store},
};

/// How long nothing is looked at, at most: a clock may be set, a notification lost.
const LONGEST: Duration = Duration::from_secs(5);
/// How long somebody else is given.
const BUSY: Duration = Duration::from_millis(20);
/// Between two tries while Postgres is away.
const PAUSE: Duration = Duration::from_millis(500);

/// Fires schedules until shutdown. Any number of processes may: each moment is accounted for once.
pub async fn fire_schedules(store: Store, shutdown: Shutdown) -> anyhow::Result<()> {
    look("schedules", &store, &[SCHEDULES], &shutdown, || store.fire()).await
}

/// Makes the runs of events until shutdown. Any number of processes may: each event is looked at once by each trigger.
pub async fn consume_events(store: Store, shutdown: Shutdown) -> anyhow::Result<()> {
    look("events", &store, &[EVENTS, SCHEDULES], &shutdown, || store.consume()).await
}

async fn look<F: Future<Output = Result<Fired>>>(
    what: &'static str,
    store: &Store,
    channels: &'static [&'static str],
    shutdown: &Shutdown,
    fire: impl Fn() -> F,
) -> anyhow::Result<()> {
    let mut listener = Listener::start(store.pool(), channels);
    loop {
        let wait = match fire().await {
            Ok(Fired { flows, runs, next }) => {
                if flows > 0 {
                    tracing::debug!(what, flows, runs, "something was due");
                }
                let next = next.map_or(LONGEST, |next| Duration::try_from(next).unwrap_or_default()).min(LONGEST);
                // What is due and was not looked at is somebody else's for the moment.
                if flows == 0 { next.max(BUSY) } else { next }
            }
            Err(error) => {
                tracing::warn!(%error, what, "cannot look at what is due, trying again");
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
