//! The hash of keys. It is written into bundles, which outlive the process that made them: XXH3-64 with fixed seeds, as
//! its specification has it, over bytes that do not depend on the machine. Golden vectors are in the test.

use xxhash_rust::xxh3::xxh3_64_with_seed;

const TEXT: u64 = 1;
const NUMBER: u64 = 2;
const PAIR: u64 = 3;

/// The hash of no value, which is a key as well.
pub(crate) const NULL: u64 = 0x6E75_6C6C;

/// Of a text, without regard to the case of ASCII letters.
pub(crate) fn text(text: &str) -> u64 {
    let mut buffer = [0_u8; 128];
    match buffer.get_mut(..text.len()) {
        Some(lower) => {
            lower.copy_from_slice(text.as_bytes());
            lower.make_ascii_lowercase();
            xxh3_64_with_seed(lower, TEXT)
        }
        None => xxh3_64_with_seed(text.to_ascii_lowercase().as_bytes(), TEXT),
    }
}

/// Of a whole number.
pub(crate) fn number(number: i64) -> u64 {
    xxh3_64_with_seed(&number.to_le_bytes(), NUMBER)
}

/// Of a combination: the order counts.
pub(crate) fn pair(first: u64, second: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&first.to_le_bytes());
    bytes[8..].copy_from_slice(&second.to_le_bytes());
    xxh3_64_with_seed(&bytes, PAIR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_never_change() {
        // From the reference implementation, by Python's `xxhash`: xxh3_64_intdigest(b"example.org", 1) and so on.
        assert_eq!(text("example.org"), 16_058_069_214_176_319_166);
        assert_eq!(number(-7), 2_352_378_247_824_154_299);
        assert_eq!(pair(1, 2), 993_242_001_526_103_768);
    }

    #[test]
    fn case_is_of_no_matter_and_long_texts_have_hashes() {
        assert_eq!(text("Example.ORG"), text("example.org"));
        assert_eq!(text(&"A".repeat(500)), text(&"a".repeat(500)));
        assert_ne!(pair(1, 2), pair(2, 1));
    }
}
