use crate::{
    Corrupt,
    wire::{self, Cursor},
};

/// Everything of an archived event but the event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head<'a> {
    /// Where it was in its partition.
    pub offset: i64,
    /// The record's time, in milliseconds since 1970.
    pub received_at: i64,
    /// The event's id, where the record says it.
    pub event_id: Option<&'a str>,
    /// What ties together all that happens to the event.
    pub correlation_id: Option<&'a str>,
    /// The record's key.
    pub key: Option<&'a [u8]>,
    /// The record's other headers.
    pub headers: Vec<Header<'a>>,
}

/// A header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are Kafka's")]
pub struct Header<'a> {
    pub name: &'a str,
    pub value: Option<&'a [u8]>,
}

/// Appends everything but the event, whose bytes go behind it unchanged.
pub fn encode_head(head: &Head<'_>, out: &mut Vec<u8>) {
    wire::put_long(out, head.offset);
    wire::put_long(out, head.received_at);
    put_option(out, head.event_id.map(str::as_bytes));
    put_option(out, head.correlation_id.map(str::as_bytes));
    put_option(out, head.key);
    if !head.headers.is_empty() {
        wire::put_long(out, head.headers.len() as i64);
        for header in &head.headers {
            wire::put_str(out, header.name);
            put_option(out, header.value);
        }
    }
    wire::put_long(out, 0);
}

/// Splits an archived event into its head and the event's bytes, which are not looked at.
pub fn decode_head(archived: &[u8]) -> Result<(Head<'_>, &[u8]), Corrupt> {
    let mut cursor = Cursor::new(archived);
    let head = Head {
        offset: cursor.long()?,
        received_at: cursor.long()?,
        event_id: option(&mut cursor)?.then(|| cursor.str()).transpose()?,
        correlation_id: option(&mut cursor)?.then(|| cursor.str()).transpose()?,
        key: option(&mut cursor)?.then(|| cursor.bytes()).transpose()?,
        headers: headers(&mut cursor)?,
    };
    Ok((head, cursor.rest()))
}

/// The fewest bytes of a header: an empty name, and no value.
const LEAST: usize = 2;

fn headers<'a>(cursor: &mut Cursor<'a>) -> Result<Vec<Header<'a>>, Corrupt> {
    let mut headers = Vec::new();
    loop {
        let (count, _) = cursor.block()?;
        if count == 0 {
            return Ok(headers);
        }
        if count > cursor.rest().len() / LEAST {
            return Err(cursor.corrupt("more headers than the datum has bytes"));
        }
        headers.reserve_exact(count);
        for _ in 0..count {
            let name = cursor.str()?;
            headers.push(Header { name, value: option(cursor)?.then(|| cursor.bytes()).transpose()? });
        }
    }
}

pub(super) fn put_option(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => wire::put_long(out, 0),
        Some(value) => {
            wire::put_long(out, 1);
            wire::put_bytes(out, value);
        }
    }
}

/// Whether a value follows.
fn option(cursor: &mut Cursor<'_>) -> Result<bool, Corrupt> {
    Ok(cursor.index(2, "no such branch of the union")? == 1)
}
