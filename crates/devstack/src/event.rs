//! What the stack tells whoever watches it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::Part;

/// One thing that happened, for a person to read.
#[derive(Clone, Debug)]
pub enum Event {
    /// What is not in the cache yet is fetched: Kafka and Postgres, or what stands in for AWS.
    Fetching(&'static str),
    /// It came.
    Fetched(&'static str, Duration),
    /// Processes that a crashed start had left were stopped.
    Swept,
    /// A part answers.
    Ready(Part, Duration),
    /// A part ended by itself. Told once for each reason in a row.
    Crashed {
        /// Which.
        part: Part,
        /// How it ended, and the last line that it logged.
        reason: String,
    },
    /// A part that had crashed answers again, after so many starts.
    Recovered(Part, u32),
    /// A step of whoever starts the stack.
    Note(String),
    /// The stack goes down.
    Stopping,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetching(what) => write!(f, "fetching {what} (once per user)"),
            Self::Fetched(what, took) => write!(f, "fetched {what} in {:.1} s", took.as_secs_f64()),
            Self::Swept => write!(f, "stopped what an earlier start had left behind"),
            Self::Ready(part, took) => write!(f, "{part} is ready after {:.1} s", took.as_secs_f64()),
            Self::Crashed { part, reason } => write!(f, "{part} crashed and is started again: {reason}"),
            Self::Recovered(part, starts) => write!(f, "{part} is back after {starts} starts"),
            Self::Note(text) => f.write_str(text),
            Self::Stopping => write!(f, "stopping"),
        }
    }
}

/// Where events go.
#[derive(Clone)]
pub struct Reporter(Arc<dyn Fn(Event) + Send + Sync>);

impl Reporter {
    /// Calls `f` for each event, from any task.
    pub fn new(f: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(f))
    }

    /// Tells of a step that is not the stack's own.
    pub fn say(&self, text: &str) {
        self.report(Event::Note(text.to_owned()));
    }

    pub(crate) fn report(&self, event: Event) {
        (self.0)(event);
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reporter")
    }
}

impl Default for Reporter {
    /// Into the log.
    fn default() -> Self {
        Self::new(|event| {
            if matches!(event, Event::Crashed { .. }) {
                tracing::warn!("{event}");
            } else {
                tracing::info!("{event}");
            }
        })
    }
}
