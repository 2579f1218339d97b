//! The ledger of objects: which generation of each one is in.

use millrace_aws::Object;
use millrace_postgres::{Client, Transaction};

use crate::{ddl::db, error::Result};

/// What the ledger says of an object while its row is locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// What the object's rows say in `imported_from`.
    pub(crate) id: i64,
    /// How often other content was imported; 0 before the first time.
    pub(crate) generation: i64,
    /// What is in, if anything is.
    pub(crate) current: Option<Identity>,
}

/// Which content an object has, as S3 names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// In a bucket that keeps versions.
    pub(crate) version: Option<String>,
    pub(crate) etag: Option<String>,
}

/// What became of an object's records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Stored.
    pub(crate) rows: u64,
    /// Gave way to a later score of the same event.
    pub(crate) lost: u64,
    /// Could not be stored.
    pub(crate) dead: u64,
}

impl Identity {
    /// Where versions were switched off, S3 calls each object of then `null`, whatever is in it: that says nothing.
    pub(crate) fn of(object: &Object) -> Self {
        let version = object.version.clone().filter(|version| version != "null");
        Self { version, etag: object.etag.clone() }
    }

    /// Whether both are the same content: of versions each is one of its own, else what has the same etag is the same.
    fn is(&self, other: &Self) -> bool {
        match (&self.version, &other.version) {
            (Some(this), Some(that)) => this == that,
            _ => self.etag.is_some() && self.etag == other.etag,
        }
    }

    /// A word for it in names of objects.
    pub(crate) fn word(&self) -> &str {
        self.version.as_deref().or(self.etag.as_deref()).unwrap_or("unknown")
    }
}

impl Entry {
    /// Whether that content is what is in.
    pub(crate) fn has(&self, identity: &Identity) -> bool {
        self.current.as_ref().is_some_and(|current| current.is(identity))
    }
}

/// Makes an object's row, unless it has one.
pub(crate) async fn enter(client: &Client, bucket: &str, key: &str) -> Result<()> {
    let sql = "INSERT INTO importer.objects (bucket, key) SELECT $1, $2 \
               WHERE NOT EXISTS (SELECT FROM importer.objects WHERE bucket = $1 AND key = $2) ON CONFLICT DO NOTHING";
    let statement = client.prepare_cached(sql).await.map_err(db)?;
    client.execute(&statement, &[&bucket, &key]).await.map_err(db).map(drop)
}

/// Locks an object's row until the transaction ends; none while somebody else has it.
pub(crate) async fn lock(tx: &Transaction<'_>, bucket: &str, key: &str) -> Result<Option<Entry>> {
    let sql = "SELECT id, generation, version, etag FROM importer.objects WHERE bucket = $1 AND key = $2 \
               FOR UPDATE SKIP LOCKED";
    let statement = tx.prepare_cached(sql).await.map_err(db)?;
    let row = tx.query_opt(&statement, &[&bucket, &key]).await.map_err(db)?;
    Ok(row.map(|row| {
        let generation = row.get(1);
        let current = (generation > 0).then(|| Identity { version: row.get(2), etag: row.get(3) });
        Entry { id: row.get(0), generation, current }
    }))
}

/// Says that the next generation is in.
pub(crate) async fn advance(
    tx: &Transaction<'_>,
    entry: &Entry,
    identity: &Identity,
    bytes: u64,
    counts: Counts,
) -> Result<()> {
    let sql = "UPDATE importer.objects SET generation = generation + 1, version = $2, etag = $3, bytes = $4, \
               rows = $5, lost = $6, dead = $7, imported_at = now() WHERE id = $1";
    let statement = tx.prepare_cached(sql).await.map_err(db)?;
    let Identity { version, etag } = identity;
    let [bytes, rows, lost, dead] = [bytes, counts.rows, counts.lost, counts.dead].map(u64::cast_signed);
    tx.execute(&statement, &[&entry.id, version, etag, &bytes, &rows, &lost, &dead]).await.map_err(db).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(version: Option<&str>, etag: &str) -> Identity {
        Identity { version: version.map(str::to_owned), etag: Some(etag.to_owned()) }
    }

    #[test]
    fn what_is_in_is_known_by_its_version_or_else_by_its_etag() {
        let entry = |current| Entry { id: 1, generation: 1, current: Some(current) };
        assert!(entry(identity(None, "a")).has(&identity(None, "a")));
        assert!(!entry(identity(None, "a")).has(&identity(None, "b")));
        // The same bytes again are another version.
        assert!(!entry(identity(Some("1"), "a")).has(&identity(Some("2"), "a")));
        // Versions were switched on meanwhile, or off: `null` is what S3 calls any object without one.
        let null = |etag: &str| {
            let (version, etag) = (Some("null".to_owned()), Some(etag.to_owned()));
            Identity::of(&Object { key: String::new(), etag, version, size: 0, modified: None })
        };
        assert!(entry(identity(None, "a")).has(&null("a")));
        assert!(!entry(null("a")).has(&null("b")));
        assert!(!Entry { id: 1, generation: 0, current: None }.has(&identity(None, "a")));
    }
}
