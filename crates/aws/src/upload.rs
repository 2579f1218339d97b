//! Objects that are written as they come about, in parts: what is in memory has a bound, however large they get.

use std::{collections::BTreeMap, time::Duration};

use aws_sdk_s3::{
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use backon::{ExponentialBuilder, Retryable as _};
use bytes::{Bytes, BytesMut};
use tokio::task::JoinSet;

use crate::{Error, Objects, Result, objects::uri};

/// Bytes of a part: of the 10,000 that S3 allows, 80 GB.
const PART: usize = 8 << 20;
/// Parts that are on their way at once; as many and one more are in memory.
const PARALLEL: usize = 2;
/// How often a call is tried again beyond the SDK's own tries: what was written so far would be lost with it.
const TRIES: usize = 8;
/// The longest pause before that.
const PAUSE: Duration = Duration::from_secs(5);

/// An object that is being written. It is there when [`Self::finish`] says so, whole, and not before; one that is dropped
/// never is, and what was sent of it is removed as far as S3 can be reached (a lifecycle rule for incomplete uploads removes
/// the rest).
pub struct Upload {
    target: Target,
    buffer: BytesMut,
    size: u64,
    /// S3's name for it, once there is more than fits into one part.
    id: Option<String>,
    next: i32,
    sending: JoinSet<Sent>,
    sent: BTreeMap<i32, Option<String>>,
}

/// What became of a part: its number, and what S3 calls it.
type Sent = Result<(i32, Option<String>)>;

#[derive(Clone)]
struct Target {
    objects: Objects,
    bucket: String,
    key: String,
}

impl Objects {
    /// Begins to write an object. Nothing is sent before there is enough for a part.
    pub fn upload(&self, bucket: &str, key: &str) -> Upload {
        Upload {
            target: Target { objects: self.clone(), bucket: bucket.to_owned(), key: key.to_owned() },
            buffer: BytesMut::new(),
            size: 0,
            id: None,
            next: 1,
            sending: JoinSet::new(),
            sent: BTreeMap::new(),
        }
    }
}

impl Upload {
    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds bytes, and waits while too many are on their way. After an error there is nothing to do but to drop it.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.size += bytes.len() as u64;
        while self.buffer.len() + bytes.len() >= PART {
            let (now, later) = bytes.split_at(PART - self.buffer.len());
            self.buffer.extend_from_slice(now);
            bytes = later;
            let part = self.buffer.split().freeze();
            self.send(part).await?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes what is left: now the object is there.
    pub async fn finish(mut self) -> Result<()> {
        let last = self.buffer.split().freeze();
        let Some(id) = self.id.clone() else {
            let Target { objects, bucket, key } = &self.target;
            return again(|| objects.put(bucket, key, last.clone())).await;
        };
        if !last.is_empty() {
            self.send(last).await?;
        }
        while let Some(sent) = self.sending.join_next().await {
            self.note(sent)?;
        }
        again(|| self.target.complete(&id, &self.sent)).await?;
        self.id = None;
        Ok(())
    }

    /// Gives it up and waits until what was sent of it is removed: for whoever is about to end, and for threads that are not
    /// the runtime's.
    pub async fn abandon(mut self) {
        if let Some(id) = self.id.take() {
            self.target.clone().give_up(&id, std::mem::take(&mut self.sending)).await;
        }
    }

    async fn send(&mut self, part: Bytes) -> Result<()> {
        let id = match &self.id {
            Some(id) => id.clone(),
            None => self.id.insert(again(|| self.target.begin()).await?).clone(),
        };
        while self.sending.len() >= PARALLEL
            && let Some(sent) = self.sending.join_next().await
        {
            self.note(sent)?;
        }
        let (target, number) = (self.target.clone(), self.next);
        self.next += 1;
        self.sending.spawn(async move { Ok((number, again(|| target.send(&id, number, part.clone())).await?)) });
        Ok(())
    }

    fn note(&mut self, sent: std::result::Result<Sent, tokio::task::JoinError>) -> Result<()> {
        let (number, etag) = sent.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        self.sent.insert(number, etag);
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current()) else { return };
        let target = self.target.clone();
        let sending = std::mem::take(&mut self.sending);
        runtime.spawn(async move { target.give_up(&id, sending).await });
    }
}

/// Does something again that may succeed later.
async fn again<T, F: Future<Output = Result<T>>>(work: impl FnMut() -> F) -> Result<T> {
    let pauses = ExponentialBuilder::new().with_max_delay(PAUSE).with_max_times(TRIES).with_jitter();
    work.retry(pauses)
        .when(Error::is_retriable)
        .notify(|error, _| tracing::warn!(%error, "an object is being written, trying again"))
        .await
}

impl Target {
    async fn begin(&self) -> Result<String> {
        const WHAT: &str = "begin to write";
        let Self { objects, bucket, key } = self;
        let request = objects.s3(WHAT, bucket).await?.create_multipart_upload().bucket(bucket).key(key);
        let begun = request.send().await.map_err(|error| Error::sdk(WHAT, self.uri(), &error))?;
        Ok(begun.upload_id.unwrap_or_default())
    }

    async fn send(&self, id: &str, number: i32, part: Bytes) -> Result<Option<String>> {
        const WHAT: &str = "write a part of";
        let Self { objects, bucket, key } = self;
        let request = objects.s3(WHAT, bucket).await?.upload_part().bucket(bucket).key(key).upload_id(id);
        let sent = request.part_number(number).body(ByteStream::from(part)).send().await;
        Ok(sent.map_err(|error| Error::sdk(WHAT, self.uri(), &error))?.e_tag)
    }

    async fn complete(&self, id: &str, parts: &BTreeMap<i32, Option<String>>) -> Result<()> {
        const WHAT: &str = "write";
        let Self { objects, bucket, key } = self;
        let part = |(number, etag): (&i32, &Option<String>)| {
            CompletedPart::builder().part_number(*number).set_e_tag(etag.clone()).build()
        };
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.iter().map(part).collect())).build();
        let request = objects.s3(WHAT, bucket).await?.complete_multipart_upload().bucket(bucket).key(key);
        let done = request.upload_id(id).multipart_upload(parts).send().await;
        done.map(drop).map_err(|error| Error::sdk(WHAT, self.uri(), &error))
    }

    async fn give_up(&self, id: &str, mut sending: JoinSet<Sent>) {
        // A part that arrives afterwards would stay.
        sending.shutdown().await;
        if let Err(error) = self.abandon(id).await {
            tracing::warn!(%error, "parts of an object that was not finished stay behind");
        }
    }

    async fn abandon(&self, id: &str) -> Result<()> {
        const WHAT: &str = "give up";
        let Self { objects, bucket, key } = self;
        let request = objects.s3(WHAT, bucket).await?.abort_multipart_upload().bucket(bucket).key(key);
        let gone = request.upload_id(id).send().await;
        gone.map(drop).map_err(|error| Error::sdk(WHAT, self.uri(), &error))
    }

    fn uri(&self) -> String {
        uri(&self.bucket, &self.key)
    }
}
