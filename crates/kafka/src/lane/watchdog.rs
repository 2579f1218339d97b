//! Ends the process when a call of librdkafka does not return.
//!
//! librdkafka 5511 (2.10.0 to 2.12.1): `send_offsets_to_transaction` can hang for ever when the coordinator goes away.
//! There is no way back from it: the process ends, the broker aborts the transaction at its time-out, and the next
//! start reads the records again.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// What is being waited for, and until when.
struct Watched {
    armed: Option<(&'static str, Instant)>,
    stopped: bool,
}

type Shared = Arc<(Mutex<Watched>, Condvar)>;

/// Watches the calls of one lane. Its thread ends with it.
pub(super) struct Watchdog(Shared);

impl Watchdog {
    /// Begins to watch. `expired` is told the name of the call that did not return.
    pub(super) fn start(expired: impl FnOnce(&'static str) + Send + 'static) -> std::io::Result<Self> {
        let shared: Shared = Arc::new((Mutex::new(Watched { armed: None, stopped: false }), Condvar::new()));
        let watched = Arc::clone(&shared);
        thread::Builder::new().name("lane-watchdog".to_owned()).spawn(move || watch(&watched, expired))?;
        Ok(Self(shared))
    }

    /// Runs a call that must return in time.
    pub(super) fn guard<T>(&self, what: &'static str, limit: Duration, call: impl FnOnce() -> T) -> T {
        self.set(Some((what, Instant::now() + limit)));
        let result = call();
        self.set(None);
        result
    }

    fn set(&self, armed: Option<(&'static str, Instant)>) {
        lock(&self.0).armed = armed;
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        lock(&self.0).stopped = true;
        self.0.1.notify_all();
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, Watched> {
    shared.0.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch(shared: &Shared, expired: impl FnOnce(&'static str)) {
    const INTERVAL: Duration = Duration::from_millis(250);
    let mut watched = lock(shared);
    while !watched.stopped {
        if let Some((what, deadline)) = watched.armed
            && deadline <= Instant::now()
        {
            drop(watched);
            return expired(what);
        }
        // Arming wakes nobody: it happens many times a second, and a late look is early enough.
        watched = shared.1.wait_timeout(watched, INTERVAL).unwrap_or_else(PoisonError::into_inner).0;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_call_that_hangs_is_named() {
        let (sender, receiver) = mpsc::channel();
        let dog = Watchdog::start(move |what| sender.send(what).unwrap()).unwrap();
        assert_eq!(dog.guard("quick", Duration::from_mins(1), || 7), 7);
        dog.guard("slow", Duration::from_millis(1), || {
            assert_eq!(receiver.recv_timeout(Duration::from_secs(10)), Ok("slow"));
        });
    }

    #[test]
    fn its_thread_ends_with_it() {
        let (sender, receiver) = mpsc::channel::<()>();
        drop(Watchdog::start(move |_| drop(sender)).unwrap());
        assert_eq!(receiver.recv_timeout(Duration::from_secs(10)), Err(mpsc::RecvTimeoutError::Disconnected));
    }
}
