//! All there is to do: threads that read and write, threads that score, and what came of it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use crossbeam_channel::bounded;
use millrace_aws::Objects;
use millrace_core::Pipeline;
use millrace_runtime::Shutdown;
use millrace_schema::{FieldPath, container::Limits};
use millrace_scoring::Bundle;
use serde::Serialize;
use tokio::runtime::Handle;

use super::{
    error::Error, find::Found, item::Item, location::Destination, object::Desk, progress::Progress, worker::Worker,
};

/// How objects of S3 are reached from threads.
pub(super) struct Storage {
    pub(super) objects: Objects,
    pub(super) runtime: Handle,
}

/// What is done with each object.
pub(super) struct Job {
    pub(super) pipeline: Pipeline,
    pub(super) bundle: Arc<Bundle>,
    /// The field of the events' own ids.
    pub(super) id: Option<FieldPath>,
    pub(super) to: Destination,
    pub(super) storage: Storage,
    pub(super) limits: Limits,
    /// Threads that score.
    pub(super) threads: usize,
    /// Objects that are open at once.
    pub(super) objects: usize,
}

/// A file of scores that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Output {
    /// Its key in the bucket; of a local file its path.
    pub key: String,
    /// Scores in it.
    pub rows: u64,
}

/// An input that has no scores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Which: an address or a path, and the part where it has several.
    pub input: String,
    /// What it is to a program.
    pub code: &'static str,
    /// What is wrong with it, and what to do.
    pub reason: String,
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The pipeline's name.
    pub pipeline: String,
    /// The model's name.
    pub model: String,
    /// The model's version.
    pub model_version: String,
    /// The bucket of the outputs; none where they are local files.
    pub bucket: Option<String>,
    /// Objects that are scored; of one that was divided, each part counts.
    pub objects: usize,
    /// Records that are scored.
    pub records: u64,
    /// Objects, or parts of them, that have no scores.
    pub failed: usize,
    /// Those that a signal has left undone.
    pub undone: usize,
    /// How long it took.
    pub seconds: f64,
    /// The files of scores, in the order of their inputs.
    pub outputs: Vec<Output>,
    /// Why those that failed did.
    pub failures: Vec<Failure>,
}

impl Job {
    /// Does all of it. It blocks: on threads of its own.
    pub(super) fn run(&self, found: Found, progress: &Progress, shutdown: &Shutdown) -> Summary {
        let began = Instant::now();
        let Found { items, failures, .. } = found;
        let results = Results::new(items, failures);
        let (sender, tasks) = bounded(self.threads);
        thread::scope(|scope| {
            for number in 0..self.threads {
                let tasks = tasks.clone();
                let worker = Worker::new(&self.pipeline, self.limits, progress);
                let name = format!("score {number}");
                let spawned = thread::Builder::new().name(name).spawn_scoped(scope, move || worker.run(&tasks));
                note(spawned.map(drop));
            }
            for number in 0..self.objects.min(results.items.len()) {
                let desk = Desk { job: self, tasks: sender.clone(), progress, shutdown };
                let (name, results) = (format!("object {number}"), &results);
                let spawned = thread::Builder::new().name(name).spawn_scoped(scope, move || results.work(&desk));
                note(spawned.map(drop));
            }
            // The workers end when nobody can give them anything any more.
            drop((sender, tasks));
        });
        self.summary(results, began)
    }

    fn summary(&self, results: Results, began: Instant) -> Summary {
        let Results { items, missing, done, failed, .. } = results;
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(number, _)| *number);
        let outputs: Vec<Output> = done.into_iter().map(|(_, output)| output).collect();
        let failures = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        Summary {
            pipeline: self.pipeline.name().to_owned(),
            model: self.bundle.name().to_owned(),
            model_version: self.bundle.version().to_owned(),
            bucket: match &self.to {
                Destination::S3 { bucket, .. } => Some(bucket.clone()),
                Destination::Folder(_) => None,
            },
            objects: outputs.len(),
            records: outputs.iter().map(|output| output.rows).sum(),
            failed: failures.len(),
            undone: items.len() + missing - outputs.len() - failures.len(),
            seconds: began.elapsed().as_secs_f64(),
            outputs,
            failures,
        }
    }
}

/// A thread that could not be started leaves its work to the others; without any, nothing is done.
fn note(spawned: std::io::Result<()>) {
    if let Err(error) = spawned {
        tracing::error!(%error, "could not start a thread");
    }
}

/// The items, and what came of those that were taken.
struct Results {
    items: Vec<Item>,
    /// What was asked for and is no item, since it is not there: failed already.
    missing: usize,
    next: AtomicUsize,
    done: Mutex<Vec<(usize, Output)>>,
    failed: Mutex<Vec<Failure>>,
}

impl Results {
    fn new(items: Vec<Item>, missing: Vec<Failure>) -> Self {
        let (next, done) = (AtomicUsize::new(0), Mutex::default());
        Self { items, missing: missing.len(), next, done, failed: Mutex::new(missing) }
    }

    /// Takes one after the other.
    fn work(&self, desk: &Desk<'_>) {
        while !desk.shutdown.is_triggered() {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = self.items.get(number) else { return };
            match desk.score(item) {
                Ok(output) => {
                    tracing::debug!(input = %item, output = output.key, rows = output.rows, "object scored");
                    desk.progress.done();
                    self.done.lock().unwrap_or_else(PoisonError::into_inner).push((number, output));
                }
                Err(Error::Stopped) => return,
                Err(error) => {
                    tracing::error!(input = %item, error = error.tag(), reason = %error, "object has no scores");
                    desk.progress.failed(error.tag());
                    let failure =
                        Failure { input: item.to_string(), code: error.code().as_str(), reason: error.to_string() };
                    self.failed.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
                }
            }
        }
    }
}
