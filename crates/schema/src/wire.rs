//! Avro's binary encoding, piece by piece.

use millrace_core::Code;

/// Bytes that are not what the schema says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {what}")]
pub struct Corrupt {
    /// Where reading stopped, from the beginning of the datum.
    pub offset: usize,
    /// What was wrong there.
    pub what: &'static str,
}

impl Corrupt {
    /// What callers see.
    pub fn code(&self) -> Code {
        Code::Corrupt
    }

    /// Low cardinality, stable: a metric label.
    pub fn tag(&self) -> &'static str {
        "corrupt"
    }

    /// The same bytes never read later.
    pub fn is_retriable(&self) -> bool {
        false
    }
}

/// Appends an int or a long.
pub fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Appends a boolean.
pub fn put_bool(out: &mut Vec<u8>, value: bool) {
    out.push(u8::from(value));
}

/// Appends a float.
pub fn put_float(out: &mut Vec<u8>, value: f32) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a double.
pub fn put_double(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends bytes with their length.
pub fn put_bytes(out: &mut Vec<u8>, value: &[u8]) {
    put_long(out, value.len() as i64);
    out.extend_from_slice(value);
}

/// Appends a string.
pub fn put_str(out: &mut Vec<u8>, value: &str) {
    put_bytes(out, value.as_bytes());
}

/// A place in bytes that a stranger may have written.
#[derive(Clone)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    /// At the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// How far it is from the beginning.
    pub fn position(&self) -> usize {
        self.position
    }

    /// What is still to be read.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.position..]
    }

    /// The bytes from an earlier position up to here.
    pub fn since(&self, start: usize) -> &'a [u8] {
        &self.bytes[start..self.position]
    }

    /// The error that says what is wrong here.
    #[cold]
    pub fn corrupt(&self, what: &'static str) -> Corrupt {
        Corrupt { offset: self.position, what }
    }

    /// Reads a long.
    #[inline]
    pub fn long(&mut self) -> Result<i64, Corrupt> {
        match self.bytes.get(self.position) {
            Some(&byte) if byte < 0x80 => {
                self.position += 1;
                Ok(unzigzag(u64::from(byte)))
            }
            _ => self.long_of_many(),
        }
    }

    fn long_of_many(&mut self) -> Result<i64, Corrupt> {
        let mut value = 0;
        for (i, &byte) in self.rest().iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                if i == 9 && byte > 1 {
                    return Err(self.corrupt("number is over 64 bits"));
                }
                self.position += i + 1;
                return Ok(unzigzag(value));
            }
        }
        Err(self.corrupt(if self.rest().len() < 10 { "ends within a number" } else { "number is over 64 bits" }))
    }

    /// Passes over a long.
    #[inline]
    pub fn skip_long(&mut self) -> Result<(), Corrupt> {
        self.long().map(drop)
    }

    /// Reads an int.
    #[inline]
    pub fn int(&mut self) -> Result<i32, Corrupt> {
        let start = self.position;
        let value = self.long()?;
        i32::try_from(value).map_err(|_| Corrupt { offset: start, what: "int is over 32 bits" })
    }

    /// Reads a boolean.
    #[inline]
    pub fn bool(&mut self) -> Result<bool, Corrupt> {
        match self.bytes.get(self.position) {
            Some(&byte) if byte < 2 => {
                self.position += 1;
                Ok(byte == 1)
            }
            Some(_) => Err(self.corrupt("boolean is neither 0 nor 1")),
            None => Err(self.corrupt("ends before a boolean")),
        }
    }

    /// Reads so many bytes.
    #[inline]
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], Corrupt> {
        match self.rest().get(..length) {
            Some(taken) => {
                self.position += length;
                Ok(taken)
            }
            None => Err(self.corrupt("ends within a value")),
        }
    }

    /// Reads a float.
    #[inline]
    pub fn float(&mut self) -> Result<f32, Corrupt> {
        match self.rest().first_chunk() {
            Some(bytes) => {
                self.position += bytes.len();
                Ok(f32::from_le_bytes(*bytes))
            }
            None => Err(self.corrupt("ends within a float")),
        }
    }

    /// Reads a double.
    #[inline]
    pub fn double(&mut self) -> Result<f64, Corrupt> {
        match self.rest().first_chunk() {
            Some(bytes) => {
                self.position += bytes.len();
                Ok(f64::from_le_bytes(*bytes))
            }
            None => Err(self.corrupt("ends within a double")),
        }
    }

    /// Reads bytes behind their length.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], Corrupt> {
        let length = self.long()?;
        // A negative length becomes one that no datum has.
        self.take(length as usize)
    }

    /// Reads a string.
    #[inline]
    pub fn str(&mut self) -> Result<&'a str, Corrupt> {
        let start = self.position;
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| Corrupt { offset: start, what: "string is not UTF-8" })
    }

    /// The index of a symbol or of a branch, below `count`.
    #[inline]
    pub fn index(&mut self, count: usize, what: &'static str) -> Result<usize, Corrupt> {
        let start = self.position;
        let index = self.long()? as usize;
        if index < count { Ok(index) } else { Err(Corrupt { offset: start, what }) }
    }

    /// The head of a block of items: how many, and of how many bytes where the writer says so. No items end the list.
    #[inline]
    pub fn block(&mut self) -> Result<(usize, Option<usize>), Corrupt> {
        match self.long()? {
            count @ 0.. => Ok((count as usize, None)),
            count => {
                let size = self.long()?;
                if size < 0 || size as usize > self.rest().len() {
                    return Err(self.corrupt("block is longer than the datum"));
                }
                Ok((count.unsigned_abs() as usize, Some(size as usize)))
            }
        }
    }
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_have_the_bytes_of_the_specification() {
        for (value, bytes) in [(0, &[0_u8][..]), (-1, &[1]), (1, &[2]), (-64, &[0x7f]), (64, &[0x80, 1])] {
            let mut out = Vec::new();
            put_long(&mut out, value);
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        for bytes in
            [&[][..], &[0x80], &[0x80; 9], &[0x80; 10], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]]
        {
            assert!(Cursor::new(bytes).long().is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn numbers_come_back(value: i64) {
            let mut out = Vec::new();
            put_long(&mut out, value);
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(cursor.long(), Ok(value));
            prop_assert_eq!(cursor.position(), out.len());
        }
    }
}
