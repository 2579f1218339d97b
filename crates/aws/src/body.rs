//! Objects as streams of bytes: pinned to what they were when the reading began, and gone on with where a connection broke.

use std::{ops::Range, time::Duration};

use aws_sdk_s3::{operation::get_object::GetObjectOutput, primitives::ByteStream};
use bytes::Bytes;

use crate::{Error, Kind, Objects, Result, objects::uri};

/// How often a body is gone on with before bytes have come again.
const TRIES: u32 = 5;
/// The first pause before that; each is twice the one before it.
const PAUSE: Duration = Duration::from_millis(100);

/// Which bytes of an object are wanted, and of which one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The version; else the newest.
    pub version: Option<String>,
    /// Only if it is this one, without quotes: [`Kind::Changed`] if not.
    pub etag: Option<String>,
    /// These bytes; else all. An end beyond the object's is its end.
    pub range: Option<Range<u64>>,
}

/// The bytes of an object, as they come.
pub struct Body {
    objects: Objects,
    bucket: String,
    key: String,
    version: Option<String>,
    etag: Option<String>,
    size: u64,
    /// What is still to come.
    left: Range<u64>,
    stream: ByteStream,
    tries: u32,
}

impl Objects {
    /// Reads an object, or a part of it. However often its connection breaks, the bytes are those of one and the same object:
    /// when another is written over it meanwhile, that is [`Kind::Changed`].
    pub async fn read(&self, bucket: &str, key: &str, wanted: Wanted) -> Result<Body> {
        let Wanted { version, etag, range } = wanted;
        let found = self.get(bucket, key, version.as_deref(), etag.as_deref(), range.as_ref()).await?;
        let length = found.content_length().map(i64::unsigned_abs).unwrap_or_default();
        let size = found.content_range().and_then(whole).unwrap_or(length);
        let start = range.map_or(0, |range| range.start);
        Ok(Body {
            objects: self.clone(),
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            version: version.or_else(|| found.version_id().map(str::to_owned)),
            etag: found.e_tag().map(|etag| etag.trim_matches('"').to_owned()),
            size,
            left: start..start + length,
            stream: found.body,
            tries: 0,
        })
    }

    async fn get(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
        etag: Option<&str>,
        range: Option<&Range<u64>>,
    ) -> Result<GetObjectOutput> {
        const WHAT: &str = "read";
        let request = self.s3(WHAT, bucket).await?.get_object().bucket(bucket).key(key);
        let request = request
            .set_version_id(version.map(str::to_owned))
            .set_if_match(etag.map(|etag| format!("\"{etag}\"")))
            .set_range(range.map(|range| format!("bytes={}-{}", range.start, range.end.saturating_sub(1))));
        request.send().await.map_err(|error| Error::sdk(WHAT, uri(bucket, key), &error))
    }
}

impl Body {
    /// Bytes of the whole object.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Which object it is, without quotes.
    pub fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    /// Its version, in a bucket that keeps versions.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// The next bytes; none at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        while !self.left.is_empty() {
            let broken = match self.stream.next().await {
                Some(Ok(bytes)) if bytes.is_empty() => continue,
                Some(Ok(bytes)) => {
                    self.left.start += bytes.len() as u64;
                    self.tries = 0;
                    return Ok(Some(bytes));
                }
                Some(Err(error)) => error.to_string(),
                None => "the connection has ended".to_owned(),
            };
            self.go_on(&broken).await?;
        }
        Ok(None)
    }

    /// All that is left, `most` bytes at most: more is [`Kind::Refused`].
    pub async fn all(mut self, most: u64) -> Result<Vec<u8>> {
        let length = self.left.end - self.left.start;
        if length > most {
            let said = format!("{length} bytes, and at most {most} are read at once");
            return Err(Error::new(Kind::Refused, "read", self.uri(), said));
        }
        let mut all = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        while let Some(bytes) = self.next().await? {
            all.extend_from_slice(&bytes);
        }
        Ok(all)
    }

    /// Asks for what is left of the same object.
    async fn go_on(&mut self, broken: &str) -> Result<()> {
        if self.tries == TRIES {
            let said = format!("broke off at byte {} of {}: {broken}", self.left.start, self.left.end);
            return Err(Error::new(Kind::Unavailable, "read", self.uri(), said));
        }
        tracing::debug!(uri = self.uri(), at = self.left.start, broken, "reading of an object broke off, going on");
        tokio::time::sleep(PAUSE * 2_u32.pow(self.tries)).await;
        self.tries += 1;
        let Self { objects, bucket, key, version, etag, left, .. } = self;
        match objects.get(bucket, key, version.as_deref(), etag.as_deref(), Some(left)).await {
            Ok(found) => self.stream = found.body,
            Err(error) if error.is_retriable() => self.stream = ByteStream::from_static(b""),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn uri(&self) -> String {
        uri(&self.bucket, &self.key)
    }
}

/// The size of the whole in `bytes 0-9/100`.
fn whole(range: &str) -> Option<u64> {
    range.rsplit_once('/')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_says_of_how_much_it_is() {
        assert_eq!(whole("bytes 0-9/100"), Some(100));
        assert_eq!(whole("bytes 0-9/*"), None);
    }
}
