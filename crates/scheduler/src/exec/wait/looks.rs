//! Looks at things that others wait for: once for all who wait for the same, and never too often.
//!
//! ```text
//! watch(key) --+                                     +--> Watched::next
//! watch(key) --+--> one task a key: look, tell all, --+--> Watched::next
//!                   pause (1 s at first, later 10 s)      when the last is dropped, the task ends
//! ```

use std::{
    collections::HashMap,
    hash::Hash,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use rand::RngExt as _;
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;

/// How often things are looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How many looks of a kind there are at once.
    at_once: usize,
    /// How long each takes its place at least.
    least: Duration,
    /// The first pauses between two looks,
    first: Duration,
    /// how many of them there are,
    quick: i32,
    /// how much longer each is after that,
    factor: f64,
    /// and the longest.
    longest: Duration,
}

/// At most 160 looks in a second, however many things are waited for.
pub(super) const PACE: Pace = Pace {
    at_once: 16,
    least: Duration::from_millis(100),
    first: Duration::from_secs(1),
    quick: 10,
    factor: 1.25,
    longest: Duration::from_secs(10),
};

type Look<K, S> = dyn Fn(K) -> Pin<Box<dyn Future<Output = S> + Send>> + Send + Sync;

/// Looks of one kind. Cheap to clone.
pub(super) struct Looks<K: Hash + Eq, S>(Arc<Shared<K, S>>);

struct Shared<K: Hash + Eq, S> {
    look: Box<Look<K, S>>,
    pace: Pace,
    places: Semaphore,
    watched: Mutex<HashMap<K, Weak<Entry<K, S>>>>,
}

/// Something that is looked at, for as long as somebody holds this.
struct Entry<K: Hash + Eq, S> {
    key: K,
    seen: watch::Receiver<Option<Seen<S>>>,
    /// Somebody new wants a look of his own time.
    nudge: Arc<Notify>,
    shared: Weak<Shared<K, S>>,
    _task: AbortOnDropHandle<()>,
}

/// What a look saw.
#[derive(Clone, Debug)]
struct Seen<S> {
    /// When it began.
    at: Instant,
    what: S,
}

/// One who waits for what is seen.
pub(super) struct Watched<K: Hash + Eq, S> {
    seen: watch::Receiver<Option<Seen<S>>>,
    since: Instant,
    _entry: Arc<Entry<K, S>>,
}

