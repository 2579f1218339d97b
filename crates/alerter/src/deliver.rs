//! The loop that sends what the log says, receiver by receiver.
//!
//! ```text
//! claim (SKIP LOCKED, until a lease ends) -> sign -> POST -> outcome: delivered, retry at, failed, disabled
//!    ^                                                          |
//!    +-- LISTEN, the next retry, every few seconds <------------+
//! ```
//!
//! An attempt that nobody finished (the process was killed) counts as lost when its lease ends, and is made again under
//! the same id. A receiver that is slow holds up nobody but itself.

pub(crate) mod guard;
mod log;
pub(crate) mod schedule;
mod webhook;

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use millrace_postgres::Pool;
use millrace_runtime::Shutdown;
use tokio::sync::Notify;

use self::log::{Claimed, Log};
pub(crate) use self::webhook::Client;
use crate::{metrics::DeliveryMetrics, receivers::Receiver};

/// Told in Postgres when there is something to deliver.
pub(crate) const SEND: &str = "millrace_alerter_send";

/// Attempts that are under way at a time, for each receiver.
const AT_ONCE: usize = 8;
/// How often the log is read when nobody says that there is something.
const POLL: Duration = Duration::from_secs(5);
/// The pause after a failure of Postgres.
const PAUSE: Duration = Duration::from_secs(1);
/// An attempt counts as lost this long after its time ran out.
const GRACE: Duration = Duration::from_secs(15);

/// How deliveries are made.
#[derive(Clone)]
pub(crate) struct Settings {
    /// The pauses between attempts; one attempt more than there are pauses.
    pub(crate) pauses: Arc<[Duration]>,
    /// How long an attempt may take.
    pub(crate) timeout: Duration,
}

impl Settings {
    fn lease(&self) -> Duration {
        self.timeout + GRACE
    }
}

/// Delivers to one receiver.
pub(crate) struct Courier {
    log: Log,
    client: Client,
    receiver: Receiver,
    settings: Settings,
    metrics: DeliveryMetrics,
}

impl Courier {
    pub(crate) fn new(
        pool: Pool,
        client: Client,
        receiver: Receiver,
        settings: Settings,
        metrics: DeliveryMetrics,
    ) -> Self {
        Self { log: Log::new(pool, receiver.name.clone()), client, receiver, settings, metrics }
    }

    /// Delivers until the shutdown; attempts that have begun are finished. `bell` is rung when there is something to
    /// deliver.
    pub(crate) async fn run(self, bell: Arc<Notify>, shutdown: Shutdown) -> anyhow::Result<()> {
        let mut known = None;
        while !shutdown.is_triggered() {
            let pause = match self.round(&mut known).await {
                Ok(pause) => pause,
                Err(error) => {
                    let receiver = &self.receiver.name;
                    tracing::warn!(receiver, %error, "cannot read the log of notifications, trying again");
                    PAUSE
                }
            };
            tokio::select! {
                () = shutdown.wait() => {}
                () = bell.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        Ok(())
    }

    /// Delivers all that is due, and returns how long nothing else is.
    async fn round(&self, known: &mut Option<String>) -> Result<Duration, millrace_postgres::Error> {
        let address = self.receiver.fingerprint();
        if known.as_ref() != Some(&address) {
            // A new address is a new beginning for a receiver that was gone.
            self.log.enrol(&address).await?;
            *known = Some(address.clone());
        }
        let claimed = self.log.claim(AT_ONCE, self.settings.lease()).await?;
        let more = claimed.len() == AT_ONCE;
        let address = &address;
        stream::iter(claimed).for_each_concurrent(None, async |it| self.deliver(it, address).await).await;
        let (pending, next) = self.log.pending().await?;
        self.metrics.pending(&self.receiver.name, pending);
        let next = next.map_or(POLL, |next| next.clamp(Duration::from_millis(10), POLL));
        Ok(if more { Duration::ZERO } else { next })
    }

    async fn deliver(&self, claimed: Claimed, address: &str) {
        let name = &self.receiver.name;
        let attempt = self.client.post(&self.receiver, &claimed.id, &claimed.payload, self.settings.timeout).await;
        let next = schedule::next(&attempt.answer, claimed.attempt, &self.settings.pauses);
        self.metrics.attempted(name, next.outcome(), attempt.took);
        match next {
            schedule::Next::Delivered => self.metrics.delivered(name, claimed.age + attempt.took.as_secs_f64()),
            schedule::Next::Retry(pause) => tracing::warn!(
                receiver = name,
                notification = claimed.id,
                attempt = claimed.attempt,
                error = attempt.error,
                ?pause,
                "webhook not taken, trying again"
            ),
            schedule::Next::Failed => tracing::error!(
                receiver = name,
                notification = claimed.id,
                attempt = claimed.attempt,
                error = attempt.error,
                "webhook not taken, given up"
            ),
            schedule::Next::Disabled => {
                tracing::error!(receiver = name, "receiver is gone (410): disabled until its address changes");
            }
        }
        // Without a record the attempt is made again when its lease ends, under the same id.
        while let Err(error) = self.log.record(&claimed, &attempt, next, address).await {
            tracing::warn!(receiver = name, notification = claimed.id, %error, "cannot record an attempt, trying again");
            if !error.is_retriable() || attempt.began.elapsed() > self.settings.lease() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
