//! Who may have how much under way: bounds on requests and bytes of the whole gateway, on requests and rate of a key.
//!
//! What is over a bound is refused at once. Nothing queues here: a queue in front of a full house only adds to the wait.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter, clock::Clock};
use moka::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Error, Limits, Result, keys::KeyId};

/// Keys whose allowances are remembered at once.
const MAX_KEYS: u64 = 100_000;
/// A key that was silent for this long has its whole burst back anyway.
const FORGET_KEY_AFTER: Duration = Duration::from_mins(10);
/// The unit in which bytes are counted: a semaphore counts to 2^29 at least.
const PAGE: usize = 1024;

/// The doors.
pub(crate) struct Admission {
    limits: Arc<Limits>,
    requests: Arc<Semaphore>,
    pages: Arc<Semaphore>,
    keys: Cache<KeyId, Arc<Allowance>>,
}

/// What one key may have.
struct Allowance {
    requests: Arc<Semaphore>,
    events: Option<DefaultDirectRateLimiter>,
}

/// A request is under way until this is dropped.
#[derive(Debug)]
pub(crate) struct Pass {
    _whole: OwnedSemaphorePermit,
    _key: OwnedSemaphorePermit,
}

/// So many bytes are held until this is dropped.
#[derive(Debug)]
pub(crate) struct Held(OwnedSemaphorePermit);

impl Admission {
    /// With everything free.
    pub(crate) fn new(limits: Arc<Limits>) -> Self {
        Self {
            requests: Arc::new(Semaphore::new(limits.max_requests)),
            pages: Arc::new(Semaphore::new(limits.max_buffered_bytes.div_ceil(PAGE))),
            keys: Cache::builder().max_capacity(MAX_KEYS).time_to_idle(FORGET_KEY_AFTER).build(),
            limits,
        }
    }

    /// Begins a request.
    pub(crate) fn enter(&self, key: KeyId) -> Result<Pass> {
        let limit = self.limits.key_max_requests;
        let of_key = Arc::clone(&self.allowance(key).requests).try_acquire_owned();
        let of_key = of_key.map_err(|_| Error::RateLimited {
            limit,
            unit: "requests at once",
            retry_after: crate::error::RETRY_AFTER,
        })?;
        let whole = Arc::clone(&self.requests).try_acquire_owned();
        let whole =
            whole.map_err(|_| Error::Overloaded { limit: self.limits.max_requests, unit: "requests at once" })?;
        Ok(Pass { _whole: whole, _key: of_key })
    }

    /// Takes so many events off the key's rate.
    pub(crate) fn spend(&self, key: KeyId, events: usize) -> Result<()> {
        match self.wait_for(key, events) {
            None => Ok(()),
            Some(retry_after) => Err(Error::RateLimited {
                limit: self.limits.key_events_per_second as usize,
                unit: "events per second",
                retry_after,
            }),
        }
    }

    /// The same for a stream, which is not read on until the rate allows it.
    pub(crate) async fn spend_slowly(&self, key: KeyId, events: usize) {
        while let Some(wait) = self.wait_for(key, events) {
            tokio::time::sleep(wait).await;
        }
    }

    /// `None`: spent. Else nothing was, and it may be so far from now.
    fn wait_for(&self, key: KeyId, events: usize) -> Option<Duration> {
        let allowance = self.allowance(key);
        let limiter = allowance.events.as_ref()?;
        let events = NonZeroU32::new(u32::try_from(events).unwrap_or(u32::MAX))?;
        match limiter.check_n(events) {
            Ok(Ok(())) | Err(_) => None, // the burst is never smaller than the largest batch
            Ok(Err(not_until)) => Some(not_until.wait_time_from(limiter.clock().now())),
        }
    }

    /// Holds a body of so many bytes.
    pub(crate) fn hold(&self, bytes: usize) -> Result<Held> {
        let pages = u32::try_from(bytes.div_ceil(PAGE)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.pages).try_acquire_many_owned(pages);
        permit.map(Held).map_err(|_| self.overfull())
    }

    /// Lets a body grow to so many bytes.
    pub(crate) fn grow(&self, held: &mut Held, bytes: usize) -> Result<()> {
        let more = bytes.div_ceil(PAGE).saturating_sub(held.0.num_permits());
        if more > 0 {
            held.0.merge(self.hold(more * PAGE)?.0);
        }
        Ok(())
    }

    fn overfull(&self) -> Error {
        Error::Overloaded { limit: self.limits.max_buffered_bytes, unit: "bytes of bodies at once" }
    }

    fn allowance(&self, key: KeyId) -> Arc<Allowance> {
        self.keys.get_with(key, || Arc::new(Allowance::new(&self.limits)))
    }
}

impl Allowance {
    fn new(limits: &Limits) -> Self {
        let largest = u32::try_from(limits.max_batch_events).unwrap_or(u32::MAX);
        let events = NonZeroU32::new(limits.key_events_per_second).map(|rate| {
            let burst = rate.max(NonZeroU32::new(largest).unwrap_or(NonZeroU32::MIN));
            RateLimiter::direct(Quota::per_second(rate).allow_burst(burst))
        });
        Self { requests: Arc::new(Semaphore::new(limits.key_max_requests)), events }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Token;

    fn admission(limits: Limits) -> Admission {
        Admission::new(Arc::new(limits))
    }

    #[test]
    fn a_key_has_its_own_bound_and_all_have_one_together() {
        let doors = admission(Limits { key_max_requests: 2, max_requests: 3, ..Limits::default() });
        let (one, other) = (Token::mint().id, Token::mint().id);
        let first = doors.enter(one).unwrap();
        let _second = doors.enter(one).unwrap();
        assert!(matches!(doors.enter(one), Err(Error::RateLimited { limit: 2, .. })));
        let _third = doors.enter(other).unwrap();
        assert!(matches!(doors.enter(other), Err(Error::Overloaded { limit: 3, .. })));
        drop(first);
        doors.enter(other).unwrap();
    }

    #[test]
    fn a_rate_allows_a_burst_of_one_largest_batch_and_says_when_it_goes_on() {
        let doors = admission(Limits { key_events_per_second: 10, max_batch_events: 100, ..Limits::default() });
        let key = Token::mint().id;
        doors.spend(key, 100).unwrap();
        let Err(Error::RateLimited { retry_after, limit: 10, .. }) = doors.spend(key, 20) else { panic!() };
        assert!(retry_after > Duration::from_secs(1) && retry_after <= Duration::from_secs(2), "{retry_after:?}");
        doors.spend(Token::mint().id, 100).unwrap();
    }

    #[test]
    fn held_bytes_are_given_back() {
        let doors = admission(Limits { max_buffered_bytes: 10 * PAGE, ..Limits::default() });
        let mut held = doors.hold(1).unwrap();
        doors.grow(&mut held, 9 * PAGE).unwrap();
        assert!(matches!(doors.hold(2 * PAGE), Err(Error::Overloaded { .. })));
        drop(held);
        doors.hold(10 * PAGE).unwrap();
    }
}
