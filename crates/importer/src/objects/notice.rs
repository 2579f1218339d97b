//! What a message of the queue says: S3's notification as it is, or in the envelope of SNS or of EventBridge.

use millrace_core::Code;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::Value;

use crate::error::Reject;

/// The reason in messages that ask for an object once more, though it is in (`millrace import redrive`).
const AGAIN: &str = "millrace:again";

/// The longest key of an object, in bytes.
const MAX_KEY: usize = 1_024;
/// The longest name of a bucket.
const MAX_BUCKET: usize = 255;

/// What is in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Objects of which something has happened.
    Changes(Vec<Change>),
    /// S3 tries whether its notifications arrive.
    Test,
}

/// Something has happened to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) bucket: String,
    /// As it is: not encoded.
    pub(crate) key: String,
    /// Bytes, as far as it is said.
    pub(crate) size: u64,
    /// It is to be imported though it is in.
    pub(crate) again: bool,
    /// It was written; else it was removed, or something that is none of an importer's business.
    pub(crate) written: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    event_name: String,
    s3: S3,
}

#[derive(Deserialize)]
struct S3 {
    bucket: Named,
    object: Object,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Object {
    key: String,
    #[serde(default)]
    size: u64,
}

impl Notice {
    /// Reads a message's body.
    pub(crate) fn parse(body: &str) -> Result<Self, Reject> {
        let value: Value = serde_json::from_str(body).map_err(|error| fault(format!("it is no JSON: {error}")))?;
        Self::read(value, true)
    }

