//! Waits for something to be there. Nothing is begun, so another process just goes on waiting.

use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{End, Ended};
use crate::{document::WaitRun, store::Store};

/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Waits for a run of another DAG that has succeeded: of the same logical date, where none is said.
pub(super) async fn run(
    store: &Store,
    spec: &WaitRun,
    logical_at: Option<Timestamp>,
    cancel: &CancellationToken,
) -> Ended {
    let at = match spec.logical_date.as_deref().map(str::parse::<Timestamp>) {
        Some(Err(error)) => return Ended::hopeless(format!("wait.run.logicalDate: {error}")),
        Some(Ok(at)) => at,
        None => match logical_at {
            Some(at) => at,
            None => return Ended::hopeless("wait.run.logicalDate: this run has none, so it must be said"),
        },
    };
    let binding = spec.binding.as_deref().unwrap_or_default();
    loop {
        match store.has_succeeded(&spec.dag, binding, at).await {
            Ok(true) => return Ended::succeeded(None),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "cannot look for a run, trying again"),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = cancel.cancelled() => return Ended::new(End::Cancelled),
        }
    }
}
