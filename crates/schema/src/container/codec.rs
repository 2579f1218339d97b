use std::io::{Read, Write};

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

/// The window that zstandard may hold besides the block, as powers of two: what its strongest common levels take, up to
/// what its own command line allows where blocks may be as large.
const ZSTD_WINDOW_LOG: std::ops::RangeInclusive<u32> = 23..=27;

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

    /// Puts the decompressed block into `out`, whose content goes. Never makes it longer than `limit`.
    pub(super) fn decompress(self, block: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Error> {
        out.clear();
        match self {
            Self::Null => {
                bounded(block.len(), limit)?;
                out.extend_from_slice(block);
                Ok(())
            }
            Self::Deflate => self.read_all(flate2::read::DeflateDecoder::new(block), limit, out),
            Self::Zstandard => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(block)?;
                let log = limit.checked_ilog2().unwrap_or_default() + 1;
                decoder.window_log_max(log.clamp(*ZSTD_WINDOW_LOG.start(), *ZSTD_WINDOW_LOG.end()))?;
                self.read_all(decoder, limit, out)
            }
            Self::Snappy => self.unsnap(block, limit, out),
        }
    }

    fn read_all(self, decoder: impl Read, limit: usize, out: &mut Vec<u8>) -> Result<(), Error> {
        let read = decoder.take(limit as u64 + 1).read_to_end(out);
        read.map_err(|_| Error::Compression(self.as_str()))?;
        bounded(out.len(), limit)
    }

    /// Snappy's block ends with the CRC-32 of what it holds.
    fn unsnap(self, block: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Error> {
        let wrong = || Error::Compression(self.as_str());
        let (block, crc) = block.split_last_chunk::<4>().ok_or_else(wrong)?;
        let length = snap::raw::decompress_len(block).map_err(|_| wrong())?;
        bounded(length, limit)?;
        out.resize(length, 0);
        snap::raw::Decoder::new().decompress(block, out).map_err(|_| wrong())?;
        if crc32fast::hash(out) == u32::from_be_bytes(*crc) { Ok(()) } else { Err(wrong()) }
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

fn bounded(size: usize, limit: usize) -> Result<(), Error> {
    if size <= limit {
        return Ok(());
    }
    Err(Error::TooLarge { what: "decompressed block", size: size as u64, limit: limit as u64 })
}
