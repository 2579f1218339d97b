use std::io::{ErrorKind, Read};

use super::{CODEC_KEY, Codec, Error, Limits, MAGIC, SCHEMA_KEY, SYNC};
use crate::{Schema, Validator, shape::MAX_EMPTY_ITEMS};

/// Reads the data of a file, one at a time, still encoded. Only their lengths are looked at.
pub struct Reader<R> {
    input: R,
    limits: Limits,
    schema: Schema,
    codec: Codec,
    sync: [u8; SYNC],
    validator: Validator,
    /// The block as it came, and decompressed.
    raw: Vec<u8>,
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
        if read_array(&mut input)? != MAGIC {
            return Err(Error::Malformed("it does not begin with Obj and 1"));
        }
        let head = read_head(&mut input, limits)?;
        let schema = Schema::parse(&head.schema.ok_or(Error::Malformed("its head has no avro.schema"))?)?;
        let sync = read_array(&mut input)?;
        let validator = Validator::compile(&schema);
        Ok(Self {
            input,
            limits,
            schema,
            codec: head.codec,
            sync,
            validator,
            raw: Vec::new(),
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
        &self.schema
    }

    /// How its blocks are compressed.
    pub fn codec(&self) -> Codec {
        self.codec
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
        let Some(count) = read_long(&mut self.input, true)? else { return Ok(false) };
        let size = read_long(&mut self.input, false)?.unwrap_or_default();
        let (Ok(count), Ok(size)) = (u64::try_from(count), u64::try_from(size)) else {
            return Err(Error::Malformed("a block's count or size is negative"));
        };
        let size = within("block", size, self.limits.block)?;
        read_bytes(&mut self.input, size, &mut self.raw)?;
        if read_array(&mut self.input)? != self.sync {
            return Err(Error::Malformed("a block does not end with the sync marker"));
        }
        let left = usize::try_from(self.limits.total - self.total).unwrap_or(usize::MAX);
        let limit = self.limits.block.min(left);
        self.codec.decompress(&self.raw, limit, &mut self.block).map_err(|error| match error {
            Error::TooLarge { size, .. } if left < self.limits.block => {
                Error::TooLarge { what: "file", size: self.total + size, limit: self.limits.total }
            }
            other => other,
        })?;
        self.total += self.block.len() as u64;
        // Data without bytes (of the schema null) are bounded by their number alone.
        if count > self.block.len().max(MAX_EMPTY_ITEMS) as u64 {
            return Err(Error::Malformed("a block has more data than bytes"));
        }
        (self.left, self.position) = (count, 0);
        Ok(true)
    }
}

struct Head {
    schema: Option<String>,
    codec: Codec,
}

/// The map of the file's properties, of which two matter.
fn read_head(input: &mut impl Read, limits: Limits) -> Result<Head, Error> {
    let mut head = Head { schema: None, codec: Codec::Null };
    let mut budget = limits.block;
    loop {
        let mut count = read_long(input, false)?.unwrap_or_default();
        if count == 0 {
            return Ok(head);
        }
        if count < 0 {
            read_long(input, false)?;
            count = count.saturating_neg();
        }
        for _ in 0..count {
            let key = read_property(input, &mut budget)?;
            let value = read_property(input, &mut budget)?;
            if key == SCHEMA_KEY.as_bytes() {
                let text = String::from_utf8(value).map_err(|_| Error::Malformed("its schema is not UTF-8"))?;
                head.schema = Some(text);
            } else if key == CODEC_KEY.as_bytes() {
                head.codec = Codec::of(&value)?;
            }
        }
    }
}

fn read_property(input: &mut impl Read, budget: &mut usize) -> Result<Vec<u8>, Error> {
    let size = read_long(input, false)?.unwrap_or_default();
    let size = u64::try_from(size).map_err(|_| Error::Malformed("a length in its head is negative"))?;
    let size = within("head", size, *budget)?;
    *budget -= size;
    let mut bytes = Vec::new();
    read_bytes(input, size, &mut bytes)?;
    Ok(bytes)
}

fn within(what: &'static str, size: u64, limit: usize) -> Result<usize, Error> {
    match usize::try_from(size) {
        Ok(size) if size <= limit => Ok(size),
        _ => Err(Error::TooLarge { what, size, limit: limit as u64 }),
    }
}

const CUT: Error = Error::Malformed("it is cut short");

/// Reads as many bytes, growing only as they come: a size is a claim.
fn read_bytes(input: &mut impl Read, size: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    out.clear();
    input.take(size as u64).read_to_end(out)?;
    if out.len() == size { Ok(()) } else { Err(CUT) }
}

fn read_array<const N: usize>(input: &mut impl Read) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes).map_err(cut)?;
    Ok(bytes)
}

fn cut(error: std::io::Error) -> Error {
    if error.kind() == ErrorKind::UnexpectedEof { CUT } else { Error::Io(error) }
}

/// A number; nothing where the input ends before it and may.
fn read_long(input: &mut impl Read, may_end: bool) -> Result<Option<i64>, Error> {
    let mut value = 0_u64;
    for i in 0..10 {
        let mut byte = [0];
        match input.read_exact(&mut byte) {
            Err(error) if i == 0 && may_end && error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            result => result.map_err(cut)?,
        }
        value |= u64::from(byte[0] & 0x7f) << (7 * i);
        if byte[0] < 0x80 {
            return Ok(Some((value >> 1) as i64 ^ -((value & 1) as i64)));
        }
    }
    Err(Error::Malformed("a number is over 64 bits"))
}
