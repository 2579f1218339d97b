use std::{io, path::PathBuf};

use millrace_core::Code;
use millrace_schema::container;

/// Why an object, or a part of one, has no scores.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing in it: not even the head of a file.
    #[error("0 bytes are no Avro container file: write it again, or remove it")]
    Empty,
    /// It is not there any more, or never was.
    #[error("it is not there")]
    Missing,
    /// Another one took its place while it was read, or since it was listed.
    #[error("it was changed while it was being read: run the batch again")]
    Changed,
    /// It is no Avro container file, or a broken one.
    #[error("at byte {at}: {source}{}", advice(source))]
    Container {
        /// Where in the file: the beginning of the block.
        at: u64,
        /// What is wrong.
        source: container::Error,
    },
    /// Records of its schema cannot be scored.
    #[error("its records cannot be scored: {0}: it needs a schema that the model's features can read")]
    Schema(String),
    /// A record that is not of the file's schema.
    #[error("record {index} of the block at byte {block} is not what the file's schema says: {reason}: write it again")]
    Record {
        /// Where its block begins in the file, in bytes.
        block: u64,
        /// Which of its block's records, from 0.
        index: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The key of an object that would have its scores elsewhere than where they belong.
    #[error("its key has a part that no local file can have (empty, `.` or `..`): put the scores into a bucket")]
    Name,
    /// S3 did not do what it was asked.
    #[error(transparent)]
    Storage(#[from] millrace_aws::Error),
    /// A file could not be read or written.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// The verb.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nothing is wrong: the process was asked to stop.
    #[error("stopped by a signal")]
    Stopped,
    /// A defect of ours.
    #[error("a worker has ended")]
    Worker,
}

/// The results of this module.
pub(super) type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What is wrong with a file, at a byte of it. What its input said, it says itself.
    pub(super) fn container(at: u64, error: container::Error) -> Self {
        let container::Error::Io(cause) = error else { return Self::Container { at, source: error } };
        match cause.downcast::<Self>() {
            Ok(error) => error,
            Err(cause) => Self::Container { at, source: cause.into() },
        }
    }

    /// What callers see.
    pub fn code(&self) -> Code {
        match self {
            Self::Empty | Self::Name => Code::InvalidRequest,
            Self::Missing => Code::NotFound,
            Self::Changed => Code::AlreadyExists,
            Self::Container { source, .. } => source.code(),
            Self::Schema(_) => Code::InvalidEvent,
            Self::Record { .. } => Code::Corrupt,
            Self::Storage(error) => error.code(),
            Self::Io { .. } | Self::Stopped => Code::Unavailable,
            Self::Worker => Code::Internal,
        }
    }

    /// Low cardinality, stable: a metric label.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Missing => "missing",
            Self::Changed => "changed",
            Self::Container { source, .. } => source.tag(),
            Self::Schema(_) => "schema",
            Self::Record { .. } => "record",
            Self::Name => "name",
            Self::Storage(error) => error.tag(),
            Self::Io { .. } => "io",
            Self::Stopped => "stopped",
            Self::Worker => "worker",
        }
    }

    /// Whether the same object may be scored by another run.
    pub fn is_retriable(&self) -> bool {
        matches!(self, Self::Changed) || self.code().is_retriable()
    }
}

fn advice(error: &container::Error) -> &'static str {
    match error {
        container::Error::TooLarge { .. } => ": --max-block sets the limit",
        container::Error::Codec(_) => "",
        _ => ": write the file again",
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_input_said_is_said_through_the_parser() {
        let through = container::Error::Io(Error::Changed.into());
        assert!(matches!(Error::container(7, through), Error::Changed));
        let own = Error::container(7, container::Error::Malformed("it is cut short"));
        assert_eq!(
            own.to_string(),
            "at byte 7: not a whole Avro container file: it is cut short: write the file again"
        );
    }
}
