//! Cached access to any Confluent-compatible registry.
//!
//! ```text
//! by_ref, version -- kept for good: what an id, a GUID or a version names never changes
//! latest ----------- kept for seconds; for a minute while our registry's Watch tells of changes;
//!                    the last known one serves on while the registry is away
//! lookup ----------- by subject and content
//! not found -------- kept for two seconds, so that a stranger's bad id does not become a storm of requests
//! ```
//!
//! Each cache is bounded, and of many callers that ask for the same thing at once one asks the registry.

mod args;
mod error;
mod rest;
mod watch;

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use moka::{Expiry, future::Cache};

use self::rest::Rest;
pub use self::{args::Args, error::Error};
use crate::{Guid, Schema, compatibility::Level, framing::SchemaRef};

/// Schemas kept by each cache.
const CAPACITY: u64 = 4096;
/// How long it is remembered that something does not exist.
const MISSING: Duration = Duration::from_secs(2);
/// How long the latest version of a subject counts as such.
const LATEST: Duration = Duration::from_secs(5);
/// The same while changes are watched; not for ever, as a change may be told while the older version is on its way here.
const LATEST_WATCHED: Duration = Duration::from_mins(1);

/// A schema as the registry holds it.
#[derive(Clone, Debug)]
pub struct Registered {
    /// The registry's number for it; 0 where it was asked for by GUID and the registry tells no number.
    pub id: u32,
    /// The content's own name.
    pub guid: Guid,
    /// The subject, where it was asked for under one.
    pub subject: Option<String>,
    /// Its version there, from 1.
    pub version: Option<u32>,
    /// The schema itself, references resolved.
    pub schema: Schema,
}

/// A registry's client. Cheap to clone; all clones share their caches.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    rest: Rest,
    refs: Cache<SchemaRef, Entry>,
    versions: Cache<(String, u32), Entry>,
    lookups: Cache<(String, Guid), Entry>,
    latest: Cache<String, Entry>,
    /// Never expires: what `latest` falls back on while the registry is away.
    last_known: Cache<String, Arc<Registered>>,
    watching: Arc<AtomicBool>,
}

/// What a question was answered with.
#[derive(Clone)]
enum Entry {
    Found(Arc<Registered>),
    Missing(Arc<str>),
}

impl Client {
    /// A client that has asked for nothing yet. With a gRPC address it follows the registry's changes, from within the tokio runtime
    /// that this is called in, until the last clone is dropped.
    pub fn new(args: &Args) -> Result<Self, Error> {
        let rest = Rest::new(args)?;
        let watching = Arc::new(AtomicBool::new(false));
        let inner = Arc::new(Inner {
            rest,
            refs: cache(None),
            versions: cache(None),
            lookups: cache(None),
            latest: cache(Some(Arc::clone(&watching))),
            last_known: Cache::builder().max_capacity(CAPACITY).build(),
            watching,
        });
        if let Some(endpoint) = args.endpoint()? {
            tokio::spawn(watch::follow(endpoint, Arc::downgrade(&inner)));
        }
        Ok(Self { inner })
    }

    /// The schema that a record names.
    pub async fn by_ref(&self, schema: SchemaRef) -> Result<Arc<Registered>, Error> {
        let inner = &self.inner;
        ask(&inner.refs, schema, async || match schema {
            SchemaRef::Id(id) => inner.rest.by_id(id).await,
            SchemaRef::Guid(guid) => inner.rest.by_guid(guid).await,
        })
        .await
    }

    /// The newest version of a subject, or one that was the newest a moment ago.
    pub async fn latest(&self, subject: &str) -> Result<Arc<Registered>, Error> {
        let inner = &self.inner;
        let newest = ask(&inner.latest, subject.to_owned(), async || inner.rest.version(subject, None).await).await;
        match newest {
            Ok(newest) => {
                inner.last_known.insert(subject.to_owned(), Arc::clone(&newest)).await;
                Ok(newest)
            }
            Err(error) if error.is_retriable() => {
                let known = inner.last_known.get(subject).await.ok_or_else(|| error.clone())?;
                tracing::debug!(subject, %error, "registry away, going on with the latest known version");
                Ok(known)
            }
            Err(error) => Err(error),
        }
    }

    /// One version of a subject, from 1.
    pub async fn version(&self, subject: &str, version: u32) -> Result<Arc<Registered>, Error> {
        let inner = &self.inner;
        let key = (subject.to_owned(), version);
        ask(&inner.versions, key, async || inner.rest.version(subject, Some(version)).await).await
    }

