//! What comes with time, and with events: looked at when the next thing is due, by the database's clock.

use std::time::Duration;

use jiff::SignedDuration;
use millrace_postgres::{Listener, listen::Event};
use millrace_runtime::Shutdown;
use tokio::time::{Instant, sleep_until};

use crate::{
    error::Result,
    store::{DEADLINES, EVENTS, Fired, Looked, SCHEDULES, Store},
};

/// How long nothing is looked at, at most: a clock may be set, a notification lost.
const LONGEST: Duration = Duration::from_secs(5);
/// How long somebody else is given.
const BUSY: Duration = Duration::from_millis(20);
/// Between two tries while Postgres is away.
const PAUSE: Duration = Duration::from_millis(500);
/// Between two looks at deadlines: there is news of them with each task that is done.
const BREATH: Duration = Duration::from_millis(200);

/// What a look has found: how much, and how long until there is more.
struct Found {
    some: bool,
    /// More is due at once.
    more: bool,
    next: Option<SignedDuration>,
}

/// Fires schedules until shutdown. Any number of processes may: each moment is accounted for once.
pub async fn fire_schedules(store: Store, shutdown: Shutdown) -> anyhow::Result<()> {
    let fire = || async { Ok(found("schedules", store.fire().await?)) };
    follow(&store, &[SCHEDULES], "cannot look at schedules, trying again", Duration::ZERO, fire, &shutdown).await;
    Ok(())
}

/// Makes the runs of events until shutdown. Any number of processes may: each event is looked at once by each trigger.
pub async fn consume_events(store: Store, shutdown: Shutdown) -> anyhow::Result<()> {
    let consume = || async { Ok(found("events", store.consume().await?)) };
    let channels = [EVENTS, SCHEDULES];
    follow(&store, &channels, "cannot look at events, trying again", Duration::ZERO, consume, &shutdown).await;
    Ok(())
}

fn found(what: &'static str, fired: Fired) -> Found {
    let Fired { flows, runs, next } = fired;
    if flows > 0 {
        tracing::debug!(what, flows, runs, "something was due");
    }
    Found { some: flows > 0, more: false, next }
}

/// Watches deadlines until shutdown. Any number of processes may: each is told of once.
pub async fn watch_deadlines(store: Store, shutdown: Shutdown) -> anyhow::Result<()> {
    let look = || async {
        let Looked { deadlines, more, signals, next } = store.look_at_deadlines().await?;
        if signals > 0 {
            tracing::info!(deadlines, signals, "deadlines are at risk, missed or over");
        }
        Ok(Found { some: deadlines > 0, more, next })
    };
    follow(&store, &[DEADLINES], "cannot look at deadlines, trying again", BREATH, look, &shutdown).await;
    Ok(())
}

/// Looks when it is time, or when a notification says that it may be.
async fn follow<F: Future<Output = Result<Found>>>(
    store: &Store,
    channels: &[&str],
    problem: &'static str,
    breath: Duration,
    look: impl Fn() -> F,
    shutdown: &Shutdown,
) {
    let mut listener = Listener::start(store.pool(), channels);
    loop {
        let mut rested = Instant::now() + breath;
        let wait = match look().await {
            Ok(Found { some, more, next }) => {
                if more {
                    rested = Instant::now();
                }
                let next = next.map_or(LONGEST, |next| Duration::try_from(next).unwrap_or_default()).min(LONGEST);
                // What is due and was not looked at is somebody else's for the moment.
                if some { next } else { next.max(BUSY) }
            }
            Err(error) => {
                tracing::warn!(%error, problem);
                PAUSE
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            Event::Connected | Event::Notified { .. } = listener.next() => {}
            () = shutdown.wait() => return,
        }
        tokio::select! {
            () = sleep_until(rested) => {}
            () = shutdown.wait() => return,
        }
        // What comes now reads everything that was notified until then.
        listener.catch_up();
    }
}
