use bytes::{BufMut, BytesMut};

/// A decimal number of any length: `unscaled * 10^-scale`, in the server's base 10,000.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numeric {
    negative: bool,
    /// Exponent of the first digit, base 10,000.
    weight: i16,
    /// Digits after the point, base 10.
    scale: u16,
    /// Most significant first, base 10,000, without zeros at either end.
    digits: Vec<u16>,
}

impl Numeric {
    /// From a two's-complement, big-endian integer, as Avro's `decimal` has it. `None` where the server has no room.
    pub fn from_be_bytes(unscaled: &[u8], scale: u16) -> Option<Self> {
        let negative = unscaled.first().is_some_and(|byte| byte & 0x80 != 0);
        let mut magnitude = unscaled.to_vec();
        if negative {
            negate(&mut magnitude);
        }
        // One shift makes the point fall between two digits of base 10,000.
        let shift = (4 - u32::from(scale) % 4) % 4;
        let mut digits = Vec::new();
        let mut rest = magnitude;
        multiply(&mut rest, 10_u32.pow(shift));
        while rest.iter().any(|byte| *byte != 0) {
            digits.push(divide(&mut rest, 10_000) as u16);
        }
        let fraction = i64::from(scale.div_ceil(4));
        let weight = i16::try_from(digits.len() as i64 - fraction - 1).ok()?;
        digits.reverse();
        let leading = digits.iter().take_while(|digit| **digit == 0).count();
        digits.drain(..leading);
        while digits.last() == Some(&0) {
            digits.pop();
        }
        (scale <= 16_383 && digits.len() <= 32_767).then_some(Self { negative, weight, scale, digits })
    }

    /// From an integer.
    pub fn from_i128(unscaled: i128, scale: u16) -> Option<Self> {
        Self::from_be_bytes(&unscaled.to_be_bytes(), scale)
    }

    pub(super) fn write(&self, out: &mut BytesMut) {
        out.put_i32(8 + 2 * self.digits.len() as i32);
        out.put_u16(self.digits.len() as u16);
        out.put_i16(if self.digits.is_empty() { 0 } else { self.weight });
        out.put_u16(if self.negative && !self.digits.is_empty() { 0x4000 } else { 0 });
        out.put_u16(self.scale);
        for digit in &self.digits {
            out.put_u16(*digit);
        }
    }
}

fn negate(bytes: &mut [u8]) {
    let mut carry = true;
    for byte in bytes.iter_mut().rev() {
        let (value, over) = (!*byte).overflowing_add(u8::from(carry));
        (*byte, carry) = (value, over);
    }
}

fn multiply(bytes: &mut Vec<u8>, factor: u32) {
    let mut carry = 0;
    for byte in bytes.iter_mut().rev() {
        let value = u32::from(*byte) * factor + carry;
        *byte = value as u8;
        carry = value >> 8;
    }
    while carry != 0 {
        bytes.insert(0, carry as u8);
        carry >>= 8;
    }
}

/// Divides in place and returns the remainder.
fn divide(bytes: &mut [u8], divisor: u32) -> u32 {
    let mut remainder = 0;
    for byte in bytes.iter_mut() {
        let value = (remainder << 8) | u32::from(*byte);
        *byte = (value / divisor) as u8;
        remainder = value % divisor;
    }
    remainder
}
