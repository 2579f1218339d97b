//! An object's records as rows, part by part: its bytes are fetched, decoded and encoded while others are stored.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    sync::Arc,
};

use bytes::{Buf as _, Bytes};
use millrace_aws::{Body, Error as Aws};
use millrace_core::Code;
use millrace_postgres::copy::{Rows, Writer};
use millrace_schema::{
    Schema,
    container::{self, Limits, Reader},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::letters::Letter;
use crate::{
    error::Reject,
    plan::{Plan, Row, Scratch, Stamp},
};

/// Encoded bytes of a part, about.
const PART: usize = 4 << 20;
/// Pieces of the object that wait to be decoded.
const PIECES: usize = 16;

/// Records that Postgres has refused, by their number in the object.
pub(crate) type Refused = BTreeMap<u64, Reject>;

/// Rows of consecutive records.
pub(crate) struct Part {
    pub(crate) rows: Rows,
    /// Of each row, what is known beside its bytes, and the number of its record.
    pub(crate) meta: Vec<(Row, u64)>,
    /// Records that are no rows.
    pub(crate) letters: Vec<Letter>,
}

/// Why an object cannot be read to its end.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What S3 says.
    Aws(Aws),
    /// What is in it.
    Object(Reject),
    /// Nobody wants it any more.
    Unwanted,
}

/// How the records of an object become rows.
pub(crate) struct Reading {
    pub(crate) plan: Arc<Plan>,
    pub(crate) stamp: Stamp,
    pub(crate) refused: Arc<Refused>,
}

/// An object that is being read.
pub(crate) struct Content {
    schema: oneshot::Receiver<Schema>,
    reading: Option<oneshot::Sender<Reading>>,
    parts: mpsc::Receiver<Part>,
    decoder: JoinHandle<Result<(), Failure>>,
}

impl Content {
    /// Begins to read.
    pub(crate) fn open(body: Body) -> Self {
        let (pieces, received) = mpsc::channel(PIECES);
        tokio::spawn(fetch(body, pieces));
        let ((tell, schema), (reading, told)) = (oneshot::channel(), oneshot::channel());
        let (send, parts) = mpsc::channel(1);
        let decoder = tokio::task::spawn_blocking(move || decode(Pieces::new(received), tell, told, &send));
        Self { schema, reading: Some(reading), parts, decoder }
    }

    /// The schema of its records.
    pub(crate) async fn schema(&mut self) -> Result<Schema, Failure> {
        match (&mut self.schema).await {
            Ok(schema) => Ok(schema),
            Err(_) => Err(self.end().await.err().unwrap_or(Failure::Unwanted)),
        }
    }

    /// Says how its records become rows: once, after the schema.
    pub(crate) fn read(&mut self, reading: Reading) {
        if let Some(begin) = self.reading.take() {
            // A decoder that is gone says why in its end.
            begin.send(reading).ok();
        }
    }

    /// The next rows; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Part>, Failure> {
        match self.parts.recv().await {
            Some(part) => Ok(Some(part)),
            None => self.end().await.map(|()| None),
        }
    }

    async fn end(&mut self) -> Result<(), Failure> {
        match (&mut self.decoder).await {
            Ok(ended) => ended,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(Failure::Unwanted),
        }
    }
}

async fn fetch(mut body: Body, pieces: mpsc::Sender<Result<Bytes, Aws>>) {
    while let Some(piece) = body.next().await.transpose() {
        let last = piece.is_err();
        if pieces.send(piece).await.is_err() || last {
            return;
        }
    }
}

/// Runs on a thread of its own.
fn decode(
    input: Pieces,
    tell: oneshot::Sender<Schema>,
    told: oneshot::Receiver<Reading>,
    parts: &mpsc::Sender<Part>,
) -> Result<(), Failure> {
    let mut reader = Reader::new(input, Limits::default()).map_err(|error| failure(error, 0))?;
    let schema = reader.schema().clone();
    tell.send(schema.clone()).map_err(|_| Failure::Unwanted)?;
    let Reading { plan, stamp, refused } = told.blocking_recv().map_err(|_| Failure::Unwanted)?;
    let mut writer = Writer::with_capacity(PART + PART / 4);
    let (mut meta, mut letters, mut refused_bytes) = (Vec::new(), Vec::new(), 0);
    let mut number = 0;
    while let Some(datum) = reader.next_datum() {
        let datum = datum.map_err(|error| failure(error, number))?;
        let row = match refused.get(&number) {
            Some(reject) => Err(reject.clone()),
            None => plan.encode(datum, stamp, &mut Scratch::default(), &mut writer),
        };
        match row {
            Ok(row) => meta.push((row, number)),
            Err(reject) => {
                refused_bytes += datum.len();
                letters.push(Letter::new(number, reject, &schema, datum));
            }
        }
        number += 1;
        if writer.len() >= PART || letters.len() >= MAX_LETTERS || refused_bytes >= PART {
            refused_bytes = 0;
            let part =
                Part { rows: writer.take(), meta: std::mem::take(&mut meta), letters: std::mem::take(&mut letters) };
            parts.blocking_send(part).map_err(|_| Failure::Unwanted)?;
        }
    }
    parts.blocking_send(Part { rows: writer.take(), meta, letters }).map_err(|_| Failure::Unwanted)
}

/// Letters of a part.
const MAX_LETTERS: usize = 1_000;

fn failure(error: container::Error, records: u64) -> Failure {
    match error {
        container::Error::Io(error) => match error.downcast::<Aws>() {
            Ok(error) => Failure::Aws(error),
            Err(error) => Failure::Object(Reject::new(Code::Internal, format!("reading it failed: {error}"))),
        },
        error => Failure::Object(Reject::new(error.code(), format!("{error} (after {records} records)"))),
    }
}

/// The pieces of an object as one input.
struct Pieces {
    received: mpsc::Receiver<Result<Bytes, Aws>>,
    piece: Bytes,
}

impl Pieces {
    fn new(received: mpsc::Receiver<Result<Bytes, Aws>>) -> Self {
        Self { received, piece: Bytes::new() }
    }
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.received.blocking_recv() {
                Some(piece) => self.piece = piece.map_err(io::Error::other)?,
                None => return Ok(0),
            }
        }
        let count = out.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut out[..count]);
        Ok(count)
    }
}
