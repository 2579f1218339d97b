//! Events out of a file, batch by batch, on a thread of their own.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context;
use bytes::Bytes;
use millrace_core::id;
use millrace_proto::gateway::v1::{Event, event::Payload};
use millrace_schema::{Schema, container};
use tokio::sync::mpsc;

/// Payload bytes of a request, about: half of what the gateway takes unless it is told otherwise.
const BATCH_BYTES: usize = 4 << 20;
/// A JSON line over this is refused here: the gateway would refuse it anyway.
const MAX_LINE: usize = 16 << 20;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// An Avro container file.
    Avro,
    /// JSON objects, one per line.
    Ndjson,
}

/// Where an event's id comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Ids {
    /// The field that the pipeline names.
    Field,
    /// Made here, so that sending again after a broken connection gives one event also where the pipeline names no field.
    Mint,
}

/// Some events, in the file's order.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    /// The first one's number in the file, from 0.
    pub first: u64,
    /// How far into the file the batch reaches, in bytes.
    pub position: u64,
    pub events: Vec<Event>,
}

type Source = Box<dyn BufRead + Send>;

enum Content {
    Avro(Box<container::Reader<Counted>>, Schema),
    Ndjson(Counted),
}

/// An opened file.
pub(super) struct Input {
    content: Content,
    bytes: Option<u64>,
    position: Position,
    batch: usize,
    ids: Ids,
}

impl Input {
    pub(super) fn open(path: &Path, kind: Option<Kind>, batch: usize, ids: Ids) -> anyhow::Result<Self> {
        let stdin = path == Path::new("-");
        let mut bytes = None;
        let mut source: Source = if stdin {
            Box::new(BufReader::new(std::io::stdin()))
        } else {
            let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
            bytes = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len());
            Box::new(BufReader::with_capacity(1 << 18, file))
        };
        let avro = match kind {
            Some(kind) => kind == Kind::Avro,
            None => source.fill_buf().with_context(|| format!("read {}", path.display()))?.starts_with(b"Obj\x01"),
        };
        let position = Position::default();
        let source = Counted { source, position: position.clone() };
        let content = if avro {
            let reader = container::Reader::new(source, container::Limits::default())
                .with_context(|| format!("read {}", path.display()))?;
            let schema = reader.schema().clone();
            Content::Avro(Box::new(reader), schema)
        } else {
            Content::Ndjson(source)
        };
        Ok(Self { content, bytes, position, batch, ids })
    }

    /// The file's size, where it is a file.
    pub(super) fn bytes(&self) -> Option<u64> {
        self.bytes
    }

    /// The writer's schema of an Avro file.
    pub(super) fn schema(&self) -> Option<&Schema> {
        match &self.content {
            Content::Avro(_, schema) => Some(schema),
            Content::Ndjson(_) => None,
        }
    }

    /// Reads on a thread of its own. Ends after the first error.
    pub(super) fn start(self) -> mpsc::Receiver<anyhow::Result<Batch>> {
        let (batches, receiver) = mpsc::channel(4);
        std::thread::spawn(move || {
            if let Err(error) = self.read(&batches) {
                // Nobody listens any more: the sender has failed and says so itself.
                let _ = batches.blocking_send(Err(error));
            }
        });
        receiver
    }

    fn read(self, batches: &mpsc::Sender<anyhow::Result<Batch>>) -> anyhow::Result<()> {
        let Self { mut content, position, batch: size, ids, bytes: _ } = self;
        let (mut number, mut bytes) = (0, 0);
        let mut events = Vec::with_capacity(size);
        loop {
            let payload = content.next(number)?;
            let end = payload.is_none();
            if let Some(payload) = payload {
                bytes += match &payload {
                    Payload::Avro(datum) => datum.len(),
                    Payload::Json(text) => text.len(),
                };
                let event_id = if ids == Ids::Mint { id::mint().to_string() } else { String::new() };
                events.push(Event { event_id, correlation_id: String::new(), payload: Some(payload) });
                number += 1;
            }
            if events.len() == size || bytes >= BATCH_BYTES || (end && !events.is_empty()) {
                bytes = 0;
                let first = number - events.len() as u64;
                let position = position.get();
                let batch = Batch { first, position, events: std::mem::replace(&mut events, Vec::with_capacity(size)) };
                if batches.blocking_send(Ok(batch)).is_err() {
                    return Ok(());
                }
            }
            if end {
                return Ok(());
            }
        }
    }
}

impl Content {
    fn next(&mut self, number: u64) -> anyhow::Result<Option<Payload>> {
        match self {
            Self::Avro(reader, _) => {
                let datum = reader.next_datum().transpose().with_context(|| format!("read event {number}"))?;
                Ok(datum.map(|datum| Payload::Avro(Bytes::copy_from_slice(datum))))
            }
            Self::Ndjson(source) => {
                let line = source.line().with_context(|| format!("read event {number}"))?;
                Ok(line.map(|line| Payload::Json(line.into())))
            }
        }
    }
}

/// How far into a file its reader is, in bytes; shared with whoever shows it.
#[derive(Clone, Debug, Default)]
struct Position(Arc<AtomicU64>);

impl Position {
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn advance(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// A reader that says how far it is.
struct Counted {
    source: Source,
    position: Position,
}

impl Counted {
    /// The next line that is not blank, without its end.
    fn line(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        loop {
            let mut line = Vec::new();
            let read = (&mut self.source).take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line)?;
            self.position.advance(read);
            anyhow::ensure!(line.len() <= MAX_LINE, "a line is over the limit of {MAX_LINE} bytes");
            if read == 0 {
                return Ok(None);
            }
            let trimmed = line.trim_ascii();
            if !trimmed.is_empty() {
                return Ok(Some(trimmed.to_vec()));
            }
        }
    }
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.position.advance(read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn lines_come_in_batches_without_blank_ones() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"{\"a\":1}\n\n {\"a\":2}\r\n{\"a\":3}").unwrap();
        let input = Input::open(file.path(), None, 2, Ids::Field).unwrap();
        assert!(input.schema().is_none());
        let mut batches = input.start();
        let mut seen = Vec::new();
        while let Some(batch) = batches.blocking_recv() {
            let batch = batch.unwrap();
            seen.push((batch.first, batch.events.len(), batch.position));
        }
        assert_eq!(seen, [(0, 2, 19), (2, 1, 26)]);
    }

    #[test]
    fn minted_ids_are_there_before_the_first_try() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"{}\n{}\n").unwrap();
        let batch = Input::open(file.path(), None, 9, Ids::Mint).unwrap().start().blocking_recv().unwrap().unwrap();
        assert_ne!(batch.events[0].event_id, batch.events[1].event_id);
    }
}
