//! The manifests of a partition: where they end, and the next one.

use millrace_aws::{Kind, Objects, Wanted};
use millrace_lake::{Folder, Manifest};

use crate::error::{Error, Result};

/// Bytes of a manifest, at most. One with so many files is far beyond what is written here.
const MAX_MANIFEST: u64 = 64 << 20;

/// The chain of one partition.
#[derive(Clone)]
pub(crate) struct Chain {
    pub(crate) objects: Objects,
    pub(crate) bucket: String,
    pub(crate) folder: Folder,
}

/// What became of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Committed {
    /// It is there.
    Ours,
    /// Another one is there, of a window that ends at this offset.
    Theirs(i64),
}

impl Chain {
    /// Where the chain ends: the offset that the next window begins with. None: there is no window.
    pub(crate) async fn end(&self) -> Result<Option<i64>> {
        let first = match self.noted().await? {
            Some(first) => Some(first),
            None => self.listed().await?,
        };
        let Some(mut at) = first else { return Ok(None) };
        let mut end = None;
        while let Some(manifest) = self.read(at).await? {
            at = manifest.next;
            end = Some(at);
        }
        Ok(end)
    }

    /// Where the first window begins, whoever makes it: at `there`, unless somebody has said otherwise. Two who began at
    /// different offsets would both have a first window.
    pub(crate) async fn origin(&self, there: i64) -> Result<i64> {
        let key = self.folder.origin();
        if self.objects.put_new(&self.bucket, &key, there.to_string()).await? {
            return Ok(there);
        }
        let said = self.said_origin().await?;
        said.ok_or_else(|| millrace_lake::Error::new(&key, "was there, and is not any more").into())
    }

    /// Where the first window begins, if that is settled.
    pub(crate) async fn said_origin(&self) -> Result<Option<i64>> {
        let key = self.folder.origin();
        let Some(said) = self.get(&key).await? else { return Ok(None) };
        let said = std::str::from_utf8(&said).ok().and_then(|said| said.trim().parse().ok());
        said.map(Some).ok_or_else(|| millrace_lake::Error::new(&key, "is not an offset").into())
    }

    /// Commits a window, unless there is one with its first offset.
    pub(crate) async fn commit(&self, manifest: &Manifest) -> Result<Committed> {
        let key = self.folder.manifest(manifest.first);
        if !self.objects.put_new(&self.bucket, &key, manifest.to_json()).await? {
            // It may be our own, of a try whose answer was lost.
            return match self.read(manifest.first).await? {
                Some(there) if there == *manifest => Ok(Committed::Ours),
                Some(there) => Ok(Committed::Theirs(there.next)),
                None => Err(millrace_lake::Error::new(&key, "was there, and is not any more").into()),
            };
        }
        let noted = self.objects.put(&self.bucket, &self.folder.newest(), manifest.first.to_string()).await;
        if let Err(error) = noted {
            tracing::debug!(%error, "the newest manifest is not noted: the next one is");
        }
        Ok(Committed::Ours)
    }

    /// The first offset of a manifest that was the newest, if it was noted and is there.
    async fn noted(&self) -> Result<Option<i64>> {
        let Some(noted) = self.get(&self.folder.newest()).await? else { return Ok(None) };
        let Some(first) = std::str::from_utf8(&noted).ok().and_then(|noted| noted.trim().parse().ok()) else {
            return Ok(None);
        };
        Ok(self.read(first).await?.map(|manifest| manifest.first))
    }

    /// The first offset of the newest manifest, by going through all that is there.
    async fn listed(&self) -> Result<Option<i64>> {
        let mut newest = None;
        let visit = |object: millrace_aws::Object| newest = newest.max(self.folder.first_of(&object.key));
        self.objects.walk(&self.bucket, self.folder.path(), None, visit).await?;
        Ok(newest)
    }

    /// The manifest of the window that begins with that offset.
    pub(crate) async fn read(&self, first: i64) -> Result<Option<Manifest>> {
        let key = self.folder.manifest(first);
        match self.get(&key).await? {
            Some(json) => Ok(Some(Manifest::read(&self.folder, &key, &json)?)),
            None => Ok(None),
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        get(&self.objects, &self.bucket, key).await
    }
}

/// What a small object has; none where it is not there.
pub(crate) async fn get(objects: &Objects, bucket: &str, key: &str) -> Result<Option<Vec<u8>>> {
    match objects.read(bucket, key, Wanted::default()).await {
        Ok(body) => Ok(Some(body.all(MAX_MANIFEST).await?)),
        Err(error) if error.kind() == Kind::Missing => Ok(None),
        Err(error) => Err(Error::Aws(error)),
    }
}
