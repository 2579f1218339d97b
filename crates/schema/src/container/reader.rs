use std::io::Read;

use super::{Block, Blocks, Codec, Decompressor, Error, Head, Limits};
use crate::{Schema, Validator};

/// Reads the data of a file, one at a time, still encoded. Only their lengths are looked at.
pub struct Reader<R> {
    head: Head,
    blocks: Blocks<R>,
    limits: Limits,
    decompressor: Decompressor,
    validator: Validator,
    /// The block as it came, and decompressed.
    raw: Block,
    block: Vec<u8>,
    /// What is left of the block: data, and where they begin.
    left: u64,
    position: usize,
    /// What was read so far: data, and decompressed bytes.
    index: u64,
    total: u64,
    failed: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the head of the file.
    pub fn new(mut input: R, limits: Limits) -> Result<Self, Error> {
        let head = Head::read(&mut input, limits)?;
        Ok(Self {
            blocks: Blocks::new(input, &head, limits, head.length()),
            limits,
            decompressor: Decompressor::new(head.codec(), limits),
            validator: Validator::compile(head.schema()),
            head,
            raw: Block::default(),
            block: Vec::new(),
            left: 0,
            position: 0,
            index: 0,
            total: 0,
            failed: false,
        })
    }

    /// The schema of its data.
    pub fn schema(&self) -> &Schema {
        self.head.schema()
    }

    /// How its blocks are compressed.
    pub fn codec(&self) -> Codec {
        self.head.codec()
    }

    /// The next datum. After an error there is nothing more.
    pub fn next_datum(&mut self) -> Option<Result<&[u8], Error>> {
        if self.failed {
            return None;
        }
        match self.advance() {
            Ok(Some((start, end))) => Some(Ok(&self.block[start..end])),
            Ok(None) => None,
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }

    /// Where in the block the next datum is.
    fn advance(&mut self) -> Result<Option<(usize, usize)>, Error> {
        while self.left == 0 {
            if self.position != self.block.len() {
                return Err(Error::Malformed("a block holds more than its data"));
            }
            if !self.next_block()? {
                return Ok(None);
            }
        }
        let (start, index) = (self.position, self.index);
        let size = self.validator.skip(&self.block[start..]).map_err(|source| Error::Datum { index, source })?;
        self.position += size;
        self.left -= 1;
        self.index += 1;
        Ok(Some((start, self.position)))
    }

    fn next_block(&mut self) -> Result<bool, Error> {
        if !self.blocks.read_block(&mut self.raw)? {
            return Ok(false);
        }
        let left = usize::try_from(self.limits.total - self.total).unwrap_or(usize::MAX);
        let limit = self.limits.block.min(left);
        self.decompressor.open_within(&self.raw, limit, &mut self.block).map_err(|error| match error {
            Error::TooLarge { size, .. } if left < self.limits.block => {
                Error::TooLarge { what: "file", size: self.total + size, limit: self.limits.total }
            }
            other => other,
        })?;
        self.total += self.block.len() as u64;
        (self.left, self.position) = (self.raw.count, 0);
        Ok(true)
    }
}
