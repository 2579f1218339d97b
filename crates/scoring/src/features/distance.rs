/// The number of insertions, deletions and substitutions between two texts, or `bound` if there are more. ASCII letters
/// are equal to their other case; texts are taken as bytes and of each only the first 64.
///
/// Myers 1999, a column of the table in one word: "A fast bit-vector algorithm for approximate string matching".
pub(super) fn distance(a: &str, b: &str, bound: u32) -> u32 {
    let a = &a.as_bytes()[..a.len().min(64)];
    let b = &b.as_bytes()[..b.len().min(64)];
    if a.is_empty() || b.is_empty() || a.len().abs_diff(b.len()) >= bound as usize {
        return (a.len().max(b.len()) as u32).min(bound);
    }
    // Where each byte stands in `a`; names of mail are within the 128 of ASCII, the rest shares places.
    let mut places = [0_u64; 128];
    let place = |byte: u8| usize::from(byte.to_ascii_lowercase() & 0x7F);
    for (i, byte) in a.iter().enumerate() {
        places[place(*byte)] |= 1 << i;
    }
    let (mut plus, mut minus, mut score) = (u64::MAX, 0_u64, a.len() as u32);
    let last = 1_u64 << (a.len() - 1);
    for byte in b {
        let equal = places[place(*byte)];
        let x = equal | minus;
        let d0 = ((equal & plus).wrapping_add(plus) ^ plus) | x;
        let mut up = minus | !(d0 | plus);
        let mut down = plus & d0;
        score += u32::from(up & last != 0);
        score -= u32::from(down & last != 0);
        up = (up << 1) | 1;
        down <<= 1;
        plus = down | !(d0 | up);
        minus = up & d0;
    }
    score.min(bound)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition.
    fn slow(a: &[u8], b: &[u8]) -> u32 {
        let mut row: Vec<u32> = (0..=b.len() as u32).collect();
        for (i, x) in a.iter().enumerate() {
            let mut corner = row[0];
            row[0] = i as u32 + 1;
            for (j, y) in b.iter().enumerate() {
                let here = (corner + u32::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
                corner = std::mem::replace(&mut row[j + 1], here);
            }
        }
        row[b.len()]
    }

    #[test]
    fn look_alikes_are_near() {
        assert_eq!(distance("paypal.com", "PayPa1.com", 9), 1);
        assert_eq!(distance("example.org", "example.org", 9), 0);
        assert_eq!(distance("a", "entirely-different.example", 9), 9);
        assert_eq!(distance("", "abc", 9), 3);
    }

    proptest! {
        #[test]
        fn it_is_the_distance_of_the_definition(a in "[a-d]{0,70}", b in "[a-d]{0,70}", bound in 1_u32..80) {
            let (x, y) = (&a.as_bytes()[..a.len().min(64)], &b.as_bytes()[..b.len().min(64)]);
            prop_assert_eq!(distance(&a, &b, bound), slow(x, y).min(bound));
        }
    }
}
