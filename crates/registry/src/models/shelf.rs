//! The files of bundles, in S3: each once, under the hash of its contents.

use millrace_aws::{Body, Kind, Objects, Upload, Wanted};
use sha2::{Digest as _, Sha256};

use super::manifest::{File, Manifest, hex};
use crate::{Error, Result};

/// Where bundles are.
#[derive(Clone)]
pub(crate) struct Shelf {
    objects: Objects,
    bucket: String,
    /// Empty, or ends with `/`.
    prefix: String,
}

/// A file that comes in.
struct Incoming {
    key: String,
    file: File,
    upload: Upload,
    hash: Sha256,
}

/// A bundle that comes in: its files one after the other, each in pieces.
pub(crate) struct Intake<'a> {
    shelf: &'a Shelf,
    manifest: &'a Manifest,
    done: Vec<String>,
    current: Option<Incoming>,
}

impl Shelf {
    /// In `s3://bucket/prefix`.
    pub(crate) fn parse(objects: Objects, uri: &str) -> Result<Self, String> {
        let rest = uri.strip_prefix("s3://").unwrap_or_default();
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(format!("`{uri}`: expected s3://bucket or s3://bucket/prefix"));
        }
        let prefix = prefix.trim_end_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self { objects, bucket: bucket.to_owned(), prefix })
    }

    fn key(&self, sha256: &str) -> String {
        format!("{}{}/{sha256}", self.prefix, &sha256[..2])
    }

    /// Takes a bundle in.
    pub(crate) fn receive<'a>(&'a self, manifest: &'a Manifest) -> Intake<'a> {
        Intake { shelf: self, manifest, done: Vec::new(), current: None }
    }

    /// Reads a file.
    pub(crate) async fn read(&self, file: &File) -> Result<Body> {
        let key = self.key(&file.sha256);
        self.objects.read(&self.bucket, &key, Wanted::default()).await.map_err(|error| match error.kind() {
            Kind::Missing => Error::Lost(format!("s3://{}/{key}", self.bucket)),
            _ => error.into(),
        })
    }
}

impl Intake<'_> {
    /// Takes some bytes of a file.
    pub(crate) async fn take(&mut self, key: &str, bytes: &[u8]) -> Result<()> {
        let mut current = match self.current.take() {
            Some(current) if current.key == key => current,
            other => {
                if let Some(current) = other {
                    self.close(current).await?;
                }
                self.begin(key)?
            }
        };
        let size = current.upload.size() + bytes.len() as u64;
        if size > current.file.bytes {
            let expected = current.file.bytes;
            return Err(Error::BadRequest(format!("file {key}: more than the {expected} bytes of the manifest")));
        }
        current.hash.update(bytes);
        current.upload.write(bytes).await?;
        self.current = Some(current);
        Ok(())
    }

    /// All is there, and is what the manifest says.
    pub(crate) async fn finish(mut self) -> Result<()> {
        if let Some(current) = self.current.take() {
            self.close(current).await?;
        }
        let missing: Vec<&str> =
            self.manifest.files.keys().filter(|key| !self.done.contains(key)).map(String::as_str).collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(Error::BadRequest(format!("the bundle ends without its files {}", missing.join(", "))))
        }
    }

    fn begin(&self, key: &str) -> Result<Incoming> {
        let file = self.manifest.files.get(key);
        let file = file.ok_or_else(|| Error::BadRequest(format!("file {key}: the manifest does not list it")))?;
        if self.done.iter().any(|done| done == key) {
            return Err(Error::BadRequest(format!("file {key} comes twice")));
        }
        let upload = self.shelf.objects.upload(&self.shelf.bucket, &self.shelf.key(&file.sha256));
        Ok(Incoming { key: key.to_owned(), file: file.clone(), upload, hash: Sha256::new() })
    }

    /// What is not what its name says is dropped, and was never there.
    async fn close(&mut self, incoming: Incoming) -> Result<()> {
        let Incoming { key, file, upload, hash } = incoming;
        let (size, sha256) = (upload.size(), hex(&hash.finalize()));
        if (size, &sha256) != (file.bytes, &file.sha256) {
            let File { sha256: expected, bytes } = file;
            return Err(Error::BadRequest(format!(
                "file {key}: {size} bytes of SHA-256 {sha256}, and the manifest says {bytes} of {expected}"
            )));
        }
        upload.finish().await?;
        self.done.push(key);
        Ok(())
    }
}
