use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use super::Numeric;

/// Microseconds from 1970-01-01 to 2000-01-01, the server's own epoch.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// The same in days.
const EPOCH_DAYS: i64 = 10_957;
/// First moment that a `timestamptz` holds: 4714-11-24 00:00 BC, microseconds from 2000.
const MIN_TIMESTAMP: i64 = -211_813_488_000_000_000;
/// First day that a `date` holds, from 2000.
const MIN_DATE: i64 = -2_451_545;
/// First day that it does not hold any more: 5874898-01-01, from 2000.
const END_DATE: i64 = 2_145_031_949;

/// A moment or a day that Postgres has no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("out of the range that Postgres can store")]
pub struct TooFar;

/// Rows of binary COPY under construction. The buffer is used again after [`Writer::take`], once what was taken is gone.
#[derive(Debug, Default)]
pub struct Writer {
    buffer: BytesMut,
    ends: Vec<usize>,
    started: usize,
}

/// Rows that are ready to be sent, each by its number.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    bytes: Bytes,
    ends: Vec<usize>,
}

impl Writer {
    /// With room for that many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { buffer: BytesMut::with_capacity(bytes), ends: Vec::new(), started: 0 }
    }

    /// Begins a row of that many columns; as many values must follow, then [`Writer::end_row`].
    pub fn begin_row(&mut self, columns: u16) {
        self.buffer.truncate(self.ends.last().copied().unwrap_or(0));
        self.started = self.buffer.len();
        self.buffer.put_u16(columns);
    }

    /// The row is whole.
    pub fn end_row(&mut self) {
        self.ends.push(self.buffer.len());
    }

    /// Takes the row that was begun back.
    pub fn abort_row(&mut self) {
        self.buffer.truncate(self.ends.last().copied().unwrap_or(0));
    }

    /// Takes back the last whole row.
    pub fn pop_row(&mut self) {
        self.ends.pop();
        self.abort_row();
    }

    /// Whole rows so far.
    pub fn rows(&self) -> usize {
        self.ends.len()
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// NULL.
    pub fn null(&mut self) {
        self.buffer.put_i32(-1);
    }

    /// `bigint`.
    pub fn i64(&mut self, value: i64) {
        let mut field = [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        field[4..].copy_from_slice(&value.to_be_bytes());
        self.buffer.put_slice(&field);
    }

    /// `integer`.
    pub fn i32(&mut self, value: i32) {
        self.buffer.put_i32(4);
        self.buffer.put_i32(value);
    }

    /// `double precision`.
    pub fn f64(&mut self, value: f64) {
        self.i64(value.to_bits() as i64);
    }

    /// `boolean`.
    pub fn bool(&mut self, value: bool) {
        self.buffer.put_slice(&[0, 0, 0, 1, u8::from(value)]);
    }

    /// `text`, and the name of an enum. NUL cannot be stored: the server refuses it.
    pub fn text(&mut self, value: &str) {
        self.bytea(value.as_bytes());
    }

    /// `bytea`.
    pub fn bytea(&mut self, value: &[u8]) {
        self.buffer.put_i32(value.len() as i32);
        self.buffer.put_slice(value);
    }

    /// `timestamptz` and `timestamp`, from microseconds since 1970.
    pub fn timestamptz(&mut self, micros: i64) -> Result<(), TooFar> {
        // The other end, 294277-01-01, is beyond what microseconds since 1970 can say.
        let value = micros.checked_sub(EPOCH_MICROS).filter(|value| *value >= MIN_TIMESTAMP).ok_or(TooFar)?;
        self.i64(value);
        Ok(())
    }

    /// `date`, from days since 1970.
    pub fn date(&mut self, days: i64) -> Result<(), TooFar> {
        let value = days.checked_sub(EPOCH_DAYS).ok_or(TooFar)?;
        if !(MIN_DATE..END_DATE).contains(&value) {
            return Err(TooFar);
        }
        self.i32(value as i32);
        Ok(())
    }

    /// `time`, from microseconds since midnight; 24:00 is the last.
    pub fn time(&mut self, micros: i64) -> Result<(), TooFar> {
        if !(0..=86_400_000_000).contains(&micros) {
            return Err(TooFar);
        }
        self.i64(micros);
        Ok(())
    }

    /// `uuid`.
    pub fn uuid(&mut self, value: Uuid) {
        self.bytea(value.as_bytes());
    }

    /// `numeric`.
    pub fn numeric(&mut self, value: &Numeric) {
        value.write(&mut self.buffer);
    }

    /// `jsonb`, from JSON text. `\u0000` in it cannot be stored: the server refuses it.
    pub fn jsonb(&mut self, json: &[u8]) {
        self.buffer.put_i32(json.len() as i32 + 1);
        self.buffer.put_u8(1);
        self.buffer.put_slice(json);
    }

    /// A value whose length is known only once it is written: JSON, for example.
    pub fn with(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let at = self.buffer.len();
        self.buffer.put_i32(0);
        write(&mut self.buffer);
        let length = (self.buffer.len() - at - 4) as i32;
        self.buffer[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// Hands the rows over and starts anew.
    pub fn take(&mut self) -> Rows {
        self.abort_row();
        Rows { bytes: self.buffer.split().freeze(), ends: std::mem::take(&mut self.ends) }
    }
}

impl Rows {
    /// How many rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of some values of a row, from its first on, with their lengths: equal where the values are.
    pub fn leading(&self, row: usize, values: usize) -> &[u8] {
        let bytes = &self.bytes[row.checked_sub(1).map_or(0, |before| self.ends[before])..self.ends[row]];
        let mut end = 2; // behind the number of columns
        for _ in 0..values {
            let Some(length) = bytes.get(end..end + 4) else { break };
            let length = i32::from_be_bytes([length[0], length[1], length[2], length[3]]);
            end += 4 + length.max(0) as usize;
        }
        &bytes[2.min(bytes.len())..end.min(bytes.len())]
    }

    /// The bytes of some rows, shared.
    pub(super) fn slice(&self, rows: Range<usize>) -> Bytes {
        let start = rows.start.checked_sub(1).map_or(0, |before| self.ends[before]);
        let end = rows.end.checked_sub(1).map_or(0, |last| self.ends[last]);
        self.bytes.slice(start..end.max(start))
    }

    /// The bytes of all of them, without header and trailer.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
