//! What became of the events: counts, a progress bar, a file of failures.

use std::{
    fmt,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use millrace_proto::gateway::v1::{Event, EventResult, EventStatus, event::Payload};
use serde::Serialize;

use super::input::Batch;

/// The file of failures.
pub(super) type Failures = BufWriter<File>;

/// Opens the file of failures; an old one is replaced.
pub(super) fn failures(path: &Path) -> anyhow::Result<Failures> {
    Ok(BufWriter::new(File::create(path).with_context(|| format!("create {}", path.display()))?))
}

/// One event that was not accepted.
#[derive(Serialize)]
struct Failure<'a> {
    /// Its number in the input, from 0.
    index: u64,
    event_id: &'a str,
    correlation_id: &'a str,
    code: &'a str,
    path: &'a str,
    message: &'a str,
    /// The event, where it is JSON: mend it and publish this file's events again.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<serde_json::Value>,
}

/// What became of all events.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Summary {
    pub sent: u64,
    pub accepted: u64,
    pub rejected: u64,
    pub seconds: f64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, accepted, rejected, seconds } = self;
        let rate = *accepted as f64 / seconds.max(1e-9);
        write!(f, "{sent} sent, {accepted} accepted, {rejected} rejected in {seconds:.1} s ({rate:.0} events/s)")
    }
}

/// Counts as answers come.
pub(super) struct Tally {
    accepted: u64,
    rejected: u64,
    failures: Option<Failures>,
    bar: ProgressBar,
    bar_counts_bytes: bool,
    start: Instant,
}

impl Tally {
    pub(super) fn new(bytes: Option<u64>, failures: Option<Failures>, show: bool) -> Self {
        let bar = match (show, bytes) {
            (false, _) => ProgressBar::hidden(),
            (true, Some(bytes)) => ProgressBar::new(bytes).with_style(style("{wide_bar} {percent}% {msg} eta {eta}")),
            (true, None) => ProgressBar::new_spinner().with_style(style("{spinner} {msg}")),
        };
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { accepted: 0, rejected: 0, failures, bar, bar_counts_bytes: bytes.is_some(), start: Instant::now() }
    }

    /// How many events have an answer for good.
    pub(super) fn settled(&self) -> u64 {
        self.accepted + self.rejected
    }

    /// Counts one event's answer.
    pub(super) fn settle(&mut self, index: u64, event: &Event, result: &EventResult) -> anyhow::Result<()> {
        if result.status == EventStatus::Accepted as i32 {
            self.accepted += 1;
            return Ok(());
        }
        self.rejected += 1;
        if self.rejected <= 3 {
            let EventResult { code, path, message, .. } = result;
            self.remark(&format!("event {index} was rejected: {code} {path} {message}"));
        }
        self.fail(index, event, result)
    }

    fn fail(&mut self, index: u64, event: &Event, result: &EventResult) -> anyhow::Result<()> {
        let Some(failures) = &mut self.failures else { return Ok(()) };
        let event = match &event.payload {
            Some(Payload::Json(json)) => serde_json::from_slice(json).ok(),
            _ => None,
        };
        let EventResult { event_id, correlation_id, code, path, message, .. } = result;
        serde_json::to_writer(
            &mut *failures,
            &Failure { index, event_id, correlation_id, code, path, message, event },
        )?;
        failures.write_all(b"\n").context("write the file of failures")
    }

    /// Events that never got an answer are failures as well.
    pub(super) fn give_up<'a>(&mut self, pending: impl Iterator<Item = &'a Batch>) -> anyhow::Result<()> {
        let message = "no answer: the event may be there or not";
        let result =
            EventResult { code: "UNAVAILABLE".to_owned(), message: message.to_owned(), ..EventResult::default() };
        for batch in pending {
            for (i, event) in batch.events.iter().enumerate() {
                let result = EventResult { event_id: event.event_id.clone(), ..result.clone() };
                self.fail(batch.first + i as u64, event, &result)?;
            }
        }
        self.flush()
    }

    /// A sentence beside the progress bar.
    pub(super) fn remark(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    /// How far into the input everything is answered.
    pub(super) fn reached(&self, position: u64) {
        if self.bar_counts_bytes {
            self.bar.set_position(position);
        }
        let rate = self.accepted as f64 / self.start.elapsed().as_secs_f64().max(1e-9);
        self.bar.set_message(format!("{} accepted, {} rejected, {rate:.0}/s", self.accepted, self.rejected));
    }

    pub(super) fn finish(mut self) -> anyhow::Result<Summary> {
        self.bar.finish_and_clear();
        self.flush()?;
        let Self { accepted, rejected, start, .. } = self;
        Ok(Summary { sent: accepted + rejected, accepted, rejected, seconds: start.elapsed().as_secs_f64() })
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.failures.as_mut().map_or(Ok(()), |failures| failures.flush().context("write the file of failures"))
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates here are constants")
}
