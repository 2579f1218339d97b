use std::io::Write;

use super::Error;

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

impl Codec {
    /// The name as files spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Deflate => "deflate",
            Self::Snappy => "snappy",
            Self::Zstandard => "zstandard",
        }
    }

    pub(super) fn of(name: &[u8]) -> Result<Self, Error> {
        match name {
            b"null" => Ok(Self::Null),
            b"deflate" => Ok(Self::Deflate),
            b"snappy" => Ok(Self::Snappy),
            b"zstandard" => Ok(Self::Zstandard),
            other => Err(Error::Codec(String::from_utf8_lossy(other).chars().take(40).collect())),
        }
    }

    pub(super) fn compress(self, block: &[u8]) -> Result<Vec<u8>, Error> {
        match self {
            Self::Null => Ok(block.to_vec()),
            Self::Deflate => {
                let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(block)?;
                Ok(encoder.finish()?)
            }
            Self::Zstandard => Ok(zstd::stream::encode_all(block, zstd::DEFAULT_COMPRESSION_LEVEL)?),
            Self::Snappy => {
                let compressed = snap::raw::Encoder::new().compress_vec(block);
                let mut compressed = compressed.map_err(|_| Error::Compression(self.as_str()))?;
                compressed.extend(crc32fast::hash(block).to_be_bytes());
                Ok(compressed)
            }
        }
    }
}
