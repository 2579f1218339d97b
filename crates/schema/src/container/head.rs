use std::io::Read;

use super::{
    CODEC_KEY, Codec, Error, Limits, MAGIC, SCHEMA_KEY, SYNC,
    bytes::{Counted, read_array, read_bytes, read_long, within},
};
use crate::Schema;

/// What a file says of itself before its first block. Whoever begins in the middle needs it first.
#[derive(Clone, Debug)]
pub struct Head {
    schema: Schema,
    codec: Codec,
    pub(super) sync: [u8; SYNC],
    length: u64,
}

impl Head {
    /// Reads it from the beginning of a file, and nothing behind it.
    pub fn read(input: impl Read, limits: Limits) -> Result<Self, Error> {
        let mut input = Counted::new(input, 0);
        if read_array(&mut input)? != MAGIC {
            return Err(Error::Malformed("it does not begin with Obj and 1"));
        }
        let properties = read_properties(&mut input, limits)?;
        let schema = properties.schema.ok_or(Error::Malformed("its head has no avro.schema"))?;
        let (schema, sync) = (Schema::parse(&schema)?, read_array(&mut input)?);
        Ok(Self { schema, codec: properties.codec, sync, length: input.position })
    }

    /// The schema of the file's data.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// How its blocks are compressed.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Its bytes, the first marker with them: where the first block begins.
    pub fn length(&self) -> u64 {
        self.length
    }
}

struct Properties {
    schema: Option<String>,
    codec: Codec,
}

/// The map of the file's properties, of which two matter.
fn read_properties(input: &mut impl Read, limits: Limits) -> Result<Properties, Error> {
    let mut properties = Properties { schema: None, codec: Codec::Null };
    let mut budget = limits.block;
    loop {
        let mut count = read_long(input, false)?.unwrap_or_default();
        if count == 0 {
            return Ok(properties);
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
                properties.schema = Some(text);
            } else if key == CODEC_KEY.as_bytes() {
                properties.codec = Codec::of(&value)?;
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
