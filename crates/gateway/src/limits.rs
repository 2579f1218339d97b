//! What the gateway takes at most. Each bound is named in the answer that it causes.

use std::time::Duration;

use millrace_core::Span;

const MIB: usize = 1 << 20;

/// Bounds on what clients send and on what is under way at once.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// Bytes of a request's body as sent, and of a gRPC message.
    #[arg(long, env = "MILLRACE_MAX_BODY_BYTES", default_value_t = 8 * MIB)]
    pub max_body_bytes: usize,
    /// Bytes of a request's body after decompression.
    #[arg(long, env = "MILLRACE_MAX_DECOMPRESSED_BYTES", default_value_t = 32 * MIB)]
    pub max_decompressed_bytes: usize,
    /// Events of one request.
    #[arg(long, env = "MILLRACE_MAX_BATCH_EVENTS", default_value_t = 10_000)]
    pub max_batch_events: usize,
    /// Bytes of one event, as sent and as encoded. Below the brokers' message.max.bytes, of which headers take a part.
    #[arg(long, env = "MILLRACE_MAX_EVENT_BYTES", default_value_t = 900 << 10)]
    pub max_event_bytes: usize,
    /// Requests under way at once, over all keys; what comes on top is shed with 503.
    #[arg(long, env = "MILLRACE_MAX_REQUESTS", default_value_t = 1024)]
    pub max_requests: usize,
    /// Bytes of bodies under way at once, over all keys; what comes on top is shed with 503.
    #[arg(long, env = "MILLRACE_MAX_BUFFERED_BYTES", default_value_t = 64 * MIB)]
    pub max_buffered_bytes: usize,
    /// Requests and streams under way at once for one API key; what comes on top gets 429.
    #[arg(long, env = "MILLRACE_KEY_MAX_REQUESTS", default_value_t = 128)]
    pub key_max_requests: usize,
    /// Events per second for one API key, in the mean; bursts of one second or one largest batch. 0: no such limit.
    #[arg(long, env = "MILLRACE_KEY_EVENTS_PER_SECOND", default_value_t = 0)]
    pub key_events_per_second: u32,
    /// Batches under way at once in one PublishStream; the stream is not read while so many are.
    #[arg(long, env = "MILLRACE_STREAM_WINDOW", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub stream_window: u16,
    /// How long a request waits for the brokers' acknowledgement before its events are answered as unknown.
    #[arg(long, env = "MILLRACE_PUBLISH_TIMEOUT", default_value = "10s")]
    pub publish_timeout: Span,
    /// How long a client may take to send a body.
    #[arg(long, env = "MILLRACE_BODY_TIMEOUT", default_value = "30s")]
    pub body_timeout: Span,
}

/// What the flags default to.
impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body_bytes: 8 * MIB,
            max_decompressed_bytes: 32 * MIB,
            max_batch_events: 10_000,
            max_event_bytes: 900 << 10,
            max_requests: 1024,
            max_buffered_bytes: 64 * MIB,
            key_max_requests: 128,
            key_events_per_second: 0,
            stream_window: 8,
            publish_timeout: Span::seconds(10),
            body_timeout: Span::seconds(30),
        }
    }
}

impl Limits {
    /// See [`publish_timeout`](Self::publish_timeout).
    pub(crate) fn publish_timeout(&self) -> Duration {
        self.publish_timeout.into()
    }

    /// Refuses a batch that has too many events.
    pub(crate) fn check_batch(&self, events: usize) -> Result<(), crate::Error> {
        if events > self.max_batch_events {
            return Err(crate::Error::TooLarge { what: "a batch", limit: self.max_batch_events, unit: "events" });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        limits: Limits,
    }

    #[test]
    fn the_default_is_what_the_flags_default_to() {
        let flags = Command::parse_from(["gateway"]).limits;
        assert_eq!(format!("{flags:?}"), format!("{:?}", Limits::default()));
    }
}
