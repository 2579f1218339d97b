//! What can go wrong with Kubernetes, sorted by what is to be done about it.

use std::time::Duration;

use millrace_core::Code;

/// What Kubernetes calls it when there is something of a name.
const THERE: &str = "AlreadyExists";

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of Kubernetes or of the way to it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It answered with an error, or could not be reached.
    #[error("Kubernetes: {}", describe(.0))]
    Client(#[source] Box<kube::Error>),
    /// It did not answer.
    #[error("Kubernetes did not answer within {0:?}")]
    Silent(Duration),
    /// There is something of this name that is not what it should be.
    #[error(
        "Job {name} of namespace {namespace} is of something else: two installations must not share a namespace, give one of them another"
    )]
    Foreign {
        /// Where.
        namespace: String,
        /// Which.
        name: String,
    },
}

impl Error {
    /// What a caller of ours sees.
    pub fn code(&self) -> Code {
        match self {
            Self::Silent(_) => Code::DeadlineExceeded,
            Self::Foreign { .. } => Code::AlreadyExists,
            Self::Client(error) => match &**error {
                kube::Error::Api(status) if status.code == 409 && status.reason != THERE => Code::Unavailable,
                kube::Error::Api(status) => code(status.code, &status.message),
                kube::Error::SerdeError(_) | kube::Error::BuildRequest(_) => Code::Internal,
                kube::Error::Auth(_) => Code::Unauthenticated,
                _ => Code::Unavailable,
            },
        }
    }

    /// Low cardinality, stable: a metric label.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Foreign { .. } => "foreign",
            Self::Silent(_) | Self::Client(_) => self.code().as_str(),
        }
    }

    /// Whether the same may succeed later, unchanged. What was asked for may have happened all the same.
    pub fn is_retriable(&self) -> bool {
        self.code().is_retriable()
    }

    /// What Kubernetes calls it: `Forbidden`, `Invalid`; empty where it did not answer.
    pub fn reason(&self) -> &str {
        match self {
            Self::Client(error) => match &**error {
                kube::Error::Api(status) => &status.reason,
                _ => "",
            },
            Self::Silent(_) | Self::Foreign { .. } => "",
        }
    }

    /// There is something of that name. A quota that others change at the same time is a 409 as well.
    pub(crate) fn is_there(&self) -> bool {
        self.is(409) && self.reason() == THERE
    }

    pub(crate) fn is(&self, status: u16) -> bool {
        matches!(self, Self::Client(error) if matches!(&**error, kube::Error::Api(it) if it.code == status))
    }
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Client(Box::new(error))
    }
}

/// By the HTTP status. A quota that is used up is not a right that is missing: others give back what they use.
fn code(status: u16, message: &str) -> Code {
    match status {
        401 => Code::Unauthenticated,
        403 if message.contains("exceeded quota") => Code::RateLimited,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        409 => Code::AlreadyExists,
        // A listing that took too long begins anew.
        410 => Code::Unavailable,
        413 => Code::TooLarge,
        408 | 504 => Code::DeadlineExceeded,
        429 => Code::RateLimited,
        400..500 => Code::InvalidRequest,
        _ => Code::Unavailable,
    }
}

/// The server's own words where it spoke, else the client's with their cause.
fn describe(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return format!("{} ({}, status {})", status.message, status.reason, status.code);
    }
    let (mut said, mut cause) = (error.to_string(), std::error::Error::source(error));
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !said.contains(&more) {
            said.push_str(": ");
            said.push_str(&more);
        }
        cause = inner.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again_and_what_is_refused_is_not() {
        for (status, message, again) in [
            (500, "", true),
            (429, "", true),
            (503, "", true),
            (403, "jobs.batch is forbidden: exceeded quota: q", true),
            (403, "cannot create resource \"jobs\"", false),
            (422, "", false),
            (404, "", false),
        ] {
            assert_eq!(code(status, message).is_retriable(), again, "{status} {message}");
        }
        assert!(Error::Silent(Duration::from_secs(1)).is_retriable());
    }
}
