//! Names and labels that Kubernetes takes, each still of one thing only.

use sha2::{Digest as _, Sha256};

/// The longest name of a Job: a DNS label of 63, less what the name of a shard's host has after it (`-99999`).
const MAX_NAME: usize = 57;
/// The longest value of a label.
const MAX_LABEL: usize = 63;

/// A Job's name from one that nothing else has: lower-case letters, digits and dashes. What does not fit ends with a hash of
/// the whole.
pub fn name(unique: &str) -> String {
    let fits = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-';
    fitting(unique, MAX_NAME, |it| it.to_ascii_lowercase(), fits)
}

/// The value of a label. What does not fit ends with a hash of the whole.
pub fn label(value: &str) -> String {
    fitting(value, MAX_LABEL, |it| it, |it| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.'))
}

fn fitting(text: &str, most: usize, turn: impl Fn(char) -> char, fits: impl Fn(char) -> bool) -> String {
    let is_end = |it: char| it.is_ascii_alphanumeric();
    if text.len() <= most && text.chars().all(&fits) && text.starts_with(is_end) && text.ends_with(is_end) {
        return text.to_owned();
    }
    let hash = hash(text);
    let plain: String = text.chars().map(turn).map(|it| if fits(it) { it } else { '-' }).collect();
    let begin: String = plain.trim_start_matches(|it| !is_end(it)).chars().take(most - hash.len() - 1).collect();
    let begin = begin.trim_end_matches(|it| !is_end(it));
    if begin.is_empty() { format!("x-{hash}") } else { format!("{begin}-{hash}") }
}

/// 64 bits of SHA-256, the same in every version: a Job is found again by its name.
fn hash(text: &str) -> String {
    let digest = Sha256::digest(text);
    let first = digest.first_chunk().copied().unwrap_or_default();
    format!("{:016x}", u64::from_be_bytes(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stays_and_what_does_not_is_still_of_one_thing_only() {
        assert_eq!(name("hourly-r17-t3-n1-41"), "hourly-r17-t3-n1-41");
        let long = |end: &str| name(&format!("{}-{end}", "a".repeat(60)));
        assert_ne!(long("r1"), long("r2"));
        assert!(long("r1").len() <= MAX_NAME && long("r1").starts_with("aaa"));
        assert_eq!(label("load_all.v2"), "load_all.v2");
        assert_ne!(label("_load"), label("load"), "an underscore cannot begin a label");
        for odd in ["", "_", "___", "-x-", "Ä", &"_".repeat(80), &"ab-".repeat(30)] {
            for made in [name(odd), label(odd)] {
                let ends = |it: char| it.is_ascii_alphanumeric();
                assert!(made.len() <= MAX_LABEL && made.starts_with(ends) && made.ends_with(ends), "{odd:?} {made:?}");
            }
        }
    }
}
