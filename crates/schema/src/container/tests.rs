use proptest::prelude::*;

use super::*;
use crate::{Schema, wire};

const CODECS: [Codec; 4] = [Codec::Null, Codec::Deflate, Codec::Snappy, Codec::Zstandard];

fn strings() -> Schema {
    Schema::parse(r#""string""#).unwrap()
}

fn file(schema: &Schema, codec: Codec, data: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), schema, codec).unwrap();
    for datum in data {
        writer.append(datum).unwrap();
    }
    writer.finish().unwrap()
}

fn read(file: &[u8], limits: Limits) -> Result<Vec<Vec<u8>>, Error> {
    let mut reader = Reader::new(file, limits)?;
    let mut data = Vec::new();
    while let Some(datum) = reader.next_datum() {
        data.push(datum?.to_vec());
    }
    assert!(reader.next_datum().is_none());
    Ok(data)
}

fn text(length: usize) -> Vec<u8> {
    let mut datum = Vec::new();
    wire::put_str(&mut datum, &"x".repeat(length));
    datum
}

#[test]
fn data_come_back_through_every_codec() {
    let data: Vec<_> = (0..20_000).map(|i| text(i % 50)).collect();
    for codec in CODECS {
        let file = file(&strings(), codec, &data);
        assert_eq!(Reader::new(file.as_slice(), Limits::default()).unwrap().codec(), codec);
        assert!(read(&file, Limits::default()).unwrap() == data, "{codec:?}");
    }
    assert!(read(&file(&strings(), Codec::Null, &[]), Limits::default()).unwrap().is_empty());
}

/// What is written here is read by apache-avro, and the other way round.
#[test]
fn files_are_those_of_other_libraries() {
    let data = vec![text(3), text(0)];
    let written = file(&strings(), Codec::Deflate, &data);
    let theirs: Vec<_> = apache_avro::Reader::new(written.as_slice()).unwrap().map(Result::unwrap).collect();
    assert_eq!(
        theirs,
        [apache_avro::types::Value::String("xxx".into()), apache_avro::types::Value::String(String::new())]
    );

    let schema = apache_avro::Schema::parse_str(r#""string""#).unwrap();
    let mut writer = apache_avro::Writer::new(&schema, Vec::new()).unwrap();
    writer.append_value("xxx").unwrap();
    writer.append_value("").unwrap();
    assert_eq!(read(&writer.into_inner().unwrap(), Limits::default()).unwrap(), data);
}

#[test]
fn a_bomb_is_refused_at_the_bound() {
    let bomb = vec![text(10 << 20)];
    let limits = Limits { block: 1 << 20, total: u64::MAX };
    for codec in [Codec::Deflate, Codec::Snappy, Codec::Zstandard] {
        let file = file(&strings(), codec, &bomb);
        assert!(file.len() < 1 << 20, "{codec:?} of {} bytes", file.len());
        let error = read(&file, limits).unwrap_err();
        assert!(matches!(error, Error::TooLarge { limit: 1_048_576, .. }), "{codec:?}: {error}");
    }
    let plain = file(&strings(), Codec::Null, &bomb);
    assert!(matches!(read(&plain, limits).unwrap_err(), Error::TooLarge { what: "block", .. }));
    let many = file(&strings(), Codec::Deflate, &vec![text(1000); 1000]);
    let limits = Limits { block: 1 << 20, total: 100_000 };
    assert!(matches!(read(&many, limits).unwrap_err(), Error::TooLarge { what: "file", limit: 100_000, .. }));
}

#[test]
fn what_is_no_file_says_why() {
    let good = file(&strings(), Codec::Null, &[text(5)]);
    let error = |bytes: &[u8]| read(bytes, Limits::default()).unwrap_err().to_string();
    assert_eq!(error(b"{}"), "not a whole Avro container file: it is cut short");
    assert_eq!(error(b"PAR1 and so on"), "not a whole Avro container file: it does not begin with Obj and 1");
    assert_eq!(error(&good[..good.len() - 3]), "not a whole Avro container file: it is cut short");
    let mut other = good.clone();
    *other.last_mut().unwrap() ^= 1;
    assert_eq!(error(&other), "not a whole Avro container file: a block does not end with the sync marker");
    let mut head = MAGIC.to_vec();
    wire::put_long(&mut head, 1);
    wire::put_str(&mut head, CODEC_KEY);
    wire::put_str(&mut head, "xz");
    assert_eq!(error(&head), "codec \"xz\" is not supported: expected null, deflate, snappy or zstandard");
    let bad = file(&strings(), Codec::Null, &[vec![20, b'x']]);
    assert_eq!(error(&bad), "datum 0 of the container file: byte 1: ends within a value");
}

#[test]
fn data_without_bytes_are_counted_and_bounded() {
    let null = Schema::parse(r#""null""#).unwrap();
    assert_eq!(read(&file(&null, Codec::Null, &vec![Vec::new(); 10]), Limits::default()).unwrap().len(), 10);
    let mut bomb = file(&null, Codec::Null, &[]);
    let sync = bomb[bomb.len() - SYNC..].to_vec();
    wire::put_long(&mut bomb, i64::MAX);
    wire::put_long(&mut bomb, 0);
    bomb.extend(sync);
    assert!(matches!(read(&bomb, Limits::default()), Err(Error::Malformed("a block has more data than bytes"))));
}

/// Blocks of these many data, each with a text as long as its number.
fn blocks_of(sizes: &[usize], codec: Codec) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &strings(), codec).unwrap();
    let mut compressor = Compressor::new(codec);
    let mut number = 0;
    for &size in sizes {
        let data: Vec<u8> = (number..number + size).flat_map(text).collect();
        number += size;
        writer.append_block(size as u64, &compressor.compress(&data).unwrap()).unwrap();
    }
    writer.finish().unwrap()
}

