use std::{future::Future, net::SocketAddr, time::Duration};

use anyhow::Context as _;
use opentelemetry::metrics::Meter;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
    time::timeout,
};

use crate::{
    Ready, Shutdown, admin,
    readiness::Gates,
    supervise::{self, Ended},
    telemetry::Telemetry,
};

/// What [`crate::Args::start`] has prepared.
pub(crate) struct Parts {
    pub(crate) instance_id: String,
    pub(crate) telemetry: Telemetry,
    pub(crate) admin: admin::Server,
    pub(crate) gates: Gates,
    pub(crate) budget: Duration,
}

/// A running service: its tasks, its telemetry, its end.
pub struct Process {
    parts: Parts,
    shutdown: Shutdown,
    running: Ready,
    tasks: JoinSet<Ended>,
}

impl Process {
    pub(crate) fn new(parts: Parts) -> anyhow::Result<Self> {
        let shutdown = Shutdown::new();
        let running = parts.gates.add("running");
        let terminate = signal(SignalKind::terminate()).context("handle SIGTERM")?;
        let interrupt = signal(SignalKind::interrupt()).context("handle SIGINT")?;
        tokio::spawn(obey(terminate, interrupt, shutdown.clone(), parts.budget));
        Ok(Self { parts, shutdown, running, tasks: JoinSet::new() })
    }

    /// Makes instruments; what they measure shows on `/metrics` under the name that it is given. Histograms get their buckets from their unit: `s`, `By`, else counts.
    pub fn meter(&self) -> Meter {
        self.parts.telemetry.meter()
    }

    /// The request to stop, for what is not spawned here.
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// A new condition of `/readyz`, not met until it is set.
    pub fn readiness(&self, name: &'static str) -> Ready {
        self.parts.gates.add(name)
    }

    /// Runs a task until shutdown, after which it has `budget` to finish. It must not end before: that fails the process.
    pub fn spawn<Fut>(&mut self, name: impl Into<String>, budget: Duration, f: impl FnOnce(Shutdown) -> Fut + Send)
    where
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let task = tokio::spawn(f(self.shutdown.clone()));
        self.tasks.spawn(supervise::task(name.into(), budget, self.shutdown.clone(), task));
    }

    /// As [`Process::spawn`], for work that blocks: on a thread of its own, named so.
    pub fn spawn_thread(
        &mut self,
        name: impl Into<String>,
        budget: Duration,
        f: impl FnOnce(Shutdown) -> anyhow::Result<()> + Send + 'static,
    ) {
        let name = name.into();
        let work = supervise::thread(&name, self.shutdown.clone(), f);
        self.spawn(name, budget, move |_| work);
    }

    /// The name of this instance, stable over restarts.
    pub fn instance_id(&self) -> &str {
        &self.parts.instance_id
    }

    /// Where the admin server listens.
    pub fn admin_addr(&self) -> SocketAddr {
        self.parts.admin.addr()
    }

    /// Works until SIGTERM, SIGINT or the end of a task; then turns unready, drains, flushes. An error when a task failed, panicked,
    /// ended unasked or outlived its budget.
    pub async fn run_until_signal(mut self) -> anyhow::Result<()> {
        self.running.set(true);
        let mut failure = None;
        tokio::select! {
            () = self.shutdown.wait() => tracing::info!("draining"),
            Some(ended) = self.tasks.join_next() => note(ended, &mut failure),
        }
        self.stop(failure).await
    }

    /// Works until one job is done, whose result this is; then stops as above. A signal does not end the job: it learns of it
    /// from [`Process::shutdown`] and has the budget to come to an end of its own.
    pub async fn run_job<T>(self, job: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        self.running.set(true);
        let done = job.await;
        let stopped = self.stop(None).await;
        done.and_then(|done| stopped.map(|()| done))
    }

    async fn stop(mut self, mut failure: Option<anyhow::Error>) -> anyhow::Result<()> {
        self.running.set(false);
        self.shutdown.trigger();
        let drained = timeout(self.parts.budget, async {
            while let Some(ended) = self.tasks.join_next().await {
                note(ended, &mut failure);
            }
        });
        if drained.await.is_err() {
            failure.get_or_insert_with(|| anyhow::anyhow!("draining took longer than {:?}", self.parts.budget));
        }
        let Parts { telemetry, admin, .. } = self.parts;
        tracing::info!(clean = failure.is_none(), "stopped");
        admin.stop().await;
        telemetry.flush().await;
        failure.map_or(Ok(()), Err)
    }
}

/// Logs a task's failure and keeps the first one.
fn note(ended: Result<Ended, tokio::task::JoinError>, failure: &mut Option<anyhow::Error>) {
    let error = match ended {
        Ok(Ended { name, result: Ok(()) }) => return tracing::debug!(task = name, "task ended"),
        Ok(Ended { name, result: Err(error) }) => error.context(format!("task {name} failed")),
        Err(error) => anyhow::Error::new(error).context("supervise tasks"),
    };
    tracing::error!(error = format!("{error:#}"), "task failed, stopping");
    failure.get_or_insert(error);
}

/// The first signal asks for an orderly end; a second one, or a budget that is spent, ends the process where it stands.
async fn obey(mut terminate: Signal, mut interrupt: Signal, shutdown: Shutdown, budget: Duration) {
    /// So that an end in order, with all its reports, comes before this one.
    const GRACE: Duration = Duration::from_secs(2);
    let mut next = async || {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    };
    let signal = next().await;
    tracing::info!(signal, "asked to stop");
    shutdown.trigger();
    if let Ok(signal) = timeout(budget + GRACE, next()).await {
        tracing::error!(signal, "asked to stop a second time, leaving work undone");
    } else {
        tracing::error!(?budget, "could not stop within the budget, leaving work undone");
    }
    std::process::exit(1);
}
