/// Whether a text fits a pattern, in which `*` stands for any characters, or none.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    // The leftmost place of each leaves most to those after it.
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::fits;

    #[test]
    fn a_star_is_any_characters_or_none() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("object.*", "object.created", true),
            ("object.*", "objects", false),
            ("in/*/day.avro", "in/acme/day.avro", true),
            ("in/*/day.avro", "in/day.avro", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*a*b*", "xbxaxbx", true),
            ("*ab*ab", "ab", false),
            ("ü*", "über", true),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    /// The definition, letter by letter.
    fn slow(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, _) => text.is_empty(),
            (Some(('*', rest)), None) => slow(rest, text),
            (Some(('*', rest)), Some((_, later))) => slow(rest, text) || slow(pattern, later),
            (Some(_), None) => false,
            (Some((a, rest)), Some((b, later))) => a == b && slow(rest, later),
        }
    }

    proptest! {
        #[test]
        fn patterns_go_by_their_definition(pattern in "[ab*]{0,7}", text in "[ab]{0,9}") {
            let letters = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(fits(&pattern, &text), slow(&letters(&pattern), &letters(&text)));
        }
    }
}
