//! What there is to do, and what comes of it is called.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use jiff::Timestamp;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// The end of an input's name, which its scores' name lacks.
const AVRO: &str = ".avro";

/// A file of events.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) place: Place,
    /// Its name below the prefix or the folder that it was found by.
    pub(super) name: String,
    /// Bytes.
    pub(super) size: u64,
    pub(super) modified: Timestamp,
    /// A local file's, once it was needed: all parts have the same.
    pub(super) version: Mutex<Option<String>>,
}

/// Where a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// An object of S3, and which one of those that had its key.
    S3 { bucket: String, key: String, etag: String },
    /// A local file.
    File(PathBuf),
}

impl Object {
    /// What names it with its version: a local file has no bucket, and is known by its name wherever it lies.
    pub(super) fn bucket_and_key(&self) -> (&str, &str) {
        match &self.place {
            Place::S3 { bucket, key, .. } => (bucket, key),
            Place::File(_) => ("", &self.name),
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::S3 { bucket, key, .. } => write!(f, "s3://{bucket}/{key}"),
            Place::File(path) => path.display().fmt(f),
        }
    }
}

/// A part of an object: the blocks that begin in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Which one, from 0.
    pub(super) index: u64,
    /// Of how many.
    pub(super) of: u64,
    /// Bytes of each.
    pub(super) size: u64,
}

impl Part {
    /// The parts of an object of `size` bytes; an empty one is one as well.
    pub(super) fn all(size: u64, part: u64) -> impl Iterator<Item = Self> {
        let of = size.div_ceil(part).max(1);
        (0..of).map(move |index| Self { index, of, size: part })
    }

    /// Where it begins in the object, in bytes.
    pub(super) fn begin(self) -> u64 {
        self.index * self.size
    }

    /// Where it ends: the first byte that is not in it. The last one has no end but the object's.
    pub(super) fn end(self) -> u64 {
        if self.index + 1 == self.of { u64::MAX } else { (self.index + 1) * self.size }
    }
}

/// A piece of work: it has one output.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) object: Arc<Object>,
    pub(super) part: Part,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, part } = self;
        match part.of {
            1 => object.fmt(f),
            of => write!(f, "{object} (part {} of {of})", part.index + 1),
        }
    }
}

/// One of several processes that share the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    /// Which one, from 0.
    pub(super) index: u64,
    /// Of how many.
    pub(super) of: u64,
}

impl Item {
    /// Bytes of the object that are its part's.
    pub(super) fn size(&self) -> u64 {
        let Self { object, part } = self;
        part.end().min(object.size).saturating_sub(part.begin())
    }

    /// Whether it is that shard's. It depends on the name alone, neither on its place in a listing nor on its version: an
    /// object that comes while shards start is one shard's, and moves no other to another.
    pub(super) fn is_of(&self, shard: Shard) -> bool {
        let (bucket, key) = self.object.bucket_and_key();
        xxh3_64(format!("{bucket}\n{key}\n{}", self.part.index).as_bytes()) % shard.of == shard.index
    }

    /// What its scores are called below the destination: the same for the same version of the same object, another one for
    /// another.
    pub(super) fn output(&self, version: &str) -> String {
        let (bucket, key) = self.object.bucket_and_key();
        let name = self.object.name.strip_suffix(AVRO).unwrap_or(&self.object.name);
        let hash = format!("{:032x}", xxh3_128(format!("{bucket}\n{key}\n{version}").as_bytes()));
        let part = match self.part.of {
            1 => String::new(),
            of => format!(".{}-of-{of}", self.part.index + 1),
        };
        format!("{name}.{}{part}.scored{AVRO}", &hash[..12])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn item(key: &str, name: &str, part: Part) -> Item {
        let place = Place::S3 { bucket: "b".into(), key: key.into(), etag: "e".into() };
        let object =
            Object { place, name: name.into(), size: 10, modified: Timestamp::UNIX_EPOCH, version: Mutex::default() };
        Item { object: Arc::new(object), part }
    }

    const WHOLE: Part = Part { index: 0, of: 1, size: 1 << 30 };

    #[test]
    fn names_are_readable_and_functions_of_the_version() {
        let name = |key: &str, version| item(key, key.strip_prefix("in/").unwrap(), WHOLE).output(version);
        let first = name("in/a b+c%20ü/x.avro", "e1");
        let (readable, rest) = first.split_at("a b+c%20ü/x.".len());
        assert_eq!(readable, "a b+c%20ü/x.");
        assert!(rest.len() == 12 + ".scored.avro".len() && rest[..12].chars().all(|c| c.is_ascii_hexdigit()), "{rest}");
        assert_eq!(name("in/a b+c%20ü/x.avro", "e1"), first);
        assert_ne!(name("in/a b+c%20ü/x.avro", "e2"), first);
        assert!(name("in/avro", "e").starts_with("avro."));
        // Alike below their prefixes, and still two objects.
        assert_ne!(item("in/x", "x", WHOLE).output("e"), item("old/x", "x", WHOLE).output("e"));
        let part = Part { index: 1, of: 3, size: 4 };
        assert!(item("in/x.avro", "x.avro", part).output("e").ends_with(".2-of-3.scored.avro"));
    }

    /// Names and shards outlive the process: what one release has written, the next one replaces.
    #[test]
    fn hashes_never_change() {
        assert_eq!(xxh3_64(b""), 0x2D06_8005_38D3_94C2);
        assert_eq!(xxh3_128(b""), 0x99AA_06D3_0147_98D8_6001_C324_468D_497F);
    }

    proptest! {
        #[test]
        fn each_item_is_of_one_shard(key in "[a-z/ +%é]{1,20}", index in 0_u64..9, of in 1_u64..9) {
            let item = item(&key, &key, Part { index, of: 9, size: 1 });
            let shards = (0..of).filter(|shard| item.is_of(Shard { index: *shard, of })).count();
            prop_assert_eq!(shards, 1);
        }

        #[test]
        fn parts_cover_an_object_once(size in 0_u64..1000, part in 1_u64..100) {
            let parts: Vec<Part> = Part::all(size, part).collect();
            prop_assert_eq!(parts[0].begin(), 0);
            prop_assert_eq!(parts.last().unwrap().end(), u64::MAX);
            for pair in parts.windows(2) {
                prop_assert_eq!(pair[0].end(), pair[1].begin());
            }
            prop_assert!(parts.last().unwrap().begin() <= size.saturating_sub(1));
        }
    }
}
