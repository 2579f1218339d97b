use std::ops::Range;
use std::pin::pin;

use bytes::Bytes;
use futures::SinkExt;
use tokio_postgres::{CopyInSink, Statement};

use super::Rows;
use crate::{Result, Transaction};

/// Signature, flags (none), length of the header's extension (none).
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Instead of another row.
const TRAILER: &[u8] = &[0xff, 0xff];
/// Bytes of one message: the server reads while the next is prepared.
const CHUNK: usize = 256 * 1024;

/// Sends some ranges of `rows` by `statement` (`COPY .. FROM STDIN (FORMAT binary)`), and returns how many rows the
/// server took.
pub async fn send(
    transaction: &Transaction<'_>,
    statement: &Statement,
    rows: &Rows,
    ranges: &[Range<usize>],
) -> Result<u64> {
    let sink: CopyInSink<Bytes> = transaction.copy_in(statement).await?;
    let mut sink = pin!(sink);
    sink.feed(Bytes::from_static(HEADER)).await?;
    for range in ranges {
        let mut rest = rows.slice(range.clone());
        while !rest.is_empty() {
            sink.feed(rest.split_to(rest.len().min(CHUNK))).await?;
        }
    }
    sink.feed(Bytes::from_static(TRAILER)).await?;
    Ok(sink.finish().await?)
}