    /// The schema as it is registered under the subject, if it is.
    pub async fn lookup(&self, subject: &str, schema: &Schema) -> Result<Option<Arc<Registered>>, Error> {
        let inner = &self.inner;
        let key = (subject.to_owned(), schema.guid());
        match ask(&inner.lookups, key, async || inner.rest.lookup(subject, schema).await).await {
            Ok(registered) => Ok(Some(registered)),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Registers a schema under a subject, or finds it there.
    pub async fn register(&self, subject: &str, schema: &Schema) -> Result<Arc<Registered>, Error> {
        let inner = &self.inner;
        let key = (subject.to_owned(), schema.guid());
        if let Some(Entry::Found(known)) = inner.lookups.get(&key).await {
            return Ok(known);
        }
        let registered = Arc::new(inner.rest.register(subject, schema).await?);
        inner.lookups.insert(key, Entry::Found(Arc::clone(&registered))).await;
        inner.remember(&registered).await;
        inner.latest.invalidate(subject).await;
        Ok(registered)
    }

    /// Sets what a subject's next version must be compatible with.
    pub async fn set_compatibility(&self, subject: &str, level: Level) -> Result<(), Error> {
        self.inner.rest.set_compatibility(subject, level).await
    }

    /// What speaks against a schema as the subject's next version, in the registry's words; nothing where it would be
    /// taken.
    pub async fn incompatibilities(&self, subject: &str, schema: &Schema) -> Result<Vec<String>, Error> {
        self.inner.rest.incompatibilities(subject, schema).await
    }

    /// Whether the registry tells of changes at this moment.
    pub fn is_watching(&self) -> bool {
        self.inner.watching.load(Ordering::Acquire)
    }
}

impl Inner {
    /// Keeps a schema under everything that names it for good.
    async fn remember(&self, registered: &Arc<Registered>) {
        let found = || Entry::Found(Arc::clone(registered));
        if registered.id != 0 {
            self.refs.insert(SchemaRef::Id(registered.id), found()).await;
        }
        self.refs.insert(SchemaRef::Guid(registered.guid), found()).await;
        if let (Some(subject), Some(version)) = (&registered.subject, registered.version) {
            self.versions.insert((subject.clone(), version), found()).await;
        }
    }

    /// A subject is not what it was: the next question goes to the registry.
    async fn forget(&self, subject: &str) {
        self.latest.invalidate(subject).await;
        let name = subject.to_owned();
        // Fails only where a cache was built without this ability.
        let _ = self.lookups.invalidate_entries_if(move |(subject, _), _| *subject == name);
    }
}

/// Asks a cache, and the registry behind it at most once at a time.
async fn ask<K, F>(cache: &Cache<K, Entry>, key: K, question: impl FnOnce() -> F) -> Result<Arc<Registered>, Error>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    F: Future<Output = Result<Registered, Error>>,
{
    let answer = cache.try_get_with(key, async {
        match question().await {
            Ok(registered) => Ok(Entry::Found(Arc::new(registered))),
            Err(Error::NotFound(message)) => Ok(Entry::Missing(message.into())),
            Err(error) => Err(error),
        }
    });
    match answer.await {
        Ok(Entry::Found(registered)) => Ok(registered),
        Ok(Entry::Missing(message)) => Err(Error::NotFound(message.to_string())),
        Err(error) => Err(Error::clone(&error)),
    }
}

fn cache<K>(watching: Option<Arc<AtomicBool>>) -> Cache<K, Entry>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
{
    Cache::builder().max_capacity(CAPACITY).support_invalidation_closures().expire_after(Lifetime { watching }).build()
}

/// How long an entry stands. `watching` is there for what can change.
struct Lifetime {
    watching: Option<Arc<AtomicBool>>,
}

impl Lifetime {
    fn of(&self, entry: &Entry) -> Option<Duration> {
        match (entry, &self.watching) {
            (Entry::Missing(_), _) => Some(MISSING),
            (Entry::Found(_), None) => None,
            (Entry::Found(_), Some(watching)) if watching.load(Ordering::Acquire) => Some(LATEST_WATCHED),
            (Entry::Found(_), Some(_)) => Some(LATEST),
        }
    }
}

impl<K> Expiry<K, Entry> for Lifetime {
    fn expire_after_create(&self, _: &K, entry: &Entry, _: Instant) -> Option<Duration> {
        self.of(entry)
    }

    fn expire_after_update(&self, _: &K, entry: &Entry, _: Instant, _: Option<Duration>) -> Option<Duration> {
        self.of(entry)
    }
}
