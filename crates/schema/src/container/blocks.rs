use std::io::Read;

use super::{
    Error, Head, Limits, SYNC,
    bytes::{Counted, read_array, read_byte, read_bytes, read_long, within},
};

/// A block as it lies in its file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// How many data it has.
    pub count: u64,
    /// They, compressed.
    pub data: Vec<u8>,
}

/// Reads blocks as they are, to be opened elsewhere.
pub struct Blocks<R> {
    input: Counted<R>,
    sync: [u8; SYNC],
    limit: usize,
}

impl<R: Read> Blocks<R> {
    /// Of an input that stands where a block begins, `offset` bytes into the file.
    pub fn new(input: R, head: &Head, limits: Limits, offset: u64) -> Self {
        Self { input: Counted::new(input, offset), sync: head.sync, limit: limits.block }
    }

    /// Of an input that stands anywhere, `offset` bytes into the file: passes over what is before the first whole marker, and
    /// the marker. None where no block begins before `end` any more.
    ///
    /// A block belongs to the stretch in which its first byte is, so whoever reads the stretch from `begin` has to begin
    /// [`Self::LOOK_BACK`] bytes earlier: the marker before a block that begins with the stretch is in front of it.
    pub fn find(input: R, head: &Head, limits: Limits, offset: u64, end: u64) -> Result<Option<Self>, Error> {
        let mut blocks = Self::new(input, head, limits, offset);
        let marker = u128::from_be_bytes(blocks.sync);
        let mut last = 0_u128;
        while blocks.input.position + 1 < end
            && let Some(byte) = read_byte(&mut blocks.input)?
        {
            last = last << 8 | u128::from(byte);
            // Zeros could be a marker, but those before the first byte are none.
            if last == marker && blocks.input.position >= offset + SYNC as u64 {
                return Ok(Some(blocks));
            }
        }
        Ok(None)
    }

    /// Bytes of a marker.
    pub const LOOK_BACK: u64 = SYNC as u64;

    /// Where the next block begins in the file, in bytes.
    pub fn offset(&self) -> u64 {
        self.input.position
    }

    /// Reads the next block in place of what is in `block`; false at the end of the file.
    pub fn read_block(&mut self, block: &mut Block) -> Result<bool, Error> {
        block.offset = self.input.position;
        let Some(count) = read_long(&mut self.input, true)? else { return Ok(false) };
        let size = read_long(&mut self.input, false)?.unwrap_or_default();
        let (Ok(count), Ok(size)) = (u64::try_from(count), u64::try_from(size)) else {
            return Err(Error::Malformed("a block's count or size is negative"));
        };
        let size = within("block", size, self.limit)?;
        block.count = count;
        read_bytes(&mut self.input, size, &mut block.data)?;
        if read_array(&mut self.input)? != self.sync {
            return Err(Error::Malformed("a block does not end with the sync marker"));
        }
        Ok(true)
    }
}
