//! What can go wrong, and what it is to whoever tries again.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use millrace_core::Code;

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A call of AWS that has failed, after the SDK's own tries.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {target}: {said}")]
pub struct Error {
    kind: Kind,
    what: &'static str,
    target: String,
    said: String,
}

/// What a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The object is not there.
    Missing,
    /// There is another one than the one that was meant, or there is one where none was to be.
    Changed,
    /// The bucket or the queue is not there.
    Nowhere,
    /// We may not. Of a single object it may also mean that it is not there: S3 does not tell those who may not list the
    /// bucket.
    Denied,
    /// There are no credentials, or what hands them out did not.
    Credentials,
    /// Too many calls at once.
    Throttled,
    /// Nobody answered, or with a failure of its own.
    Unavailable,
    /// It was refused as it is: the region, the name, a parameter.
    Refused,
}

/// Codes that say that a bucket or a queue is not there.
const NOWHERE: [&str; 4] = [
    "NoSuchBucket",
    "QueueDoesNotExist",
    "AWS.SimpleQueueService.NonExistentQueue",
    "AWS.SimpleQueueService.QueueDeletedRecently",
];
/// Codes that say that we may not; S3 says some of them with status 400.
const DENIED: [&str; 7] = [
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
];
/// Codes that say that it was too much.
const THROTTLED: [&str; 8] = [
    "KmsThrottled",
    "OverLimit",
    "RequestLimitExceeded",
    "RequestThrottled",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];

impl Error {
    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What callers see.
    pub fn code(&self) -> Code {
        match self.kind {
            Kind::Missing | Kind::Nowhere => Code::NotFound,
            Kind::Changed => Code::AlreadyExists,
            Kind::Denied | Kind::Credentials => Code::PermissionDenied,
            Kind::Throttled => Code::RateLimited,
            Kind::Unavailable => Code::Unavailable,
            Kind::Refused => Code::InvalidRequest,
        }
    }

    /// Low cardinality, stable: a metric label.
    pub fn tag(&self) -> &'static str {
        match self.kind {
            Kind::Missing => "missing",
            Kind::Changed => "changed",
            Kind::Nowhere => "nowhere",
            Kind::Denied => "denied",
            Kind::Credentials => "credentials",
            Kind::Throttled => "throttled",
            Kind::Unavailable => "unavailable",
            Kind::Refused => "refused",
        }
    }

    /// Whether the same call may succeed later, unchanged.
    pub fn is_retriable(&self) -> bool {
        matches!(self.kind, Kind::Throttled | Kind::Unavailable)
    }

    /// What the SDK says of a call, `what` being its verb and `target` what it was about.
    pub(crate) fn sdk<E>(what: &'static str, target: impl Into<String>, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let kind = match error {
            SdkError::ServiceError(_) => kind(error.code().unwrap_or_default(), status.unwrap_or_default()),
            _ if lacks_credentials(error) => Kind::Credentials,
            SdkError::ConstructionFailure(_) => Kind::Refused,
            _ => Kind::Unavailable,
        };
        let said = match (error.code(), error.message(), status) {
            (Some(code), Some(message), _) => format!("{code}: {message}"),
            (Some(code), None, _) => code.to_owned(),
            // HEAD has no body to say it in.
            (None, _, Some(status)) if matches!(error, SdkError::ServiceError(_)) => format!("status {status}"),
            _ => causes(error),
        };
        let region = error.raw_response().and_then(|response| response.headers().get("x-amz-bucket-region"));
        let said = match kind {
            Kind::Refused if let Some(region) = region => {
                format!("{said}; the bucket is in region {region}: set AWS_REGION")
            }
            Kind::Credentials => format!(
                "no credentials: {said}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role"
            ),
            Kind::Denied => format!("access denied ({said})"),
            _ => said,
        };
        Self { kind, what, target: target.into(), said }
    }

    /// What is found out here.
    pub(crate) fn new(kind: Kind, what: &'static str, target: impl Into<String>, said: impl Into<String>) -> Self {
        Self { kind, what, target: target.into(), said: said.into() }
    }

    /// Nobody says where things are.
    pub(crate) fn no_region(what: &'static str, target: impl Into<String>) -> Self {
        Self::new(Kind::Refused, what, target, "no region: set AWS_REGION or --aws-region")
    }

    /// The bucket is not there, found out by asking for it.
    pub(crate) fn nowhere(what: &'static str, target: impl Into<String>) -> Self {
        Self::new(Kind::Nowhere, what, target, "there is no such bucket")
    }
}

fn kind(code: &str, status: u16) -> Kind {
    match (code, status) {
        (code, _) if NOWHERE.contains(&code) => Kind::Nowhere,
        (code, _) if DENIED.contains(&code) => Kind::Denied,
        (code, _) if THROTTLED.contains(&code) => Kind::Throttled,
        (_, 401 | 403) => Kind::Denied,
        (_, 404) => Kind::Missing,
        (_, 412) => Kind::Changed,
        // Of two writers that want to be the first, one is told to try again.
        ("ConditionalRequestConflict", _) => Kind::Unavailable,
        (_, 429 | 503) => Kind::Throttled,
        (_, 500..) => Kind::Unavailable,
        _ => Kind::Refused,
    }
}

fn lacks_credentials(error: &(dyn StdError + 'static)) -> bool {
    std::iter::successors(Some(error), |error| (*error).source())
        .any(<dyn std::error::Error + 'static>::is::<CredentialsError>)
}

/// An error with its causes.
fn causes(error: &(dyn StdError + 'static)) -> String {
    let all: Vec<String> =
        std::iter::successors(Some(error), |error| (*error).source()).map(ToString::to_string).collect();
    all.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_go_before_statuses() {
        assert_eq!(kind("NoSuchBucket", 404), Kind::Nowhere);
        assert_eq!(kind("NoSuchKey", 404), Kind::Missing);
        assert_eq!(kind("ExpiredToken", 400), Kind::Denied);
        assert_eq!(kind("", 403), Kind::Denied);
        assert_eq!(kind("SlowDown", 503), Kind::Throttled);
        assert_eq!(kind("InternalError", 500), Kind::Unavailable);
        assert_eq!(kind("PreconditionFailed", 412), Kind::Changed);
        assert_eq!(kind("ConditionalRequestConflict", 409), Kind::Unavailable);
        assert_eq!(kind("PermanentRedirect", 301), Kind::Refused);
    }
}
