//! Avro object container files.
//!
//! ```text
//! "Obj" 1 | map: avro.schema, avro.codec | sync  ( count | size | compressed data | sync )*
//! ```
//!
//! Data go in and come out encoded: one datum after the other, with bounds on what a file may make us hold. A block
//! that would decompress to more than its bound is refused when it reaches it, and not before it is all there.

mod blocks;
mod bytes;
mod codec;
mod compressor;
mod decompressor;
mod error;
mod head;
mod reader;
mod writer;

pub use blocks::{Block, Blocks};
pub use codec::Codec;
pub use compressor::Compressor;
pub use decompressor::Decompressor;
pub use error::Error;
pub use head::Head;
pub use reader::Reader;
pub use writer::Writer;

const MAGIC: [u8; 4] = *b"Obj\x01";

const SYNC: usize = 16;

const SCHEMA_KEY: &str = "avro.schema";

const CODEC_KEY: &str = "avro.codec";

/// Bounds on what a file may make us hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one block, compressed or not, and of the file's head.
    pub block: usize,
    /// Bytes of all blocks, decompressed.
    pub total: u64,
}

impl Default for Limits {
    /// 64 MiB in a block and no bound on the whole: for files of one's own.
    fn default() -> Self {
        Self { block: 64 << 20, total: u64::MAX }
    }
}

#[cfg(test)]
mod tests;
