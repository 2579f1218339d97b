//! Bytes of a file that a stranger wrote, and how many there were.

use std::io::{self, ErrorKind, Read};

use super::Error;

const CUT: Error = Error::Malformed("it is cut short");

/// An input and how far it was read.
pub(super) struct Counted<R> {
    input: R,
    pub(super) position: u64,
}

impl<R> Counted<R> {
    pub(super) fn new(input: R, position: u64) -> Self {
        Self { input, position }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.position += read as u64;
        Ok(read)
    }
}

pub(super) fn within(what: &'static str, size: u64, limit: usize) -> Result<usize, Error> {
    match usize::try_from(size) {
        Ok(size) if size <= limit => Ok(size),
        _ => Err(Error::TooLarge { what, size, limit: limit as u64 }),
    }
}

/// Reads as many bytes, growing only as they come: a size is a claim.
pub(super) fn read_bytes(input: &mut impl Read, size: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    out.clear();
    input.take(size as u64).read_to_end(out)?;
    if out.len() == size { Ok(()) } else { Err(CUT) }
}

pub(super) fn read_array<const N: usize>(input: &mut impl Read) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes).map_err(cut)?;
    Ok(bytes)
}

fn cut(error: io::Error) -> Error {
    if error.kind() == ErrorKind::UnexpectedEof { CUT } else { Error::Io(error) }
}

/// A byte; nothing where the input ends before it.
pub(super) fn read_byte(input: &mut impl Read) -> Result<Option<u8>, Error> {
    let mut byte = [0];
    match input.read_exact(&mut byte) {
        Ok(()) => Ok(Some(byte[0])),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(Error::Io(error)),
    }
}

/// A number; nothing where the input ends before it and may.
pub(super) fn read_long(input: &mut impl Read, may_end: bool) -> Result<Option<i64>, Error> {
    let mut value = 0_u64;
    for i in 0..10 {
        let byte = match read_byte(input)? {
            Some(byte) => byte,
            None if i == 0 && may_end => return Ok(None),
            None => return Err(CUT),
        };
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Ok(Some((value >> 1) as i64 ^ -((value & 1) as i64)));
        }
    }
    Err(Error::Malformed("a number is over 64 bits"))
}