impl<K: Hash + Eq, S> Clone for Looks<K, S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, S> Looks<K, S>
where
    K: Clone + Hash + Eq + Send + Sync + 'static,
    S: Clone + Send + Sync + 'static,
{
    /// Looks by calling that.
    pub(super) fn new<F>(pace: Pace, look: impl Fn(K) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = S> + Send + 'static,
    {
        let look = move |key| -> Pin<Box<dyn Future<Output = S> + Send>> { Box::pin(look(key)) };
        Self(Arc::new(Shared {
            look: Box::new(look),
            pace,
            places: Semaphore::new(pace.at_once),
            watched: Mutex::default(),
        }))
    }

    /// Looks once, now.
    pub(super) async fn once(&self, key: K) -> S {
        (self.0.look)(key).await
    }

    /// Looks again and again, together with all others who want the same.
    pub(super) fn watch(&self, key: K) -> Watched<K, S> {
        let since = Instant::now();
        let mut watched = self.0.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = if let Some(entry) = watched.get(&key).and_then(Weak::upgrade) {
            entry.nudge.notify_one();
            entry
        } else {
            let entry = self.begin(key.clone());
            watched.insert(key, Arc::downgrade(&entry));
            entry
        };
        Watched { seen: entry.seen.clone(), since, _entry: entry }
    }

    fn begin(&self, key: K) -> Arc<Entry<K, S>> {
        let (tell, seen) = watch::channel(None);
        let nudge = Arc::new(Notify::new());
        let task = follow(Arc::clone(&self.0), key.clone(), tell, Arc::clone(&nudge));
        let task = AbortOnDropHandle::new(tokio::spawn(task));
        Arc::new(Entry { key, seen, nudge, shared: Arc::downgrade(&self.0), _task: task })
    }
}

async fn follow<K, S>(shared: Arc<Shared<K, S>>, key: K, tell: watch::Sender<Option<Seen<S>>>, nudge: Arc<Notify>)
where
    K: Clone + Hash + Eq,
{
    let mut looks = 0;
    // Closed never: nobody closes it.
    while let Ok(place) = shared.places.acquire().await {
        let at = Instant::now();
        let what = (shared.look)(key.clone()).await;
        tell.send_replace(Some(Seen { at, what }));
        sleep_until(at + shared.pace.least).await;
        drop(place);
        let pause = shared.pace.pause(looks, rand::rng().random());
        tokio::select! {
            () = sleep(pause) => looks += 1,
            () = nudge.notified() => looks = 0,
        }
    }
}

impl Pace {
    /// The pause after so many looks; `chance` is from 0 to 1, so that what began together does not stay together.
    fn pause(&self, looks: i32, chance: f64) -> Duration {
        let Self { first, quick, factor, longest, .. } = self;
        let base = first.as_secs_f64() * factor.powi(looks.saturating_sub(*quick).clamp(0, 100));
        Duration::from_secs_f64(base.min(longest.as_secs_f64()) * (0.8 + 0.4 * chance))
    }
}

impl<K: Hash + Eq, S: Clone> Watched<K, S> {
    /// What the next look sees that began after this one was made. None where nobody looks any more.
    pub(super) async fn next(&mut self) -> Option<S> {
        let since = self.since;
        loop {
            self.seen.changed().await.ok()?;
            let seen = self.seen.borrow_and_update();
            if let Some(Seen { at, what }) = seen.as_ref()
                && *at >= since
            {
                return Some(what.clone());
            }
        }
    }
}

impl<K: Hash + Eq, S> Drop for Entry<K, S> {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        let mut watched = shared.watched.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody may have begun anew meanwhile.
        if watched.get(&self.key).is_some_and(|entry| entry.strong_count() == 0) {
            watched.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A hundred times as fast.
    const QUICK: Pace = Pace {
        least: Duration::from_millis(1),
        first: Duration::from_millis(10),
        longest: Duration::from_millis(100),
        ..PACE
    };

    fn counting(pace: Pace, count: &Arc<AtomicUsize>) -> Looks<u32, usize> {
        let count = Arc::clone(count);
        Looks::new(pace, move |_| {
            let count = Arc::clone(&count);
            async move { count.fetch_add(1, Ordering::Relaxed) }
        })
    }

    #[test]
    fn pauses_are_short_at_first_and_ten_seconds_at_most() {
        assert_eq!(PACE.pause(0, 0.5), Duration::from_secs(1));
        assert_eq!(PACE.pause(10, 0.5), Duration::from_secs(1));
        assert!(PACE.pause(11, 0.5) > Duration::from_secs(1));
        assert_eq!(PACE.pause(i32::MAX, 0.5), Duration::from_secs(10));
        assert!(PACE.pause(1_000, 1.0) <= Duration::from_secs(12));
    }

    #[tokio::test]
    async fn those_who_wait_for_the_same_share_their_looks_and_the_last_one_ends_them() {
        let count = Arc::new(AtomicUsize::new(0));
        let looks = counting(QUICK, &count);
        let mut all: Vec<_> = (0..1_000).map(|_| looks.watch(7)).collect();
        for watched in &mut all {
            assert!(watched.next().await.is_some());
        }
        sleep(Duration::from_millis(100)).await;
        let looked = count.load(Ordering::Relaxed);
        assert!((2..=20).contains(&looked), "{looked}");
        drop(all);
        sleep(Duration::from_millis(300)).await;
        assert!(count.load(Ordering::Relaxed) <= looked + 1);
        assert!(looks.0.watched.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn who_comes_later_is_told_of_a_look_of_his_own_time() {
        let count = Arc::new(AtomicUsize::new(0));
        let looks = counting(Pace { first: Duration::from_mins(1), ..QUICK }, &count);
        let mut first = looks.watch(7);
        assert_eq!(first.next().await, Some(0));
        let mut second = looks.watch(7);
        assert_eq!(second.next().await, Some(1), "not the one before, and without the pause");
    }

    #[tokio::test]
    async fn ten_thousand_things_are_not_ten_thousand_looks_a_second() {
        let count = Arc::new(AtomicUsize::new(0));
        let looks = counting(PACE, &count);
        let all: Vec<_> = (0..10_000).map(|key| looks.watch(key)).collect();
        sleep(Duration::from_secs(2)).await;
        let looked = count.load(Ordering::Relaxed);
        assert!((16..=16 * 21).contains(&looked), "{looked}");
        drop(all);
    }
}
