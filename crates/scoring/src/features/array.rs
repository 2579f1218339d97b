use millrace_schema::projection::Complex;

/// The texts of an encoded array of strings. Ends where the bytes do not read: they were walked before.
pub(super) fn texts(array: Complex<'_>) -> impl Iterator<Item = &str> {
    Texts { rest: array.bytes(), left: 0 }
}

struct Texts<'a> {
    rest: &'a [u8],
    left: i64,
}

impl<'a> Iterator for Texts<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.left == 0 {
            self.left = self.long()?;
            if self.left < 0 {
                self.left = self.left.checked_neg()?;
                self.long()?; // the block's size in bytes, for who skips it
            }
            if self.left == 0 {
                return None;
            }
        }
        self.left -= 1;
        let length = usize::try_from(self.long()?).ok()?;
        let (text, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        std::str::from_utf8(text).ok()
    }
}

impl Texts<'_> {
    fn long(&mut self) -> Option<i64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_with_and_without_size_are_read() {
        let rest: &[u8] = &[4, 2, b'a', 4, b'b', b'c', 1, 6, 4, b'd', b'e', 0];
        assert_eq!(Texts { rest, left: 0 }.collect::<Vec<_>>(), ["a", "bc", "de"]);
        assert_eq!(Texts { rest: &rest[..5], left: 0 }.count(), 1);
    }
}
