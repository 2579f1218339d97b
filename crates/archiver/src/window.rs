//! A window that has not ended, and its files, which are on their way to S3 while it grows.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{Timestamp, civil, tz::TimeZone};
use millrace_aws::Upload;
use millrace_core::header;
use millrace_kafka::{Record, source::Partition};
use millrace_lake::{DataFile, Manifest, Stretch, hex, hour_of};
use millrace_schema::{
    Guid,
    archived::{self, Head, Header},
    container::{Codec, Writer},
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    chain::Chain,
    error::Result,
    schemas::{Known, Value},
};

/// Files of a window, at most: each has its own schema or hour, and takes memory while it is open.
const MAX_FILES: usize = 32;
/// Stretches of offsets of a window, at most: they are most of a manifest where records of several files take turns.
const MAX_STRETCHES: usize = 100_000;
/// Bytes that a file gathers before they are handed on.
const CHUNK: usize = 256 << 10;

/// What tells the files of a window apart.
type Which = (Option<Guid>, civil::DateTime);

/// Records from `first` on that are not committed.
pub(crate) struct Window {
    first: i64,
    lost: Option<Stretch>,
    writer: Uuid,
    times: Option<(i64, i64)>,
    stretches: usize,
    files: BTreeMap<Which, File>,
    scratch: Vec<u8>,
}

/// A file that is being written.
struct File {
    key: String,
    writer: Writer<Vec<u8>>,
    upload: Upload,
    hash: Sha256,
    rows: u64,
    offsets: Vec<Stretch>,
}

impl Window {
    pub(crate) fn new(first: i64, lost: Option<Stretch>) -> Self {
        let (times, stretches, files, scratch) = (None, 0, BTreeMap::new(), Vec::new());
        Self { first, lost, writer: Uuid::new_v4(), times, stretches, files, scratch }
    }

    /// The first offset that it accounts for.
    pub(crate) fn first(&self) -> i64 {
        self.first
    }

    /// Whether it has no records.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Whether it has room for a record of that schema and time.
    pub(crate) fn has_room(&self, known: &Known, time_ms: i64) -> bool {
        let has_file = || self.files.len() < MAX_FILES || self.files.contains_key(&which(known, time_ms));
        self.stretches < MAX_STRETCHES && has_file()
    }

    /// Adds a record, with its value.
    pub(crate) async fn add(
        &mut self,
        chain: &Chain,
        partition: &Partition,
        record: &Record,
        value: Value<'_>,
    ) -> Result<()> {
        let time = time_of(record);
        let Value { known, datum } = value;
        self.scratch.clear();
        encode(record, &known, datum, &mut self.scratch);
        let which = which(&known, time);
        let file = match self.files.entry(which) {
            std::collections::btree_map::Entry::Occupied(there) => there.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                let name = format!("{}/{}/{}", partition.topic_id, partition.partition, self.first);
                place.insert(File::begin(chain, (self.first, self.writer), &name, &known, which)?)
            }
        };
        let before = file.offsets.len();
        file.add(record.offset, &self.scratch).await?;
        self.stretches += file.offsets.len() - before;
        let (earliest, latest) = self.times.unwrap_or((time, time));
        self.times = Some((earliest.min(time), latest.max(time)));
        Ok(())
    }

    /// Ends its files: what they are, and what is to be committed.
    pub(crate) async fn end(self, partition: &Partition, next: i64) -> Result<Manifest> {
        let mut files = Vec::with_capacity(self.files.len());
        for ((guid, hour), file) in self.files {
            files.push(file.end(guid, hour).await?);
        }
        let moment =
            |ms: i64| Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 { Timestamp::MIN } else { Timestamp::MAX });
        let times = self.times.map(|(earliest, latest)| (moment(earliest), moment(latest)));
        let place = (&*partition.topic, partition.topic_id, partition.partition);
        let mut manifest = Manifest::new(place, (self.first, next), times, files);
        manifest.lost = self.lost;
        Ok(manifest)
    }
}

fn which(known: &Known, time_ms: i64) -> Which {
    (known.guid, hour_of(time_ms))
}

/// A record's time, in milliseconds since 1970; one that has none is of 1970.
pub(crate) fn time_of(record: &Record) -> i64 {
    record.timestamp_ms.unwrap_or_default()
}

impl File {
    fn begin(
        chain: &Chain,
        (first, writer): (i64, Uuid),
        name: &str,
        known: &Arc<Known>,
        which: Which,
    ) -> Result<Self> {
        // Of what is in it, so that two who archive the same records make the same file; and of nothing that a record can
        // choose, so that no record can look like the end of a block.
        let part = format!("{name}/{}/{}", known.guid.map(|guid| guid.to_string()).unwrap_or_default(), which.1);
        let digest: [u8; 32] = Sha256::digest(part.as_bytes()).into();
        let sync = *digest.first_chunk().unwrap_or(&[0; 16]);
        let key = chain.folder.data(first, writer, &part_name(&digest));
        Ok(Self {
            upload: chain.objects.upload(&chain.bucket, &key),
            key,
            writer: Writer::with_sync(Vec::with_capacity(CHUNK), &known.archived, Codec::Zstandard, sync)?,
            hash: Sha256::new(),
            rows: 0,
            offsets: Vec::new(),
        })
    }

    async fn add(&mut self, offset: i64, datum: &[u8]) -> Result<()> {
        self.writer.append(datum)?;
        self.rows += 1;
        DataFile::add(&mut self.offsets, offset);
        if self.writer.output_mut().len() >= CHUNK {
            let chunk = std::mem::take(self.writer.output_mut());
            self.hash.update(&chunk);
            self.upload.write(&chunk).await?;
        }
        Ok(())
    }

    async fn end(mut self, schema: Option<Guid>, hour: civil::DateTime) -> Result<DataFile> {
        let last = self.writer.finish()?;
        self.hash.update(&last);
        self.upload.write(&last).await?;
        let bytes = self.upload.size();
        self.upload.finish().await?;
        let hour = hour.to_zoned(TimeZone::UTC).map_or(Timestamp::MIN, |hour| hour.timestamp());
        let sha256 = hex(&self.hash.finalize());
        Ok(DataFile { key: self.key, schema, hour, rows: self.rows, bytes, sha256, offsets: self.offsets })
    }
}

/// Tells files of a window apart in their names.
fn part_name(digest: &[u8; 32]) -> String {
    hex(&digest[16..20])
}

/// The record of a file: what Kafka knew of it, and its value.
fn encode(record: &Record, known: &Known, datum: Option<&[u8]>, out: &mut Vec<u8>) {
    let ours = [header::EVENT_ID, header::CORRELATION_ID];
    let others =
        record.headers.iter().filter(|(name, value)| !(ours.contains(name) && std::str::from_utf8(value).is_ok()));
    let head = Head {
        offset: record.offset,
        received_at: time_of(record),
        event_id: record.headers.text(header::EVENT_ID),
        correlation_id: record.headers.text(header::CORRELATION_ID),
        key: record.key.as_deref(),
        headers: others.map(|(name, value)| Header { name, value: Some(value) }).collect(),
    };
    archived::encode_head(&head, out);
    match (known.guid, datum) {
        (Some(_), datum) => out.extend_from_slice(datum.unwrap_or_default()),
        (None, datum) => archived::encode_unknown(datum, out),
    }
}