fn all_blocks(mut blocks: Blocks<&[u8]>, end: u64) -> Result<Vec<Block>, Error> {
    let mut all = Vec::new();
    let mut block = Block::default();
    while blocks.offset() < end && blocks.read_block(&mut block)? {
        all.push(block.clone());
    }
    Ok(all)
}

/// The blocks that begin in a stretch of a file.
fn stretch(file: &[u8], head: &Head, begin: u64, end: u64) -> Vec<Block> {
    let limits = Limits::default();
    let start = begin.max(head.length()) - Blocks::<&[u8]>::LOOK_BACK;
    let Some(input) = file.get(start as usize..) else { return Vec::new() };
    let found = Blocks::find(input, head, limits, start, end).unwrap();
    found.map_or_else(Vec::new, |blocks| all_blocks(blocks, end).unwrap())
}

#[test]
fn blocks_are_written_in_order_and_read_as_they_lie() {
    for codec in CODECS {
        let file = blocks_of(&[3, 0, 5], codec);
        let texts: Vec<Vec<u8>> = (0..8).map(text).collect();
        assert_eq!(read(&file, Limits::default()).unwrap(), texts, "{codec:?}");
        let head = Head::read(file.as_slice(), Limits::default()).unwrap();
        assert_eq!((head.codec(), head.schema().canonical()), (codec, strings().canonical()));
        let input = &file[head.length() as usize..];
        let blocks = all_blocks(Blocks::new(input, &head, Limits::default(), head.length()), u64::MAX).unwrap();
        assert_eq!(blocks.iter().map(|block| block.count).collect::<Vec<_>>(), [3, 0, 5]);
        assert_eq!(blocks[0].offset, head.length());
        let (mut decompressor, mut out) = (Decompressor::new(codec, Limits::default()), Vec::new());
        for (block, expected) in blocks.iter().zip([&texts[..3], &[], &texts[3..]]) {
            decompressor.open(block, &mut out).unwrap();
            assert_eq!(out, expected.concat());
        }
    }
}

#[test]
fn a_block_after_a_broken_one_opens_in_the_same_memory() {
    for codec in [Codec::Snappy, Codec::Zstandard] {
        let data = codec.compress(&text(5000)).unwrap();
        let (mut decompressor, mut out) =
            (Decompressor::new(codec, Limits { block: 6000, total: u64::MAX }), Vec::new());
        let broken = Block { offset: 0, count: 1, data: data[..data.len() / 2].to_vec() };
        assert!(decompressor.open(&broken, &mut out).is_err(), "{codec:?}");
        let bomb = Block { offset: 0, count: 1, data: codec.compress(&text(1 << 20)).unwrap() };
        assert!(matches!(decompressor.open(&bomb, &mut out), Err(Error::TooLarge { .. })), "{codec:?}");
        decompressor.open(&Block { offset: 0, count: 1, data }, &mut out).unwrap();
        assert_eq!(out, text(5000));
    }
}

#[test]
fn a_writer_that_is_given_blocks_keeps_what_it_was_given_before() {
    let mut writer = Writer::new(Vec::new(), &strings(), Codec::Null).unwrap();
    writer.append(&text(1)).unwrap();
    writer.append_block(1, &text(2)).unwrap();
    writer.append(&text(3)).unwrap();
    let file = writer.finish().unwrap();
    assert_eq!(read(&file, Limits::default()).unwrap(), [text(1), text(2), text(3)]);
}

proptest! {
    /// However a file is cut into parts, each block is in one of them and in no other, in order.
    #[test]
    fn parts_have_each_block_once(
        sizes in proptest::collection::vec(0_usize..12, 0..30), part in 1_u64..700, codec in 0_usize..4
    ) {
        let file = blocks_of(&sizes, CODECS[codec]);
        let head = Head::read(file.as_slice(), Limits::default()).unwrap();
        let input = &file[head.length() as usize..];
        let all = all_blocks(Blocks::new(input, &head, Limits::default(), head.length()), u64::MAX).unwrap();
        let parts = (file.len() as u64).div_ceil(part);
        let found: Vec<Vec<Block>> =
            (0..parts).map(|k| stretch(&file, &head, k * part, (k + 1) * part)).collect();
        for (k, blocks) in found.iter().enumerate() {
            for block in blocks {
                prop_assert_eq!(block.offset / part, k as u64);
            }
        }
        prop_assert_eq!(found.concat(), all);
    }

    #[test]
    fn damaged_files_never_panic(at in 0_usize..400, byte: u8, cut in 0_usize..400, codec in 0_usize..4) {
        let data: Vec<_> = (0..20).map(text).collect();
        let mut file = file(&strings(), CODECS[codec], &data);
        let at = at % file.len();
        file[at] = byte;
        file.truncate(file.len().saturating_sub(cut % 40));
        let _ = read(&file, Limits { block: 1 << 16, total: 1 << 20 });
    }
}
