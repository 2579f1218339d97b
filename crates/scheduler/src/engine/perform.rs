//! One attempt, from its launch to the report of what became of it.

use std::{sync::Arc, time::Duration};

use rand::RngExt as _;
use tokio_util::sync::CancellationToken;

use super::{
    Engine, retry,
    work::{self, Given, Prepared},
};
use crate::{
    exec::{Attempt, Begin, End, Ended, Failure},
    plan::Planned,
    store::{Launch, Report, RunInfo},
};

impl Engine {
    /// Carries an attempt out.
    pub(super) async fn perform(
        self: Arc<Self>,
        launch: Launch,
        run: Arc<RunInfo>,
        begin: Begin,
        cancel: CancellationToken,
    ) -> Report {
        let planned = &run.plan.tasks[launch.key.task as usize];
        let given = self.insist("read what it asks for", || Given::read(&self.store, &run, planned)).await;
        let prepared = match given {
            Ok(given) => work::prepare(&launch, &run, given),
            Err(error) => {
                return report(&launch, planned, Ended::hopeless(format!("read what it asks for: {error}")));
            }
        };
        let work = match prepared {
            Prepared::Done(outcome) => return Report::new(launch.token, outcome),
            Prepared::Work(work) => work,
        };
        let attempt = work::attempt(&launch, &run);
        if planned.is_timed
            && let Err(error) = self.insist("count a deadline", || self.store.task_has_begun(&run, &launch)).await
        {
            tracing::error!(%error, attempt = attempt.name, "a deadline that counts from here does not");
        }
        let limit = planned.task.timeout.execution.map(Duration::from);
        let stop = cancel.child_token();
        // What was ended for this is not to be begun again.
        let late = limit.filter(|limit| attempt.age() >= *limit && !cancel.is_cancelled());
        if late.is_some() {
            stop.cancel();
        }
        let performed = self.executors.run(&attempt, &work, run.values.logical_date, begin, &stop);
        tokio::pin!(performed);
        let ended = if let Some(limit) = late {
            too_long(performed.await, limit)
        } else {
            tokio::select! {
                ended = &mut performed => ended,
                limit = expired(&attempt, limit) => {
                    stop.cancel();
                    too_long(performed.await, limit)
                }
            }
        };
        report(&launch, planned, ended)
    }
}

/// What is reported of an attempt that has ended.
fn report(launch: &Launch, planned: &Planned, ended: Ended) -> Report {
    let Ended { end, log } = ended;
    let outcome = retry::outcome(end, planned, launch.attempt, launch.retries, rand::rng().random());
    Report { token: launch.token, outcome, log }
}

/// Ends when an attempt has gone on for as long as it may, counted from its launch, whoever looked after it.
async fn expired(attempt: &Attempt, limit: Option<Duration>) -> Duration {
    let Some(limit) = limit else { return std::future::pending().await };
    tokio::time::sleep(limit.saturating_sub(attempt.age())).await;
    limit
}

/// What it was told to end for is what it has failed for; what it has done all the same is done.
fn too_long(ended: Ended, limit: Duration) -> Ended {
    let end = match ended.end {
        done @ End::Succeeded(_) => done,
        End::Failed(_) | End::Interrupted(_) | End::Cancelled => End::Failed(Failure {
            message: format!("took longer than its execution timeout of {limit:?}"),
            code: "TIMEOUT".to_owned(),
            ..Failure::default()
        }),
    };
    Ended { end, ..ended }
}
