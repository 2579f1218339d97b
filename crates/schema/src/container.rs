//! Avro object container files.
use crate::{Corrupt, ParseError, Schema};
use millrace_core::Code;
use std::io::{Read, Write};

/// How the blocks of a file are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the specification's")]
pub enum Codec {
    #[default]
    Null,
    Deflate,
    Snappy,
    Zstandard,
}

/// Bounds on what a file may make us hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one block, compressed or not.
    pub block: usize,
    /// Bytes of all blocks, decompressed.
    pub total: u64,
}

impl Default for Limits {
    /// 64 MiB in a block, and no bound on the whole: for files of one's own.
    fn default() -> Self {
        Self { block: 64 << 20, total: u64::MAX }
    }
}

/// Why a file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading or writing failed.
    #[error("read or write container file")]
    Io(#[from] std::io::Error),
    /// It is none.
    #[error("not an Avro container file: {0}")]
    Malformed(&'static str),
    /// Its schema is none.
    #[error("schema of the container file: {0}")]
    Schema(#[from] ParseError),
    /// Its codec is not one that is read here.
    #[error("codec {0:?} is not supported: expected null, deflate, snappy or zstandard")]
    Codec(String),
    /// A block cannot be decompressed.
    #[error("block does not decompress as {0}")]
    Compression(&'static str),
    /// More than the bound.
    #[error("{what} of {size} bytes or more is over the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is at least.
        size: u64,
        /// The bound.
        limit: u64,
    },
    /// A datum is not of the schema.
    #[error("datum {index}: {source}")]
    Datum {
        /// Which one, from zero.
        index: u64,
        /// What is wrong with it.
        source: Corrupt,
    },
}

impl Error {
    /// What callers see.
    pub fn code(&self) -> Code {
        unimplemented!()
    }
    /// Low cardinality, stable: a metric label.
    pub fn tag(&self) -> &'static str {
        unimplemented!()
    }
    /// Whether reading the same file may succeed later.
    pub fn is_retriable(&self) -> bool {
        false
    }
}

/// Reads the data of a file, one at a time, still encoded.
pub struct Reader<R> {
    input: R,
}

impl<R: Read> Reader<R> {
    /// Reads the head of the file.
    pub fn new(_input: R, _limits: Limits) -> Result<Self, Error> {
        unimplemented!()
    }
    /// The schema of its data.
    pub fn schema(&self) -> &Schema {
        unimplemented!()
    }
    /// How its blocks are compressed.
    pub fn codec(&self) -> Codec {
        unimplemented!()
    }
    /// The next datum. After an error there is nothing more.
    pub fn next_datum(&mut self) -> Option<Result<&[u8], Error>> {
        let _ = &self.input;
        unimplemented!()
    }
}

/// Writes a file of data that are encoded already.
pub struct Writer<W> {
    output: W,
}

impl<W: Write> Writer<W> {
    /// Writes the head of the file.
    pub fn new(_output: W, _schema: &Schema, _codec: Codec) -> Result<Self, Error> {
        unimplemented!()
    }
    /// Adds a datum of the file's schema; it is not looked at.
    pub fn append(&mut self, _datum: &[u8]) -> Result<(), Error> {
        unimplemented!()
    }
    /// Writes what is left and gives the output back.
    pub fn finish(self) -> Result<W, Error> {
        let _ = self.output;
        unimplemented!()
    }
}
