//! API keys: who may publish, and to what.
//!
//! ```text
//! token --> cache (bounded) --miss--> Postgres
//!             |  fresh: answered here                       away: 503, nobody is called unknown who may be known
//!             |  old: answered here, looked up beside it    away: goes on as it was
//!             +-- LISTEN gateway_keys: what changed is dropped
//! ```

mod store;
mod token;

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::http::HeaderValue;
use millrace_postgres::{self as postgres, Listener, Pool, listen};
use moka::{Expiry, future::Cache};
use tracing::{error, warn};

use self::{store::Store, token::Hash};
pub use self::{
    store::{MIGRATIONS, Record, SCHEMA},
    token::{KeyId, Malformed, Token},
};
use crate::{Error, Result, metrics::Metrics};

/// Keys that are remembered at once, known and unknown.
const MAX_CACHED: u64 = 100_000;
/// An answer that is older is looked up again, beside the request that it answers.
const REFRESH_AFTER: Duration = Duration::from_secs(10);
/// An answer that is older is looked up again before it is given: a notification may have been missed meanwhile.
const RECHECK_AFTER: Duration = Duration::from_secs(30);
/// How long such a look-up may hold a request up. After that the old answer goes.
const RECHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a known key goes on without an answer from Postgres.
const KEEP_KNOWN: Duration = Duration::from_hours(24);
/// How long it is remembered that a key is unknown: guessing must not become a load on Postgres.
const KEEP_UNKNOWN: Duration = Duration::from_secs(5);
/// How long a look-up of a key that is not cached may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(3);

/// A valid API key.
#[derive(Debug)]
pub struct Key {
    /// The public part.
    pub id: KeyId,
    hash: Hash,
    scope: Scope,
}

impl Key {
    /// Whether it is for that pipeline.
    pub fn may_publish_to(&self, pipeline: &str) -> bool {
        match &self.scope {
            Scope::All => true,
            Scope::Only(pipelines) => pipelines.contains(pipeline),
        }
    }
}

/// Which pipelines a key is for.
#[derive(Debug)]
enum Scope {
    All,
    Only(BTreeSet<String>),
}

/// In a key's list of pipelines: all of them, also those to come.
pub const ALL_PIPELINES: &str = "*";

impl Scope {
    fn new(pipelines: Vec<String>) -> Self {
        if pipelines.iter().any(|name| name == ALL_PIPELINES) {
            Self::All
        } else {
            Self::Only(pipelines.into_iter().collect())
        }
    }
}

/// What is known about an id.
struct Entry {
    /// `None`: no such key, or a revoked one.
    key: Option<Arc<Key>>,
    /// When Postgres was asked last.
    checked: Instant,
    /// When it answered last.
    confirmed: Instant,
    refreshing: AtomicBool,
}

/// The keys, through a cache.
pub struct Keys {
    store: Store,
    cache: Cache<KeyId, Arc<Entry>>,
    /// Since when every change is told.
    told_since: Mutex<Instant>,
    metrics: Metrics,
}

struct KeepFor;

impl Expiry<KeyId, Arc<Entry>> for KeepFor {
    fn expire_after_create(&self, _: &KeyId, entry: &Arc<Entry>, _: Instant) -> Option<Duration> {
        let keep = if entry.key.is_some() { KEEP_KNOWN } else { KEEP_UNKNOWN };
        Some(keep.saturating_sub(entry.confirmed.elapsed()))
    }

    fn expire_after_update(
        &self,
        id: &KeyId,
        entry: &Arc<Entry>,
        now: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(id, entry, now)
    }
}

impl Keys {
    /// Over the table in that database.
    pub(crate) fn new(pool: Pool, metrics: Metrics) -> Arc<Self> {
        let cache = Cache::builder().max_capacity(MAX_CACHED).expire_after(KeepFor).build();
        Arc::new(Self { store: Store::new(pool), cache, told_since: Mutex::new(Instant::now()), metrics })
    }

    /// The key of an `Authorization` header.
    pub(crate) async fn check_bearer(self: &Arc<Self>, header: Option<&HeaderValue>) -> Result<Arc<Key>> {
        let token = bearer(header).ok_or(Error::KeyMissing)?;
        self.check(&token.parse().map_err(|Malformed| Error::KeyUnknown)?).await
    }

    /// The key that the token belongs to.
    pub async fn check(self: &Arc<Self>, token: &Token) -> Result<Arc<Key>> {
        let key = self.look_up(token.id).await?;
        key.filter(|key| key.hash.matches(token)).ok_or(Error::KeyUnknown)
    }

    /// A key that was checked a while ago, at the beginning of a stream: it may have been revoked since.
    pub(crate) async fn check_again(self: &Arc<Self>, key: &Key) -> Result<Arc<Key>> {
        self.look_up(key.id).await?.ok_or(Error::KeyUnknown)
    }

