//! Waits for a run of another DAG that has succeeded.

use std::time::Duration;

use jiff::Timestamp;

use crate::{document::WaitRun, exec::Ended, store::Store};

/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Of the same logical date, where none is said.
pub(super) async fn wait(store: &Store, spec: &WaitRun, logical_at: Option<Timestamp>) -> Ended {
    let at = match moment(spec, logical_at) {
        Ok(at) => at,
        Err(problem) => return Ended::hopeless(problem),
    };
    let binding = spec.binding.as_deref().unwrap_or_default();
    loop {
        match store.has_succeeded(&spec.dag, binding, at).await {
            Ok(true) => return Ended::succeeded(None),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "cannot look for a run, trying again"),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What there is in place of it.
pub(super) async fn unmet(store: &Store, spec: &WaitRun, logical_at: Option<Timestamp>) -> String {
    let at = match moment(spec, logical_at) {
        Ok(at) => at,
        Err(problem) => return problem,
    };
    let binding = spec.binding.as_deref().unwrap_or_default();
    let of = if binding.is_empty() { spec.dag.clone() } else { format!("{}/{binding}", spec.dag) };
    match store.newest_run_at(&spec.dag, binding, at).await {
        Ok(Some((run, state))) => format!("run {} of {of} at {at} is {}", run.0, state.as_str()),
        Ok(None) => format!("there is no run of {of} at {at}"),
        Err(error) => format!("a run of {of} at {at}: {error}"),
    }
}

fn moment(spec: &WaitRun, logical_at: Option<Timestamp>) -> Result<Timestamp, String> {
    match spec.logical_date.as_deref().map(str::parse::<Timestamp>) {
        Some(Err(error)) => Err(format!("wait.run.logicalDate: {error}")),
        Some(Ok(at)) => Ok(at),
        None => logical_at.ok_or_else(|| "wait.run.logicalDate: this run has none, so it must be said".to_owned()),
    }
}
