//! Waits for a run of another DAG that has succeeded.

use jiff::Timestamp;

use super::looks::{Looks, PACE};
use crate::{
    document::WaitRun,
    exec::{End, Ended},
    store::{Store, named},
};

/// A DAG, its binding, and the moment that the run is about.
type Spot = (String, String, Timestamp);

/// Runs that others wait for.
#[derive(Clone)]
pub(super) struct Runs(Looks<Spot, bool>);

impl Runs {
    pub(super) fn new(store: Store) -> Self {
        Self(Looks::new(PACE, move |(dag, binding, at): Spot| {
            let store = store.clone();
            async move {
                store.has_succeeded(&dag, &binding, at).await.unwrap_or_else(|error| {
                    tracing::warn!(%error, "cannot look for a run, trying again");
                    false
                })
            }
        }))
    }

    /// Of the same logical date, where none is said.
    pub(super) async fn wait(&self, spec: &WaitRun, logical_at: Option<Timestamp>) -> Ended {
        let at = match moment(spec, logical_at) {
            Ok(at) => at,
            Err(problem) => return Ended::hopeless(problem),
        };
        let mut watched = self.0.watch((spec.dag.clone(), spec.binding.clone().unwrap_or_default(), at));
        while let Some(there) = watched.next().await {
            if there {
                return Ended::succeeded(None);
            }
        }
        Ended::new(End::Interrupted("nobody looks for the run any more".to_owned()))
    }
}

/// What there is in place of it.
pub(super) async fn unmet(store: &Store, spec: &WaitRun, logical_at: Option<Timestamp>) -> String {
    let at = match moment(spec, logical_at) {
        Ok(at) => at,
        Err(problem) => return problem,
    };
    let binding = spec.binding.as_deref().unwrap_or_default();
    let of = named(&spec.dag, binding);
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
