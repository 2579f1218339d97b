//! What is tried again, and how often.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder, Retryable as _};
use millrace_aws::{Error, Result};

/// How often a call is tried again beyond the SDK's own tries: about half a minute.
const TRIES: usize = 8;
/// The longest pause before that.
const PAUSE: Duration = Duration::from_secs(5);

fn backoff() -> ExponentialBuilder {
    let first = Duration::from_millis(200);
    ExponentialBuilder::new().with_min_delay(first).with_max_delay(PAUSE).with_max_times(TRIES).with_jitter()
}

/// The pauses between the tries of what goes on where it broke off.
pub(super) fn pauses() -> ExponentialBackoff {
    backoff().build()
}

/// Does again what may succeed later.
pub(super) async fn again<T, F: Future<Output = Result<T>>>(work: impl FnMut() -> F) -> Result<T> {
    work.retry(backoff()).when(Error::is_retriable).notify(|error, _| tracing::warn!(%error, "trying again")).await
}
