use std::io;

use millrace_core::Code;

use crate::{Corrupt, ParseError};

/// Why a file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading or writing failed.
    #[error("read or write container file")]
    Io(#[from] io::Error),
    /// It is none, or it is cut short.
    #[error("not a whole Avro container file: {0}")]
    Malformed(&'static str),
    /// Its schema is none.
    #[error("schema of the container file: {0}")]
    Schema(#[from] ParseError),
    /// Its codec is not one that is read here.
    #[error("codec {0:?} is not supported: expected null, deflate, snappy or zstandard")]
    Codec(String),
    /// A block cannot be decompressed.
    #[error("a block does not decompress with codec {0}")]
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
    #[error("datum {index} of the container file: {source}")]
    Datum {
        /// Which one, from zero.
        index: u64,
        /// What is wrong with it.
        source: Corrupt,
    },
}

impl Error {
    /// What callers see. Reading from memory never fails, so a failure of the input is one of a dependency.
    pub fn code(&self) -> Code {
        match self {
            Self::Io(_) => Code::Unavailable,
            Self::TooLarge { .. } => Code::TooLarge,
            Self::Malformed(_) | Self::Schema(_) | Self::Codec(_) | Self::Compression(_) => Code::InvalidRequest,
            Self::Datum { .. } => Code::Corrupt,
        }
    }

    /// Low cardinality, stable: a metric label.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Io(_) => "container_io",
            Self::Malformed(_) => "container_malformed",
            Self::Schema(_) => "container_schema",
            Self::Codec(_) => "container_codec",
            Self::Compression(_) => "container_compression",
            Self::TooLarge { .. } => "container_too_large",
            Self::Datum { .. } => "container_datum",
        }
    }

    /// Whether reading the same file may succeed later.
    pub fn is_retriable(&self) -> bool {
        self.code().is_retriable()
    }
}
