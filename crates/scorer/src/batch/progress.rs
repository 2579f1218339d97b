//! How far it is: on a terminal a bar, elsewhere a line in the log now and then; and the metrics.

use std::{
    convert::Infallible,
    io::{IsTerminal as _, stderr},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{interval, sleep};

use super::item::Item;
use crate::metrics::BatchMetrics;

/// How often the bar moves.
const BAR: Duration = Duration::from_millis(200);
/// How often the log says it.
const LINE: Duration = Duration::from_secs(10);

/// What was done so far.
pub(super) struct Progress {
    metrics: BatchMetrics,
    began: Instant,
    /// All there is to do.
    objects: u64,
    bytes: u64,
    records_done: AtomicU64,
    objects_done: AtomicU64,
    objects_failed: AtomicU64,
    bytes_done: AtomicU64,
}

impl Progress {
    pub(super) fn new(metrics: BatchMetrics, items: &[Item]) -> Self {
        Self {
            metrics,
            began: Instant::now(),
            objects: items.len() as u64,
            bytes: items.iter().map(Item::size).sum(),
            records_done: AtomicU64::new(0),
            objects_done: AtomicU64::new(0),
            objects_failed: AtomicU64::new(0),
            bytes_done: AtomicU64::new(0),
        }
    }

    /// Records have scores, that took a worker that long.
    pub(super) fn scored(&self, records: u64, time: Duration) {
        self.records_done.fetch_add(records, Relaxed);
        self.metrics.scored(records, time);
    }

    /// The scores of so many bytes were written.
    pub(super) fn read(&self, bytes: u64) {
        self.bytes_done.fetch_add(bytes, Relaxed);
        self.metrics.read(bytes);
    }

    /// An object is done.
    pub(super) fn done(&self) {
        self.objects_done.fetch_add(1, Relaxed);
        self.metrics.done();
    }

    /// An object has no scores.
    pub(super) fn failed(&self, error: &'static str) {
        self.objects_failed.fetch_add(1, Relaxed);
        self.metrics.failed(error);
    }

    /// Shows it until it is dropped.
    pub(super) async fn show(&self) -> Infallible {
        if stderr().is_terminal() { self.bar().await } else { self.lines().await }
    }

    async fn bar(&self) -> Infallible {
        let style = ProgressStyle::with_template("{wide_bar} {percent}% {msg} eta {eta}")
            .expect("the template here is a constant");
        let bar = Cleared(ProgressBar::new(self.bytes).with_style(style));
        let mut ticks = interval(BAR);
        loop {
            ticks.tick().await;
            let records = self.records_done.load(Relaxed);
            let (done, failed) = (self.objects_done.load(Relaxed), self.objects_failed.load(Relaxed));
            bar.0.set_position(self.bytes_done.load(Relaxed));
            let rate = records as f64 / self.began.elapsed().as_secs_f64().max(1e-9);
            bar.0.set_message(format!(
                "{records} records, {done} of {} objects, {failed} failed, {rate:.0}/s",
                self.objects
            ));
        }
    }

    async fn lines(&self) -> Infallible {
        loop {
            sleep(LINE).await;
            tracing::info!(
                records = self.records_done.load(Relaxed),
                objects = self.objects_done.load(Relaxed),
                failed = self.objects_failed.load(Relaxed),
                of_objects = self.objects,
                bytes = self.bytes_done.load(Relaxed),
                of_bytes = self.bytes,
                "scoring"
            );
        }
    }
}

/// A bar that is gone when nobody moves it any more.
struct Cleared(ProgressBar);

impl Drop for Cleared {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