    fn read(mut value: Value, may_be_wrapped: bool) -> Result<Self, Reject> {
        if let Some(Value::Array(records)) = value.get_mut("Records").map(Value::take) {
            return records.into_iter().map(change).collect::<Result<_, _>>().map(Self::Changes);
        }
        if value["Event"] == "s3:TestEvent" {
            return Ok(Self::Test);
        }
        if let Some(Value::String(inner)) = value.get("Message")
            && may_be_wrapped
        {
            let inner = serde_json::from_str(inner)
                .map_err(|error| fault(format!("the message in the envelope of SNS is no JSON: {error}")))?;
            return Self::read(inner, false);
        }
        if value["source"] == "aws.s3" && value["detail"].is_object() {
            return bridged(value).map(|change| Self::Changes(vec![change]));
        }
        Err(fault("it has neither Records of S3, nor an envelope of SNS or EventBridge around them"))
    }
}

/// A record of S3's own. Keys in it are encoded as in forms.
fn change(record: Value) -> Result<Change, Reject> {
    let Record { event_name, s3 } =
        serde_json::from_value(record).map_err(|error| fault(format!("a record of S3 in it: {error}")))?;
    let spaced = s3.object.key.replace('+', " ");
    let key = percent_decode_str(&spaced).decode_utf8();
    let key = key.map_err(|_| fault(format!("the key `{}` is not UTF-8 once it is decoded", s3.object.key)))?;
    check(&s3.bucket.name, &key)?;
    Ok(Change {
        bucket: s3.bucket.name,
        key: key.into_owned(),
        size: s3.object.size,
        again: false,
        written: event_name.trim_start_matches("s3:").starts_with("ObjectCreated:"),
    })
}

/// An event of EventBridge, whose keys are as they are. Our own are of this form, with a reason that S3 does not have.
fn bridged(mut value: Value) -> Result<Change, Reject> {
    let written = value["detail-type"] == "Object Created";
    let again = value["detail"]["reason"] == AGAIN;
    let S3 { bucket, object } =
        serde_json::from_value(value["detail"].take()).map_err(|error| fault(format!("the detail in it: {error}")))?;
    let Object { key, size } = object;
    check(&bucket.name, &key)?;
    Ok(Change { bucket: bucket.name, key, size, again, written })
}

/// What S3 has no objects for.
fn check(bucket: &str, key: &str) -> Result<(), Reject> {
    let is_name = |text: &str, most: usize| !text.is_empty() && text.len() <= most && !text.contains('\0');
    if is_name(bucket, MAX_BUCKET) && is_name(key, MAX_KEY) {
        Ok(())
    } else {
        Err(fault(format!("an object of S3 has a bucket and a key of at most {MAX_KEY} bytes, without zeros")))
    }
}

fn fault(problem: impl std::fmt::Display) -> Reject {
    Reject::new(Code::InvalidRequest, format!("message is no notification of S3: {problem}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(name: &str, key: &str) -> Value {
        json!({"eventName": name, "eventSource": "aws:s3", "s3": {
            "bucket": {"name": "b", "arn": "arn:aws:s3:::b"},
            "object": {"key": key, "size": 7, "eTag": "e", "sequencer": "0055AED6DCD90281E5"},
        }})
    }

    fn keys(body: &Value) -> Vec<String> {
        match Notice::parse(&body.to_string()).unwrap() {
            Notice::Changes(changes) => changes.into_iter().map(|change| change.key).collect(),
            Notice::Test => panic!("a test event"),
        }
    }

    #[test]
    fn records_come_bare_and_in_the_envelopes_of_others() {
        let bare =
            json!({"Records": [record("ObjectCreated:Put", "in/a+b%2Bc.avro"), record("ObjectCreated:Copy", "d")]});
        assert_eq!(keys(&bare), ["in/a b+c.avro", "d"]);
        let wrapped = json!({"Type": "Notification", "TopicArn": "t", "Message": bare.to_string()});
        assert_eq!(keys(&wrapped), ["in/a b+c.avro", "d"]);
        let bridged = json!({"source": "aws.s3", "detail-type": "Object Created", "detail": {
            "bucket": {"name": "b"}, "object": {"key": "in/a+b", "size": 1, "sequencer": "01"}, "reason": "PutObject"}});
        assert_eq!(keys(&bridged), ["in/a+b"]);
        let again = bridged.to_string().replace("PutObject", "millrace:again");
        assert!(matches!(Notice::parse(&again), Ok(Notice::Changes(changes)) if changes[0].again));
        assert_eq!(keys(&json!({"Records": []})), Vec::<String>::new());
    }

    #[test]
    fn what_happened_is_told_apart() {
        let names = ["ObjectCreated:CompleteMultipartUpload", "s3:ObjectCreated:Put", "ObjectRemoved:Delete"];
        let records: Vec<Value> = names.iter().map(|name| record(name, "k")).collect();
        let Ok(Notice::Changes(changes)) = Notice::parse(&json!({"Records": records}).to_string()) else {
            panic!("no changes")
        };
        assert_eq!(changes.iter().map(|change| change.written).collect::<Vec<_>>(), [true, true, false]);
        assert!(changes.iter().all(|change| !change.again && change.size == 7));
    }

    #[test]
    fn the_test_event_is_known_also_in_an_envelope() {
        let test = json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"});
        assert_eq!(Notice::parse(&test.to_string()).unwrap(), Notice::Test);
        let wrapped = json!({"Message": test.to_string()});
        assert_eq!(Notice::parse(&wrapped.to_string()).unwrap(), Notice::Test);
    }

    #[test]
    fn what_is_none_says_what_is_wrong() {
        for (body, word) in [
            ("", "no JSON"),
            ("{}", "neither"),
            ("[1]", "neither"),
            (r#"{"Records": [{"eventName": "ObjectCreated:Put"}]}"#, "s3"),
            (r#"{"Records": "x"}"#, "neither"),
            (r#"{"Message": "{"}"#, "envelope of SNS"),
            (r#"{"Message": "{\"Message\": \"{}\"}"}"#, "neither"),
            (r#"{"source": "aws.s3", "detail": {"bucket": {}}}"#, "detail"),
        ] {
            let reason = Notice::parse(body).unwrap_err().reason;
            assert!(reason.contains(word), "{body}: {reason}");
        }
        let bad = json!({"Records": [record("ObjectCreated:Put", "%ff")]});
        assert!(Notice::parse(&bad.to_string()).unwrap_err().reason.contains("UTF-8"));
        for key in [String::new(), "a%00b".to_owned(), "k".repeat(2_000)] {
            let bad = json!({"Records": [record("ObjectCreated:Put", &key)]});
            assert!(Notice::parse(&bad.to_string()).unwrap_err().reason.contains("1024 bytes"), "{key}");
        }
    }
}
