//! How a record's value names its schema.
//!
//! | framing | header `__value_schema_id` | value |
//! |---|---|---|
//! | `id-prefix` | | 0x00, id in four bytes, datum |
//! | `guid-header` | 0x01, GUID in sixteen bytes | datum |
//! | `guid-prefix` | | 0x01, GUID in sixteen bytes, datum |
//!
//! The forms are Confluent's. Reading takes any of them, the header first, as the stock Java deserializer does.

use millrace_core::{Code, pipeline::Framing};

use crate::Guid;

/// The header that names the schema of a record's value.
pub const VALUE_HEADER: &str = "__value_schema_id";

/// The header that names the schema of a record's key.
pub const KEY_HEADER: &str = "__key_schema_id";

const ID: u8 = 0;
const GUID: u8 = 1;

/// How a record names its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SchemaRef {
    /// By the number that one registry gave it.
    Id(u32),
    /// By its content.
    Guid(Guid),
}

impl std::fmt::Display for SchemaRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => write!(f, "id {id}"),
            Self::Guid(guid) => write!(f, "guid {guid}"),
        }
    }
}

/// Why a value names no schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing to read.
    #[error("value is empty: expected 0x00 and a schema id, or 0x01 and a GUID")]
    Empty,
    /// The first byte is neither form's.
    #[error("first byte is {0:#04x}: expected 0x00 and a schema id, or 0x01 and a GUID")]
    Magic(u8),
    /// It ends within the id.
    #[error("{got} bytes where the schema id takes {expected}")]
    Short {
        /// How many bytes the form takes.
        expected: usize,
        /// How many there are.
        got: usize,
    },
    /// A header with something behind the id.
    #[error("{0} bytes behind the schema id in the header")]
    Trailing(usize),
}

impl Error {
    /// What callers see.
    pub fn code(&self) -> Code {
        Code::Corrupt
    }

    /// Low cardinality, stable: a metric label.
    pub fn tag(&self) -> &'static str {
        "framing"
    }

    /// The same bytes never read later.
    pub fn is_retriable(&self) -> bool {
        false
    }
}

/// Splits a value into the name of its schema and its datum. `header` is the value of [`VALUE_HEADER`], where there is one.
pub fn split<'a>(value: &'a [u8], header: Option<&[u8]>) -> Result<(SchemaRef, &'a [u8]), Error> {
    match header {
        Some(header) => match read(header)? {
            (name, []) => Ok((name, value)),
            (_, rest) => Err(Error::Trailing(rest.len())),
        },
        None => read(value),
    }
}

fn read(bytes: &[u8]) -> Result<(SchemaRef, &[u8]), Error> {
    let short = |expected| Error::Short { expected, got: bytes.len() };
    match bytes.split_first() {
        None => Err(Error::Empty),
        Some((&ID, rest)) => {
            let (id, datum) = rest.split_first_chunk().ok_or(short(5))?;
            Ok((SchemaRef::Id(u32::from_be_bytes(*id)), datum))
        }
        Some((&GUID, rest)) => {
            let (guid, datum) = rest.split_first_chunk().ok_or(short(17))?;
            Ok((SchemaRef::Guid(Guid(*guid)), datum))
        }
        Some((&magic, _)) => Err(Error::Magic(magic)),
    }
}

/// Begins a value: what stands before the datum.
pub fn write_prefix(framing: Framing, id: u32, guid: Guid, out: &mut Vec<u8>) {
    match framing {
        Framing::IdPrefix => {
            out.push(ID);
            out.extend_from_slice(&id.to_be_bytes());
        }
        Framing::GuidPrefix => out.extend_from_slice(&guid_bytes(guid)),
        Framing::GuidHeader => {}
    }
}

/// The value of [`VALUE_HEADER`], where the framing has one.
pub fn header_value(framing: Framing, guid: Guid) -> Option<[u8; 17]> {
    matches!(framing, Framing::GuidHeader).then(|| guid_bytes(guid))
}

fn guid_bytes(guid: Guid) -> [u8; 17] {
    let mut bytes = [GUID; 17];
    bytes[1..].copy_from_slice(&guid.0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: Guid = Guid([7; 16]);

    #[test]
    fn what_is_written_is_read() {
        for framing in [Framing::IdPrefix, Framing::GuidHeader, Framing::GuidPrefix] {
            let mut value = Vec::new();
            write_prefix(framing, 42, SOME, &mut value);
            value.extend_from_slice(b"datum");
            let header = header_value(framing, SOME);
            let (name, datum) = split(&value, header.as_ref().map(<[u8; 17]>::as_slice)).unwrap();
            let expected = if framing == Framing::IdPrefix { SchemaRef::Id(42) } else { SchemaRef::Guid(SOME) };
            assert_eq!((name, datum), (expected, b"datum".as_slice()));
        }
    }

    #[test]
    fn an_id_may_stand_in_the_header_too() {
        assert_eq!(split(b"datum", Some(&[0, 0, 0, 0, 9])), Ok((SchemaRef::Id(9), b"datum".as_slice())));
    }

    #[test]
    fn what_names_no_schema_says_why() {
        assert_eq!(split(b"", None), Err(Error::Empty));
        assert_eq!(split(b"{}", None), Err(Error::Magic(b'{')));
        assert_eq!(split(&[0, 0, 1], None), Err(Error::Short { expected: 5, got: 3 }));
        assert_eq!(split(&[1, 0, 1], None), Err(Error::Short { expected: 17, got: 3 }));
        assert_eq!(split(b"datum", Some(&[0, 0, 0, 0, 9, 9])), Err(Error::Trailing(1)));
    }
}
