//! Waits for objects of S3.

use std::{sync::Arc, time::Instant};

use jiff::Timestamp;
use millrace_aws::{Client, Error, Kind, Object};
use serde_json::{Value, json};

use super::{
    PATIENCE,
    looks::{Looks, PACE},
    trouble::Trouble,
};
use crate::{
    document::{WaitObject, place::ObjectPlace},
    exec::{End, Ended, Failure},
};

/// How many objects a look goes through.
const MOST: usize = 10_000;
/// How many of those that were found are in the output.
const SHOWN: usize = 500;

/// What is looked at together: of patterns, what their keys begin with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Spot {
    Key { bucket: String, key: String },
    List { bucket: String, prefix: String, flat: bool },
}

/// What a look saw.
#[derive(Clone, Debug)]
enum Seen {
    Objects(Arc<Vec<Object>>),
    /// More than can be gone through.
    TooMany,
    Failed(Error),
}

/// What that means to a wait.
#[derive(Clone, Debug, PartialEq)]
enum Verdict {
    Found(Value),
    /// Not yet, and why.
    Not(String),
    /// Waiting does not mend it: code, and why.
    Wrong(&'static str, String),
}

/// Looks for objects, together for all who wait. Cheap to clone.
#[derive(Clone)]
pub(super) struct Objects(Looks<Spot, Seen>);

impl Objects {
    pub(super) fn new(aws: &Client) -> Self {
        let objects = aws.objects();
        Self(Looks::new(PACE, move |spot| look(objects.clone(), spot)))
    }

    pub(super) async fn wait(&self, spec: &WaitObject) -> Ended {
        let wanted = match Wanted::read(spec) {
            Ok(wanted) => wanted,
            Err(problem) => return Ended::hopeless(problem),
        };
        let (mut watched, mut trouble) = (self.0.watch(wanted.spot()), Trouble::default());
        while let Some(seen) = watched.next().await {
            let verdict = wanted.judge(&seen);
            let lasts = trouble.lasts(matches!(verdict, Verdict::Wrong(..)), Instant::now(), PATIENCE);
            match verdict {
                Verdict::Found(output) => return Ended::succeeded(Some(output)),
                Verdict::Wrong(code, message) if lasts => return wrong(code, &message),
                Verdict::Wrong(..) | Verdict::Not(_) => {}
            }
        }
        Ended::new(End::Interrupted("nobody looks for the object any more".to_owned()))
    }

    /// What is not there, by a look of now.
    pub(super) async fn unmet(&self, spec: &WaitObject) -> String {
        let wanted = match Wanted::read(spec) {
            Ok(wanted) => wanted,
            Err(problem) => return problem,
        };
        match wanted.judge(&self.0.once(wanted.spot()).await) {
            Verdict::Found(_) => format!("{} is there since a moment ago", spec.uri),
            Verdict::Not(why) | Verdict::Wrong(_, why) => why,
        }
    }
}

/// A failure by its code, which another attempt may not have: rights are given, buckets are made.
pub(super) fn wrong(code: &'static str, message: &str) -> Ended {
    let message = format!("{message}; so for {} s", PATIENCE.as_secs());
    Ended::new(End::Failed(Failure { message, code: code.to_owned(), exit_code: None, permanent: false }))
}

async fn look(objects: millrace_aws::Objects, spot: Spot) -> Seen {
    let found = match spot {
        Spot::Key { bucket, key } => objects.head(&bucket, &key).await.map(|found| found.into_iter().collect()),
        Spot::List { bucket, prefix, flat } => match objects.list(&bucket, &prefix, flat, MOST).await {
            Ok(listing) if listing.more => return Seen::TooMany,
            listing => listing.map(|listing| listing.objects),
        },
    };
    match found {
        Ok(objects) => Seen::Objects(Arc::new(objects)),
        Err(error) => Seen::Failed(error),
    }
}

/// What one wait wants.
struct Wanted<'a> {
    spec: &'a WaitObject,
    place: ObjectPlace,
    since: Option<Timestamp>,
}

impl<'a> Wanted<'a> {
    fn read(spec: &'a WaitObject) -> Result<Self, String> {
        let place =
            ObjectPlace::parse(&spec.uri).map_err(|problem| format!("wait.object.uri `{}`: {problem}", spec.uri))?;
        let since = spec.since.as_deref().map(str::parse::<Timestamp>).transpose();
        let since = since.map_err(|problem| format!("wait.object.since: {problem}"))?;
        Ok(Self { spec, place, since })
    }

    fn spot(&self) -> Spot {
        let prefix = self.place.prefix().to_owned();
        match &self.place {
            ObjectPlace::Key { bucket, key } => Spot::Key { bucket: bucket.clone(), key: key.clone() },
            ObjectPlace::Below { bucket, .. } => Spot::List { bucket: bucket.clone(), prefix, flat: false },
            ObjectPlace::Like { bucket, .. } => Spot::List { bucket: bucket.clone(), prefix, flat: true },
        }
    }

    fn judge(&self, seen: &Seen) -> Verdict {
        let uri = &self.spec.uri;
        let objects = match seen {
            Seen::Objects(objects) => objects,
            Seen::TooMany => {
                let message = format!("{uri}: more than {MOST} objects begin like that: say more of their keys");
                return Verdict::Wrong("TooMany", message);
            }
            Seen::Failed(error) => return failed(uri, error),
        };
        let like: Vec<&Object> = objects.iter().filter(|object| self.place.fits(&object.key)).collect();
        let good: Vec<&Object> = like.iter().copied().filter(|object| self.lacks(object).is_none()).collect();
        match (good.as_slice(), like.as_slice()) {
            ([], []) => Verdict::Not(match self.place {
                ObjectPlace::Key { .. } => format!("{uri} is not there"),
                ObjectPlace::Below { .. } | ObjectPlace::Like { .. } => format!("there is nothing like {uri}"),
            }),
            ([], [.., last]) => {
                let lacks = self.lacks(last).unwrap_or_default();
                Verdict::Not(format!("{} is there, but {lacks}", self.uri(last)))
            }
            (found, _) => Verdict::Found(self.output(found)),
        }
    }

