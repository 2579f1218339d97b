use super::{Codec, Error};

/// The level of zstandard: the fastest of the usual ones.
const ZSTD_LEVEL: i32 = 1;

/// Compresses block after block with the same memory, for [`Writer::append_block`](super::Writer::append_block). Of
/// zstandard it takes a faster level than a writer by itself.
pub struct Compressor {
    codec: Codec,
    /// Once it was needed.
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl Compressor {
    /// Compresses with that codec.
    pub fn new(codec: Codec) -> Self {
        Self { codec, zstd: None }
    }

    /// The data of a block, compressed.
    pub fn compress(&mut self, data: &[u8]) -> Result<Vec<u8>, Error> {
        if self.codec != Codec::Zstandard {
            return self.codec.compress(data);
        }
        let zstd = match &mut self.zstd {
            Some(zstd) => zstd,
            None => self.zstd.insert(zstd::bulk::Compressor::new(ZSTD_LEVEL)?),
        };
        Ok(zstd.compress(data)?)
    }
}
