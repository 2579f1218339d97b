//! Ids: which one an event has, and how the derived ones come about.

use std::fmt;

use uuid::Uuid;

/// The longest event id that is taken, in bytes: it is a primary key and a header.
pub const MAX_EVENT_ID: usize = 256;

/// Namespace of every UUIDv5 of ours: UUIDv5 of the DNS name `millrace.dev`.
const NAMESPACE: Uuid = Uuid::from_u128(0x9f4b_8d2e_6f0c_5a1d_8e7a_3c5b_1d2f_4a60);

/// Why an id was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing in it.
    #[error("an event id must not be empty")]
    Empty,
    /// Over [`MAX_EVENT_ID`].
    #[error("an event id of {0} bytes is over the limit of {MAX_EVENT_ID}")]
    TooLong(usize),
    /// Control characters break logs and headers, and Postgres cannot store NUL.
    #[error("an event id must not contain control characters")]
    Control,
}

/// Checks what a client sent as an event's id.
pub fn check_event_id(id: &str) -> Result<(), Error> {
    match id {
        "" => Err(Error::Empty),
        long if long.len() > MAX_EVENT_ID => Err(Error::TooLong(long.len())),
        bad if bad.chars().any(char::is_control) => Err(Error::Control),
        _ => Ok(()),
    }
}

/// A new event or correlation id: UUIDv7, so that it sorts by time.
pub fn mint() -> Uuid {
    Uuid::now_v7()
}

/// The id of an event that came without one from a foreign producer: the same for each reading of the same record.
pub fn from_record(topic_id: impl fmt::Display, partition: i32, offset: i64) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("record\n{topic_id}\n{partition}\n{offset}").as_bytes())
}

/// The id of an event that came without one in a file: the same for each reading of the same version of it. `version` is
/// that of the object, or its etag; `block` is where the event's block begins in the file, in bytes, and `index` is the
/// event's place in the block: both are known to whoever begins to read in the middle.
pub fn from_object(bucket: &str, key: &str, version: &str, block: u64, index: u64) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("object\n{bucket}\n{key}\n{version}\n{block}\n{index}").as_bytes())
}

/// A verdict's id. A replay under the same policy and model gives the same one, so that consumers can drop repeats.
pub fn verdict(pipeline: &str, event_id: &str, policy_revision: &str, model_version: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("verdict\n{pipeline}\n{event_id}\n{policy_revision}\n{model_version}").as_bytes())
}

/// A dead letter's id: listed once however often it was written.
pub fn dead_letter(stage: &str, topic: &str, partition: i32, offset: i64) -> String {
    format!("{stage}:{topic}:{partition}:{offset}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_ids_are_functions_of_their_parts() {
        assert_eq!(from_record("t", 1, 2), from_record("t", 1, 2));
        assert_ne!(from_record("t", 1, 2), from_record("t", 12, 2));
        assert_ne!(from_object("b", "k", "v", 1, 12), from_object("b", "k", "v", 11, 2));
        assert_ne!(verdict("p", "e", "r", "m"), verdict("p", "e", "r", "n"));
        assert_eq!(verdict("p", "e", "r", "m").get_version_num(), 5);
    }

    #[test]
    fn bad_event_ids_are_named() {
        assert_eq!(check_event_id(""), Err(Error::Empty));
        assert_eq!(check_event_id(&"x".repeat(300)), Err(Error::TooLong(300)));
        assert_eq!(check_event_id("a\0b"), Err(Error::Control));
        assert_eq!(check_event_id("mail/00001.7c53336b37003a9286aba55d2945844c"), Ok(()));
    }
}
