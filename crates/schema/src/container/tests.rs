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

proptest! {
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
