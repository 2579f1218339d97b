//! Dead letters: the record as it was, with headers that say what happened to it; and who reads a redriven one.

use std::sync::Arc;

use millrace_core::{Code, header};

use crate::{
    error::Error,
    headers::Headers,
    producer::Producer,
    record::{Outgoing, Record},
};

/// Reasons are for people; a longer one is cut, so that the letter is never much larger than its record.
const MAX_REASON: usize = 2048;

/// Who gave a record up, where it was read, and why.
#[derive(Clone, Copy, Debug)]
pub struct Verdict<'a> {
    /// The stage that gave up: `scorer`, `importer`, `judge`, `notify`.
    pub stage: &'a str,
    /// What is wrong, for programs.
    pub code: Code,
    /// What is wrong, for people.
    pub reason: &'a str,
    /// The consumer group that read it.
    pub group: &'a str,
    /// Where it was read: topic.
    pub topic: &'a str,
    /// Where it was read: partition.
    pub partition: i32,
}

/// The dead letter of a record: its key, value and headers, and what happened to it.
pub fn letter(dead_topic: &Arc<str>, record: &Record, verdict: Verdict<'_>) -> Outgoing {
    let mut headers: Headers = record
        .headers
        .iter()
        .filter(|(name, _)| keeps(name))
        .map(|(name, value)| (crate::headers::intern(name), bytes::Bytes::copy_from_slice(value)))
        .collect();
    for (name, value) in describe(verdict, record.offset) {
        headers.push(name, value);
    }
    Outgoing {
        topic: Arc::clone(dead_topic),
        partition: None,
        key: record.key.clone(),
        value: record.value.clone(),
        headers,
        timestamp_ms: None,
    }
}

/// Sends letters. Fails with those that are to be sent again, and the last reason. One that its headers have made larger
/// than Kafka takes goes without its value: the record itself stays where the letter says that it is.
pub async fn send(producer: &Producer, mut letters: Vec<Outgoing>) -> Result<(), (Vec<Outgoing>, Error)> {
    loop {
        let (mut again, mut cause) = (Vec::new(), None);
        for sent in producer.send_all(letters).await {
            match sent {
                Ok(_) => {}
                Err((mut letter, Error::TooLarge { .. })) if letter.value.is_some() => {
                    letter.value = None;
                    letter.headers.set(header::dead::VALUE, "left out: over the limit with these headers");
                    again.push(letter);
                }
                Err((letter, error)) => {
                    again.push(letter);
                    cause = Some(error);
                }
            }
        }
        match cause {
            Some(cause) => return Err((again, cause)),
            None if again.is_empty() => return Ok(()),
            None => letters = again,
        }
    }
}

/// Whether a group reads a record: a redriven one is for one group only.
pub fn is_for(redrive_for: Option<&[u8]>, group: &str) -> bool {
    redrive_for.is_none_or(|target| target == group.as_bytes())
}

/// Whether a record's own header goes into its dead letter. What an earlier death left is replaced, and the letter is
/// for whoever redrives it next.
pub(crate) fn keeps(name: &str) -> bool {
    name != header::REDRIVE_FOR && !name.starts_with("dead-")
}

/// The headers of a dead letter beside the record's own.
pub(crate) fn describe(verdict: Verdict<'_>, offset: i64) -> [(&'static str, String); 8] {
    [
        (header::dead::STAGE, verdict.stage.to_owned()),
        (header::dead::CODE, verdict.code.as_str().to_owned()),
        (header::dead::REASON, cut(verdict.reason).to_owned()),
        (header::dead::TOPIC, verdict.topic.to_owned()),
        (header::dead::PARTITION, verdict.partition.to_string()),
        (header::dead::OFFSET, offset.to_string()),
        (header::dead::GROUP, verdict.group.to_owned()),
        (header::dead::AT, now()),
    ]
}

/// RFC 3339 in UTC with milliseconds.
fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

fn cut(reason: &str) -> &str {
    let mut end = reason.len().min(MAX_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            offset: 42,
            timestamp_ms: Some(1),
            key: Some("k".into()),
            value: Some("v".into()),
            headers: [("event-id", "e"), ("redrive-for", "g"), ("dead-reason", "old")].into_iter().collect(),
        }
    }

    #[test]
    fn a_letter_holds_the_record_and_its_latest_death_only() {
        let verdict =
            Verdict { stage: "scorer", code: Code::Corrupt, reason: "cut off", group: "g", topic: "t", partition: 3 };
        let letter = letter(&"p.dead".into(), &record(), verdict);
        assert_eq!((letter.key.as_deref(), letter.value.as_deref()), (Some(&b"k"[..]), Some(&b"v"[..])));
        let text = |name| letter.headers.text(name);
        assert_eq!((text("event-id"), text("redrive-for")), (Some("e"), None));
        assert_eq!((text("dead-stage"), text("dead-code")), (Some("scorer"), Some("CORRUPT")));
        assert_eq!(
            (text("dead-topic"), text("dead-partition"), text("dead-offset")),
            (Some("t"), Some("3"), Some("42"))
        );
        assert_eq!(letter.headers.iter().filter(|(name, _)| *name == "dead-reason").count(), 1);
        let at = text("dead-at").unwrap();
        assert!(at.ends_with('Z') && at.len() == "2026-01-01T00:00:00.000Z".len(), "{at}");
    }

    #[test]
    fn a_redriven_record_is_for_one_group() {
        assert!(is_for(None, "a") && is_for(Some(b"a"), "a") && !is_for(Some(b"b"), "a"));
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let long = "ä".repeat(MAX_REASON);
        assert_eq!(cut(&long).len(), MAX_REASON);
        assert_eq!(cut(&format!("a{long}")).len(), MAX_REASON - 1);
        assert_eq!(cut("short"), "short");
    }
}
