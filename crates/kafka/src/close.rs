//! Ending clients that may hang while they end (rust-rdkafka 453 and 509, librdkafka 3143 and 4041).

use std::{sync::mpsc, thread, time::Duration};

/// Runs `end` on a thread of its own and waits for it at most `timeout`; whether it came to its end. A thread that
/// hangs is left behind: the process is about to exit.
pub(crate) fn within(timeout: Duration, what: &str, end: impl FnOnce() + Send + 'static) -> bool {
    let (sender, receiver) = mpsc::channel();
    let spawned = thread::Builder::new().name("kafka-close".to_owned()).spawn(move || {
        end();
        sender.send(()).ok();
    });
    let ended = spawned.is_ok() && receiver.recv_timeout(timeout).is_ok();
    if !ended {
        tracing::warn!(what, ?timeout, "Kafka client did not close in time and is left behind");
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_left_behind() {
        assert!(within(Duration::from_secs(5), "test", || {}));
        assert!(!within(Duration::from_millis(10), "test", || thread::sleep(Duration::from_secs(1))));
    }
}