    /// What an object lacks of what is wanted.
    fn lacks(&self, object: &Object) -> Option<String> {
        if object.size < self.spec.min_size {
            return Some(format!("has {} bytes; at least {} are wanted", object.size, self.spec.min_size));
        }
        // Told to the second, and not rounded up.
        let since = self.since.map(Timestamp::as_second)?;
        let modified = object.modified?;
        (modified.as_second() < since)
            .then(|| format!("was written at {modified}, before {}", self.spec.since.as_deref().unwrap_or_default()))
    }

    fn bucket(&self) -> &str {
        match &self.place {
            ObjectPlace::Key { bucket, .. } | ObjectPlace::Below { bucket, .. } | ObjectPlace::Like { bucket, .. } => {
                bucket
            }
        }
    }

    fn uri(&self, object: &Object) -> String {
        format!("s3://{}/{}", self.bucket(), object.key)
    }

    /// Of a key that object; else all that were found.
    fn output(&self, found: &[&Object]) -> Value {
        let one = |object: &&Object| {
            let Object { key, etag, version, size, modified } = object;
            let modified = modified.map(|at| at.to_string());
            json!({"uri": self.uri(object), "bucket": self.bucket(), "key": key, "etag": etag, "version": version, "size": size, "modified": modified})
        };
        match (&self.place, found) {
            (ObjectPlace::Key { .. }, [object, ..]) => one(object),
            _ => json!({
                "count": found.len(),
                "objects": found.iter().take(SHOWN).map(one).collect::<Vec<_>>(),
            }),
        }
    }
}

fn failed(uri: &str, error: &Error) -> Verdict {
    match error.kind() {
        Kind::Throttled | Kind::Unavailable => Verdict::Not(format!("{uri}: cannot look: {error}; trying again")),
        Kind::Missing => Verdict::Not(format!("{uri} is not there")),
        Kind::Denied => {
            let hint =
                "an object that is not there looks like that to those who may not list the bucket (s3:ListBucket)";
            Verdict::Wrong("AccessDenied", format!("{error}; {hint}"))
        }
        Kind::Nowhere => Verdict::Wrong("NoSuchBucket", error.to_string()),
        Kind::Credentials => Verdict::Wrong("NoCredentials", error.to_string()),
        Kind::Changed | Kind::Refused => Verdict::Wrong("Refused", error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(key: &str, size: u64) -> Object {
        let modified = "2026-11-01T00:59:59Z".parse().ok();
        Object { key: key.to_owned(), etag: Some("e".to_owned()), version: None, size, modified }
    }

    fn judge(spec: &WaitObject, objects: Vec<Object>) -> Verdict {
        Wanted::read(spec).unwrap().judge(&Seen::Objects(Arc::new(objects)))
    }

    fn spec(uri: &str) -> WaitObject {
        WaitObject { uri: uri.to_owned(), min_size: 0, since: None }
    }

    #[test]
    fn a_key_is_found_by_itself_and_a_pattern_by_all_that_are_like_it() {
        let all = vec![object("in/a.avro", 7), object("in/b.avro", 8), object("in/b.avro.tmp", 9)];
        let Verdict::Found(one) = judge(&spec("s3://inbox/in/b.avro"), all.clone()) else { panic!() };
        assert_eq!((one["uri"].as_str(), one["size"].as_u64()), (Some("s3://inbox/in/b.avro"), Some(8)));
        assert_eq!(one["modified"], "2026-11-01T00:59:59Z");
        let Verdict::Found(two) = judge(&spec("s3://inbox/in/*.avro"), all.clone()) else { panic!() };
        assert_eq!((two["count"].as_u64(), two["objects"].as_array().map(Vec::len)), (Some(2), Some(2)));
        let Verdict::Found(below) = judge(&spec("s3://inbox/in/"), all) else { panic!() };
        assert_eq!(below["count"], 3);
        assert_eq!(judge(&spec("s3://inbox/out"), vec![]), Verdict::Not("s3://inbox/out is not there".to_owned()));
    }

    #[test]
    fn what_is_too_small_or_too_old_is_said_to_be() {
        let small = WaitObject { min_size: 10, ..spec("s3://inbox/in/a") };
        let Verdict::Not(why) = judge(&small, vec![object("in/a", 9)]) else { panic!() };
        assert_eq!(why, "s3://inbox/in/a is there, but has 9 bytes; at least 10 are wanted");
        let late = WaitObject { since: Some("2026-11-01T01:00:00Z".to_owned()), ..spec("s3://inbox/in/a") };
        let Verdict::Not(why) = judge(&late, vec![object("in/a", 9)]) else { panic!() };
        assert!(why.contains("was written at 2026-11-01T00:59:59Z, before"), "{why}");
        let same_second = WaitObject { since: Some("2026-11-01T00:59:59.900Z".to_owned()), ..spec("s3://inbox/in/a") };
        assert!(matches!(judge(&same_second, vec![object("in/a", 9)]), Verdict::Found(_)));
    }

    #[test]
    fn patterns_that_begin_alike_are_one_look() {
        let spot = |uri: &str| Wanted::read(&spec(uri)).unwrap().spot();
        assert_eq!(spot("s3://inbox/in/part-*.avro"), spot("s3://inbox/in/part-?"));
        assert_ne!(spot("s3://inbox/in/"), spot("s3://inbox/in/*"));
    }
}