    /// Makes a key. The token is nowhere else.
    pub async fn create(&self, name: &str, pipelines: &[String]) -> Result<(Token, Record)> {
        self.store.create(name, pipelines).await.map_err(|error| unavailable(&error))
    }

    /// All keys, newest first.
    pub async fn list(&self, include_revoked: bool) -> Result<Vec<Record>> {
        self.store.list(include_revoked).await.map_err(|error| unavailable(&error))
    }

    /// Revokes a key; this gateway refuses it at once, the others when Postgres tells them.
    pub async fn revoke(&self, id: KeyId) -> Result<Record> {
        let record = self.store.revoke(id).await.map_err(|error| unavailable(&error))?;
        self.cache.invalidate(&id).await;
        record.ok_or_else(|| Error::NotFound(format!("no API key with id {id}")))
    }

    async fn look_up(self: &Arc<Self>, id: KeyId) -> Result<Option<Arc<Key>>> {
        if let Some(entry) = self.cache.get(&id).await {
            return Ok(self.renewed(id, entry).await.key.clone());
        }
        let load = self.cache.try_get_with(id, self.load(id, LOOKUP_TIMEOUT));
        let entry = load.await.map_err(|error: Arc<Error>| (*error).clone())?;
        Ok(entry.key.clone())
    }

    /// One request of those that find an old entry looks it up again; the others go on with it.
    async fn renewed(self: &Arc<Self>, id: KeyId, entry: Arc<Entry>) -> Arc<Entry> {
        let age = entry.checked.elapsed();
        let may_have_missed = entry.checked < *self.told_since.lock().unwrap_or_else(PoisonError::into_inner);
        if (age < REFRESH_AFTER && !may_have_missed) || entry.refreshing.swap(true, Ordering::Relaxed) {
            return entry;
        }
        let must_know = age >= RECHECK_AFTER || may_have_missed;
        let timeout = if must_know { RECHECK_TIMEOUT } else { LOOKUP_TIMEOUT };
        let (keys, old) = (Arc::clone(self), Arc::clone(&entry));
        // A task of its own: a client that goes away meanwhile must not leave an entry that nobody looks up again.
        let refreshed = tokio::spawn(async move { keys.refresh(id, old, timeout).await });
        if must_know { refreshed.await.unwrap_or(entry) } else { entry }
    }

    /// The entry as Postgres has it now; the old one, for another while, when Postgres does not say.
    async fn refresh(&self, id: KeyId, old: Arc<Entry>, timeout: Duration) -> Arc<Entry> {
        let new = self.load(id, timeout).await;
        let new = new.unwrap_or_else(|_| Arc::new(Entry { confirmed: old.confirmed, ..Entry::new(old.key.clone()) }));
        self.cache.insert(id, Arc::clone(&new)).await;
        new
    }

    async fn load(&self, id: KeyId, timeout: Duration) -> Result<Arc<Entry>> {
        let found = tokio::time::timeout(timeout, self.store.find(id)).await;
        let key = match found {
            Ok(Ok(key)) => key,
            Ok(Err(error)) => {
                self.metrics.key_lookup("failed");
                return Err(unavailable(&error));
            }
            Err(_elapsed) => {
                self.metrics.key_lookup("failed");
                warn!(key = %id, "API key store did not answer in time");
                return Err(Error::KeyUnchecked);
            }
        };
        self.metrics.key_lookup(if key.is_some() { "found" } else { "unknown" });
        Ok(Arc::new(Entry::new(key.map(Arc::new))))
    }

    /// Drops what has changed, as Postgres tells; reconnects for as long as it takes.
    pub(crate) async fn follow(self: Arc<Self>) -> Infallible {
        let mut listener = Listener::start(self.store.pool(), &[store::CHANNEL]);
        loop {
            match listener.next().await {
                listen::Event::Notified { payload, .. } => {
                    if let Ok(id) = payload.parse() {
                        self.cache.invalidate(&KeyId::from_i64(id)).await;
                    } else {
                        warn!(payload, "notification about an API key names none");
                    }
                }
                // What changed before is not told again.
                listen::Event::Connected => {
                    *self.told_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
                    self.store.check().await;
                }
            }
        }
    }
}

impl Entry {
    fn new(key: Option<Arc<Key>>) -> Self {
        let now = Instant::now();
        Self { key, checked: now, confirmed: now, refreshing: AtomicBool::new(false) }
    }
}

/// What a client may know about it. A missing table is ours to mend and no outage.
fn unavailable(error: &postgres::Error) -> Error {
    if error.is_retriable() {
        warn!(error = %chain(error), "API key store is away");
        return Error::KeyUnchecked;
    }
    error!(error = %chain(error), "API key store refuses: was `millrace-gateway migrate` run?");
    Error::Internal
}

fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The token of `Bearer <token>`.
pub(crate) fn bearer(header: Option<&HeaderValue>) -> Option<&str> {
    let (scheme, token) = header?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
