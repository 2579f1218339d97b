//! Decompression that stops at a bound: a bomb is refused while it unfolds, not after.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;

use crate::{Error, Result};

/// A body as it arrives: chunks in, at most `limit` bytes out.
pub(super) enum Inflate {
    Identity(Bounded),
    Gzip(Box<MultiGzDecoder<Bounded>>),
}

/// A buffer that refuses to grow over its limit.
pub(super) struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
    overflowed: bool,
}

impl Write for Bounded {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        if chunk.len() > self.limit - self.bytes.len() {
            self.overflowed = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(chunk);
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Inflate {
    /// By the value of `Content-Encoding`.
    pub(super) fn new(encoding: Option<&str>, expected: usize, limit: usize) -> Result<Self> {
        let bounded = Bounded { bytes: Vec::with_capacity(expected.min(limit)), limit, overflowed: false };
        match encoding.map(str::trim) {
            None | Some("" | "identity") => Ok(Self::Identity(bounded)),
            Some(gzip) if gzip.eq_ignore_ascii_case("gzip") || gzip.eq_ignore_ascii_case("x-gzip") => {
                Ok(Self::Gzip(Box::new(MultiGzDecoder::new(bounded))))
            }
            Some(other) => {
                Err(Error::Malformed(format!("content encoding {other:?} is not supported: send gzip or none")))
            }
        }
    }

    /// Takes the next chunk in.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<()> {
        let result = match self {
            Self::Identity(bounded) => bounded.write_all(chunk),
            Self::Gzip(decoder) => decoder.write_all(chunk),
        };
        result.map_err(|error| self.error(&error))
    }

    /// How many bytes are held.
    pub(super) fn len(&self) -> usize {
        self.bounded().bytes.len()
    }

    /// The whole body.
    pub(super) fn finish(mut self) -> Result<Vec<u8>> {
        if let Self::Gzip(decoder) = &mut self {
            decoder.try_finish().map_err(|error| self.error(&error))?;
        }
        Ok(match self {
            Self::Identity(bounded) => bounded.bytes,
            Self::Gzip(mut decoder) => std::mem::take(&mut decoder.get_mut().bytes),
        })
    }

    fn bounded(&self) -> &Bounded {
        match self {
            Self::Identity(bounded) => bounded,
            Self::Gzip(decoder) => decoder.get_ref(),
        }
    }

    fn error(&self, error: &io::Error) -> Error {
        let Bounded { limit, overflowed, .. } = *self.bounded();
        if overflowed {
            return Error::TooLarge { what: "the decompressed body", limit, unit: "bytes" };
        }
        Error::Malformed(format!("the body is not gzip, or cut short: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn inflate(body: &[u8], limit: usize) -> Result<Vec<u8>> {
        let mut inflate = Inflate::new(Some("gzip"), 0, limit)?;
        body.chunks(7).try_for_each(|chunk| inflate.push(chunk))?;
        inflate.finish()
    }

    #[test]
    fn gzip_comes_back_whole_also_from_several_members() {
        let text = b"{\"a\": 1}".repeat(100);
        assert_eq!(inflate(&gzip(&text), 800).unwrap(), text);
        assert_eq!(inflate(&[gzip(b"one"), gzip(b"two")].concat(), 800).unwrap(), b"onetwo");
    }

    #[test]
    fn a_bomb_is_refused_at_the_bound() {
        let bomb = gzip(&vec![b' '; 10 << 20]);
        assert!(bomb.len() < 20_000);
        let mut inflate = Inflate::new(Some("gzip"), 0, 1000).unwrap();
        let refused = bomb.chunks(64).position(|chunk| inflate.push(chunk).is_err()).unwrap();
        assert!(refused < 5, "only at chunk {refused}");
        assert!(inflate.len() <= 1000);
    }

    #[test]
    fn what_is_cut_short_or_not_gzip_is_malformed() {
        let whole = gzip(b"{\"a\": 1}");
        for bad in [&whole[..whole.len() - 3], &whole[..5], b"{\"a\": 1}"] {
            assert!(matches!(inflate(bad, 800), Err(Error::Malformed(_))), "{bad:?}");
        }
        assert!(matches!(Inflate::new(Some("br"), 0, 1), Err(Error::Malformed(_))));
    }
}
