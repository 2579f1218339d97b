//! librdkafka's log, through `tracing`: an outage is a few lines and not a flood.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
};
use tracing::{debug, error, info, warn};

/// A kind of line is written once in this time; the others are counted.
const INTERVAL: Duration = Duration::from_secs(10);

/// What was written when, by kind of line.
#[derive(Default)]
pub(super) struct Logs(Mutex<HashMap<String, Written>>);

struct Written {
    last: Instant,
    suppressed: u32,
}

impl Logs {
    /// A line of librdkafka's. Its warnings are about what it retries by itself; they are information to us.
    pub(super) fn write(&self, client: &str, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // Settings of consumers given to producers and the other way round: `--kafka-set` is for both.
        if facility == "CONFWARN" {
            return;
        }
        let message = strip_thread(message);
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                error!(client, facility, message, "librdkafka");
            }
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
                if let Some(suppressed) = self.admit(facility) {
                    warn!(client, facility, message, suppressed, "librdkafka");
                }
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                if let Some(suppressed) = self.admit(facility) {
                    info!(client, facility, message, suppressed, "librdkafka");
                }
            }
            RDKafkaLogLevel::Debug => debug!(client, facility, message, "librdkafka"),
        }
    }

    /// An error of the whole client. Those that it recovers from by itself are warnings.
    pub(super) fn error(&self, client: &str, source: &KafkaError, reason: &str) {
        // The end of a partition, which some clients ask to be told, is no error.
        if source.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        let kind = source.rdkafka_error_code().map_or_else(|| "error".to_owned(), |code| format!("{code:?}"));
        if let Some(suppressed) = self.admit(&kind) {
            warn!(client, error = kind, reason = strip_thread(reason), suppressed, "Kafka client error");
        }
    }

    /// Whether a line of that kind is due, and how many were left out since the last.
    fn admit(&self, kind: &str) -> Option<u32> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match kinds.get_mut(kind) {
            Some(written) if now.duration_since(written.last) < INTERVAL => {
                written.suppressed += 1;
                None
            }
            Some(written) => {
                written.last = now;
                Some(std::mem::take(&mut written.suppressed))
            }
            None => {
                kinds.insert(kind.to_owned(), Written { last: now, suppressed: 0 });
                Some(0)
            }
        }
    }
}

/// librdkafka begins its lines with the name of the thread: `[thrd:main]: `.
fn strip_thread(message: &str) -> &str {
    match message.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: ")) {
        Some((_, rest)) => rest,
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line() {
        let logs = Logs::default();
        let written = (0..1000).filter(|_| logs.admit("FAIL").is_some()).count();
        assert_eq!(written, 1);
        assert_eq!(logs.admit("other"), Some(0));
    }

    #[test]
    fn the_thread_is_left_out() {
        assert_eq!(strip_thread("[thrd:localhost:1/bootstrap]: Connect failed"), "Connect failed");
        assert_eq!(strip_thread("plain"), "plain");
    }
}
