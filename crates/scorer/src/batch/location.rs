//! Where files of events are, and where those of their scores go.

use std::{path::PathBuf, str::FromStr};

use millrace_runtime::ConfigError;

/// What an address of S3 begins with.
const S3: &str = "s3://";

/// A place as it is said on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Location {
    /// An object, or all below a prefix: one that is empty or ends in `/`. Keys are as they are, not encoded.
    S3 { bucket: String, key: String },
    /// A local file or folder.
    Local(PathBuf),
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix(S3) else {
            return match text {
                "" => Err("expected s3://bucket/key, s3://bucket/prefix/ or a path".to_owned()),
                text if text.contains("://") => Err("expected s3:// or a path: nothing else is read".to_owned()),
                text => Ok(Self::Local(text.into())),
            };
        };
        match rest.split_once('/') {
            Some((bucket, key)) if !bucket.is_empty() => {
                Ok(Self::S3 { bucket: bucket.to_owned(), key: key.to_owned() })
            }
            _ => Err("expected s3://bucket/key or s3://bucket/prefix/; all of a bucket is s3://bucket/".to_owned()),
        }
    }
}

/// Whether a key is a prefix, of which all below it is meant.
pub(super) fn is_prefix(key: &str) -> bool {
    key.is_empty() || key.ends_with('/')
}

/// Where scores go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    S3 { bucket: String, prefix: String },
    Folder(PathBuf),
}

impl Destination {
    /// Refuses what is no folder, and what would be an input of the next run.
    pub(super) fn new(to: Location, inputs: &[Location]) -> Result<Self, ConfigError> {
        let fault = |fault: &str| Err(ConfigError::new(format!("--to: {fault}")));
        let taken = "it is below an input: the next run would take the scores for events";
        match to {
            Location::S3 { key, .. } if !is_prefix(&key) => fault("a prefix of S3 ends in `/`"),
            Location::S3 { bucket, key: prefix } => {
                let holds = |input: &Location| match input {
                    Location::S3 { bucket: other, key } => {
                        *other == bucket && is_prefix(key) && prefix.starts_with(key)
                    }
                    Location::Local(_) => false,
                };
                if inputs.iter().any(holds) { fault(taken) } else { Ok(Self::S3 { bucket, prefix }) }
            }
            Location::Local(folder) if folder.is_file() => fault("it is a file, and a folder was expected"),
            Location::Local(folder) => {
                let same = |input: &Location| match input {
                    Location::Local(path) => {
                        path.is_dir()
                            && path.canonicalize().is_ok_and(|path| folder.canonicalize().is_ok_and(|to| to == path))
                    }
                    Location::S3 { .. } => false,
                };
                if inputs.iter().any(same) { fault(taken) } else { Ok(Self::Folder(folder)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(bucket: &str, key: &str) -> Location {
        Location::S3 { bucket: bucket.into(), key: key.into() }
    }

    #[test]
    fn keys_are_taken_as_they_are() {
        let parse = |text: &str| text.parse::<Location>();
        assert_eq!(parse("s3://b/a b+c%20/x.avro"), Ok(s3("b", "a b+c%20/x.avro")));
        assert_eq!(parse("s3://b/"), Ok(s3("b", "")));
        assert_eq!(parse("mail/x.avro"), Ok(Location::Local("mail/x.avro".into())));
        for wrong in ["", "s3://", "s3://b", "s3:///x", "gs://b/x"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn scores_are_not_put_where_the_next_run_finds_them() {
        let to = |to: Location, input: Location| Destination::new(to, &[input]).map_err(|error| error.to_string());
        assert!(to(s3("b", "out/"), s3("b", "in/")).is_ok());
        assert!(to(s3("b", "in/out/"), s3("c", "in/")).is_ok());
        assert!(to(s3("b", "in/out/"), s3("b", "in/")).unwrap_err().contains("below an input"));
        assert!(to(s3("b", "in/out/"), s3("b", "")).unwrap_err().contains("below an input"));
        assert!(to(s3("b", "out"), s3("b", "in/")).unwrap_err().contains("ends in `/`"));
        let folder = tempfile::tempdir().unwrap();
        let local = || Location::Local(folder.path().to_owned());
        assert!(to(local(), local()).unwrap_err().contains("below an input"));
        assert!(to(Location::Local(folder.path().join("out")), local()).is_ok());
    }
}
