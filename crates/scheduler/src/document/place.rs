//! Where things are that tasks wait for: objects of S3, queues of SQS.

/// Where an object is, or several.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ObjectPlace {
    /// `s3://bucket/a/key`: that object.
    Key {
        /// Its bucket.
        bucket: String,
        /// Its key.
        key: String,
    },
    /// `s3://bucket/a/`: any whose key begins with it.
    Below {
        /// Their bucket.
        bucket: String,
        /// What their keys begin with; ends with `/`, or is empty.
        prefix: String,
    },
    /// `s3://bucket/a/part-*.avro`: any that is like it, with `*` for any text without `/`, and `?` for one character.
    Like {
        /// Their bucket.
        bucket: String,
        /// What their keys are like.
        pattern: String,
    },
}

impl ObjectPlace {
    /// Reads a URI.
    pub fn parse(uri: &str) -> Result<Self, String> {
        let rest = uri.strip_prefix("s3://").ok_or("expected s3://bucket/key")?;
        let (bucket, key) = rest.split_once('/').ok_or("expected s3://bucket/key: there is no key")?;
        let named = |it: char| it.is_ascii_alphanumeric() || "-_.:".contains(it);
        if bucket.len() < 3 || !bucket.chars().all(named) {
            return Err(format!("{bucket:?} is no name of a bucket"));
        }
        if key.len() > 1024 {
            return Err(format!("a key of {} bytes; at most 1024", key.len()));
        }
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        let last = key.rfind('/').map_or(0, |at| at + 1);
        Ok(match key.find(['*', '?']) {
            Some(at) if at < last => return Err("`*` and `?` are for the last part of a key".to_owned()),
            Some(_) => Self::Like { bucket, pattern: key },
            None if last == key.len() => Self::Below { bucket, prefix: key },
            None => Self::Key { bucket, key },
        })
    }

    /// What all keys that it is about begin with.
    pub fn prefix(&self) -> &str {
        match self {
            Self::Key { key, .. } => key,
            Self::Below { prefix, .. } => prefix,
            Self::Like { pattern, .. } => &pattern[..pattern.find(['*', '?']).unwrap_or(pattern.len())],
        }
    }

    /// Whether it is about an object of that key.
    pub fn fits(&self, candidate: &str) -> bool {
        match self {
            Self::Key { key, .. } => candidate == key,
            // The prefix itself is what stands for a folder in some tools.
            Self::Below { prefix, .. } => candidate.len() > prefix.len() && candidate.starts_with(prefix.as_str()),
            Self::Like { pattern, .. } => like(pattern, candidate),
        }
    }
}

/// `*` is any text without `/`, `?` one character that is none.
fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut seen) = (0, 0);
    // Where the last star is, and what it has taken: it takes one more when what follows does not fit.
    let mut star: Option<(usize, usize)> = None;
    while seen < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some('?') if text[seen] != '/' => (at, seen) = (at + 1, seen + 1),
            Some(it) if *it == text[seen] => (at, seen) = (at + 1, seen + 1),
            _ => match star {
                Some((place, taken)) if text[taken] != '/' => {
                    star = Some((place, taken + 1));
                    (at, seen) = (place + 1, taken + 1);
                }
                _ => return false,
            },
        }
    }
    pattern[at..].iter().all(|it| *it == '*')
}

/// What is wrong with the URL of a queue: `https://sqs.<region>.amazonaws.com/<account>/<name>`, or a stand-in's.
pub fn wrong_queue(url: &str) -> Option<String> {
    let expected = "expected a queue's URL: https://sqs.<region>.amazonaws.com/<account>/<name>";
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some((host, path)) = rest.and_then(|rest| rest.split_once('/')) else { return Some(expected.to_owned()) };
    let parts: Vec<&str> = path.split('/').collect();
    let named = |it: char| it.is_ascii_alphanumeric() || "-_.".contains(it);
    let wrong = host.is_empty()
        || parts.len() < 2
        || parts.iter().any(|part| part.is_empty() || !part.chars().all(named))
        || parts.last().is_some_and(|name| name.len() > 80);
    wrong.then(|| expected.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_uri_is_a_key_a_prefix_or_a_pattern() {
        let parse = |uri: &str| ObjectPlace::parse(uri).map(|place| (place.prefix().to_owned(), place));
        assert!(matches!(parse("s3://inbox/2026/11/_SUCCESS"), Ok((_, ObjectPlace::Key { .. }))));
        assert!(matches!(parse("s3://inbox/2026/11/"), Ok((_, ObjectPlace::Below { .. }))));
        assert!(matches!(parse("s3://inbox/"), Ok((_, ObjectPlace::Below { .. }))));
        let (prefix, place) = parse("s3://inbox/11/part-?0*.avro").unwrap();
        assert_eq!(prefix, "11/part-");
        assert!(place.fits("11/part-00.avro") && place.fits("11/part-10-x.avro"));
        assert!(
            !place.fits("11/part-00.avro.tmp") && !place.fits("11/part-00/x.avro") && !place.fits("11/part-1.avro")
        );
        for (uri, said) in [
            ("/etc/passwd", "expected s3://bucket/key"),
            ("s3://inbox", "there is no key"),
            ("s3://in box/key", "no name of a bucket"),
            ("s3://inbox/*/key", "for the last part"),
        ] {
            let problem = ObjectPlace::parse(uri).unwrap_err();
            assert!(problem.contains(said), "{uri}: {problem}");
        }
    }

    #[test]
    fn keys_are_taken_as_they_are() {
        let place = ObjectPlace::parse("s3://inbox/a b+c%20.avro").unwrap();
        assert!(place.fits("a b+c%20.avro"));
    }

    #[test]
    fn a_queue_has_an_account_and_a_name() {
        for good in ["https://sqs.eu-west-1.amazonaws.com/123456789012/inbox.fifo", "http://127.0.0.1:4566/queue/inbox"]
        {
            assert_eq!(wrong_queue(good), None, "{good}");
        }
        for wrong in [
            "inbox",
            "https://sqs.eu-west-1.amazonaws.com",
            "https://host/inbox",
            "https:///1/inbox",
            "https://h/1/a b",
        ] {
            assert!(wrong_queue(wrong).is_some(), "{wrong}");
        }
    }

    /// The same by recursion.
    fn simply(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', rest @ ..], _) => {
                simply(rest, text) || text.split_first().is_some_and(|(it, left)| *it != '/' && simply(pattern, left))
            }
            (['?', rest @ ..], [it, left @ ..]) => *it != '/' && simply(rest, left),
            ([wanted, rest @ ..], [it, left @ ..]) => wanted == it && simply(rest, left),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn patterns_mean_what_the_simplest_reading_of_them_does(pattern in "[ab*?/]{0,8}", text in "[ab/]{0,8}") {
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(like(&pattern, &text), simply(&p, &t));
        }
    }
}
