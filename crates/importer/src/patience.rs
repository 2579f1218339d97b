//! Waiting for what is away. Nothing is given up for it: no record, and not the process.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use millrace_runtime::{Ready, Shutdown};

use crate::{
    error::{Error, Result},
    metrics::Metrics,
};

/// The first pause, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// How a feed shows that it waits, and what ends the waiting.
#[derive(Clone)]
pub(crate) struct Waiting {
    pub(crate) metrics: Metrics,
    pub(crate) ready: Ready,
    pub(crate) shutdown: Shutdown,
}

/// The tries of one thing.
pub(crate) struct Patience<'a> {
    waiting: &'a Waiting,
    what: &'static str,
    pauses: ExponentialBackoff,
    failed: u32,
}

impl Waiting {
    /// Before the first try of `what`.
    pub(crate) fn patience(&self, what: &'static str) -> Patience<'_> {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(PAUSES[0])
            .with_max_delay(PAUSES[1])
            .with_jitter()
            .without_max_times()
            .build();
        Patience { waiting: self, what, pauses, failed: 0 }
    }
}

impl Patience<'_> {
    /// After a failed try: false when shutdown has begun, an error when trying again cannot help.
    pub(crate) async fn after(&mut self, error: Error) -> Result<bool> {
        if !error.is_retriable() {
            return Err(error);
        }
        self.failed += 1;
        self.waiting.metrics.retry(error.tag());
        self.waiting.ready.set(false);
        let pause = self.pauses.next().unwrap_or(PAUSES[1]);
        let (what, tries) = (self.what, self.failed);
        if error.code().is_retriable() {
            tracing::warn!(what, tries, %error, "held back, trying again");
        } else {
            tracing::error!(what, tries, %error, "held back by an error that somebody must look at, trying again");
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(!self.waiting.shutdown.is_triggered()),
            () = self.waiting.shutdown.wait() => Ok(false),
        }
    }

    /// After the try that did it.
    pub(crate) fn done(self) {
        self.waiting.ready.set(true);
        if self.failed > 0 {
            self.waiting.metrics.goes_on();
            tracing::info!(what = self.what, tries = self.failed, "goes on");
        }
    }
}
