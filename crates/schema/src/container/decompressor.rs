use std::io::Read;

use super::{Block, Codec, Error, Limits};
use crate::shape::MAX_EMPTY_ITEMS;

/// The window that zstandard may hold besides the block, as powers of two: what its strongest common levels take, up to
/// what its own command line allows where blocks may be as large.
const ZSTD_WINDOW_LOG: std::ops::RangeInclusive<u32> = 23..=27;

/// Opens block after block of one codec, with the same memory.
pub struct Decompressor {
    codec: Codec,
    limit: usize,
    /// Once it was needed.
    zstd: Option<zstd::zstd_safe::DCtx<'static>>,
}

impl Decompressor {
    /// Opens no block that would be larger than `limits` allow.
    pub fn new(codec: Codec, limits: Limits) -> Self {
        Self { codec, limit: limits.block, zstd: None }
    }

    /// Puts a block's data into `out`, whose content goes.
    pub fn open(&mut self, block: &Block, out: &mut Vec<u8>) -> Result<(), Error> {
        self.open_within(block, self.limit, out)
    }

    pub(super) fn open_within(&mut self, block: &Block, limit: usize, out: &mut Vec<u8>) -> Result<(), Error> {
        self.decompress(&block.data, limit, out)?;
        // Data without bytes (of the schema null) are bounded by their number alone.
        if block.count > out.len().max(MAX_EMPTY_ITEMS) as u64 {
            return Err(Error::Malformed("a block has more data than bytes"));
        }
        Ok(())
    }

    /// Never makes `out` longer than `limit`.
    fn decompress(&mut self, data: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Error> {
        out.clear();
        match self.codec {
            Codec::Null => {
                bounded(data.len(), limit)?;
                out.extend_from_slice(data);
                Ok(())
            }
            Codec::Deflate => self.read_all(flate2::read::DeflateDecoder::new(data), limit, out),
            Codec::Zstandard => {
                let mut context = self.zstd.take().unwrap_or_default();
                let mut decoder = zstd::stream::read::Decoder::with_context(data, &mut context);
                let log = limit.checked_ilog2().unwrap_or_default() + 1;
                decoder.window_log_max(log.clamp(*ZSTD_WINDOW_LOG.start(), *ZSTD_WINDOW_LOG.end()))?;
                let read = self.read_all(decoder, limit, out);
                self.zstd = Some(context);
                read
            }
            Codec::Snappy => self.unsnap(data, limit, out),
        }
    }

    fn read_all(&self, decoder: impl Read, limit: usize, out: &mut Vec<u8>) -> Result<(), Error> {
        let read = decoder.take(limit as u64 + 1).read_to_end(out);
        read.map_err(|_| Error::Compression(self.codec.as_str()))?;
        bounded(out.len(), limit)
    }

    /// Snappy's block ends with the CRC-32 of what it holds.
    fn unsnap(&self, data: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Error> {
        let wrong = || Error::Compression(self.codec.as_str());
        let (data, crc) = data.split_last_chunk::<4>().ok_or_else(wrong)?;
        let length = snap::raw::decompress_len(data).map_err(|_| wrong())?;
        bounded(length, limit)?;
        out.resize(length, 0);
        snap::raw::Decoder::new().decompress(data, out).map_err(|_| wrong())?;
        if crc32fast::hash(out) == u32::from_be_bytes(*crc) { Ok(()) } else { Err(wrong()) }
    }
}

fn bounded(size: usize, limit: usize) -> Result<(), Error> {
    if size <= limit {
        return Ok(());
    }
    Err(Error::TooLarge { what: "decompressed block", size: size as u64, limit: limit as u64 })
}
