//! The file of baselines: little-endian, the same bytes for the same counts.
//!
//! `MRBL` 1, number of tables (u32); per table: length of the name (u32), name, total seen and positive (u32 each), number
//! of keys (u32), then per key in ascending order: key (u64), seen (u32), positive (u32).

use super::{Baselines, Table, Tally};

const MAGIC: &[u8; 5] = b"MRBL\x01";
const ENTRY: usize = 16;

impl Baselines {
    /// As the file has it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        put(&mut out, self.tables.len() as u32);
        for table in &self.tables {
            put(&mut out, table.name.len() as u32);
            out.extend_from_slice(table.name.as_bytes());
            put(&mut out, table.total.seen);
            put(&mut out, table.total.positive);
            put(&mut out, table.entries.len() as u32);
            let mut entries: Vec<(&u64, &Tally)> = table.entries.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| **key);
            for (key, tally) in entries {
                out.extend_from_slice(&key.to_le_bytes());
                put(&mut out, tally.seen);
                put(&mut out, tally.positive);
            }
        }
        out
    }

    /// Reads [`Baselines::to_bytes`]; says what is wrong where it does not read. Nothing is reserved that the bytes do
    /// not hold.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut rest = bytes.strip_prefix(MAGIC).ok_or("not a file of baselines, or one of a later version")?;
        let mut tables = Vec::new();
        for _ in 0..long(&mut rest)? {
            let name = long(&mut rest)? as usize;
            let name = String::from_utf8(take(&mut rest, name)?.to_vec()).map_err(|_| "a table's name is not UTF-8")?;
            let total = Tally { seen: long(&mut rest)?, positive: long(&mut rest)? };
            let count = long(&mut rest)? as usize;
            let (entries, _) = take(&mut rest, count.saturating_mul(ENTRY))?.as_chunks::<ENTRY>();
            let entries = entries.iter().map(|entry| {
                let number = u128::from_le_bytes(*entry);
                (number as u64, Tally { seen: (number >> 64) as u32, positive: (number >> 96) as u32 })
            });
            tables.push(Table { name, total, entries: entries.collect() });
        }
        if rest.is_empty() { Ok(Self { tables }) } else { Err("bytes are left behind the last table") }
    }
}

fn put(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], &'static str> {
    let (taken, after) = rest.split_at_checked(count).ok_or("the file ends too early")?;
    *rest = after;
    Ok(taken)
}

fn long(rest: &mut &[u8]) -> Result<u32, &'static str> {
    let (taken, after) = rest.split_first_chunk::<4>().ok_or("the file ends too early")?;
    *rest = after;
    Ok(u32::from_le_bytes(*taken))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_is_noticed() {
        let mut baselines = Baselines::new(["seen(x)"]);
        baselines.table_mut(0).add(7, true);
        let bytes = baselines.to_bytes();
        for end in 0..bytes.len() {
            assert!(Baselines::from_bytes(&bytes[..end]).is_err(), "{end}");
        }
        assert!(Baselines::from_bytes(&[&bytes[..], b"x"].concat()).is_err());
    }
}
