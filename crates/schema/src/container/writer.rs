use std::io::Write;

use super::{CODEC_KEY, Codec, Error, MAGIC, SCHEMA_KEY, SYNC};
use crate::{Schema, wire};

/// A block is written when it holds this many bytes.
const BLOCK: usize = 64 << 10;

/// Writes a file of data that are encoded already.
pub struct Writer<W> {
    output: W,
    codec: Codec,
    sync: [u8; SYNC],
    block: Vec<u8>,
    count: u64,
}

impl<W: Write> Writer<W> {
    /// Writes the head of the file.
    pub fn new(output: W, schema: &Schema, codec: Codec) -> Result<Self, Error> {
        Self::with_sync(output, schema, codec, uuid::Uuid::new_v4().into_bytes())
    }

    /// The same with that marker between blocks: the same data then are the same file. What is in the data must not be able to
    /// choose it.
    pub fn with_sync(mut output: W, schema: &Schema, codec: Codec, sync: [u8; SYNC]) -> Result<Self, Error> {
        let mut head = MAGIC.to_vec();
        wire::put_long(&mut head, 2);
        wire::put_str(&mut head, SCHEMA_KEY);
        wire::put_str(&mut head, &schema.standalone());
        wire::put_str(&mut head, CODEC_KEY);
        wire::put_str(&mut head, codec.as_str());
        wire::put_long(&mut head, 0);
        head.extend(sync);
        output.write_all(&head)?;
        Ok(Self { output, codec, sync, block: Vec::with_capacity(2 * BLOCK), count: 0 })
    }

    /// Adds a datum of the file's schema; it is not looked at.
    pub fn append(&mut self, datum: &[u8]) -> Result<(), Error> {
        self.block.extend_from_slice(datum);
        self.count += 1;
        if self.block.len() >= BLOCK { self.flush() } else { Ok(()) }
    }

    /// Adds a block of `count` data that was compressed already, with the file's codec; it is not looked at. Whoever has
    /// several cores compresses with all of them, and writes in order.
    pub fn append_block(&mut self, count: u64, compressed: &[u8]) -> Result<(), Error> {
        self.flush()?;
        self.write_block(count, compressed)
    }

    /// Where it writes to.
    pub fn output_mut(&mut self) -> &mut W {
        &mut self.output
    }

    /// Writes what is left and gives the output back.
    pub fn finish(mut self) -> Result<W, Error> {
        self.flush()?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.count == 0 {
            return Ok(());
        }
        let compressed = self.codec.compress(&self.block)?;
        self.write_block(self.count, &compressed)?;
        self.block.clear();
        self.count = 0;
        Ok(())
    }

    fn write_block(&mut self, count: u64, compressed: &[u8]) -> Result<(), Error> {
        let mut head = Vec::with_capacity(20);
        wire::put_long(&mut head, count as i64);
        wire::put_long(&mut head, compressed.len() as i64);
        self.output.write_all(&head)?;
        self.output.write_all(compressed)?;
        self.output.write_all(&self.sync)?;
        Ok(())
    }
}
