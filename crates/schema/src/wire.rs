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
