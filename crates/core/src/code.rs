//! The one closed list of what can go wrong, as callers see it.

use std::fmt;

/// What a failure is to a caller, on gRPC, on HTTP, in per-event results and in dead letters alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request as a whole cannot be read: bad JSON, an unknown media type, a missing field.
    InvalidRequest,
    /// One event does not fit its schema.
    InvalidEvent,
    /// A document, a flag or a setting is wrong.
    InvalidConfig,
    /// No key, or one that is not known.
    Unauthenticated,
    /// The key is known and may not do this.
    PermissionDenied,
    /// The named thing does not exist (or the caller may not know that it does).
    NotFound,
    /// The named thing exists already, with other content.
    AlreadyExists,
    /// What the caller made a condition of is not so.
    PreconditionFailed,
    /// A schema that the subject's compatibility level refuses.
    IncompatibleSchema,
    /// A body, a batch or an event over its limit.
    TooLarge,
    /// Too many requests at once, or per second.
    RateLimited,
    /// A dependency is away. What was asked for may or may not have happened; ask again with the same id.
    Unavailable,
    /// It took longer than the caller allowed.
    DeadlineExceeded,
    /// The record's bytes are not what its schema says.
    Corrupt,
    /// A defect of ours.
    Internal,
}

/// (code, name, gRPC status, HTTP status), in the order of the enum.
const TABLE: [(Code, &str, i32, u16); 15] = [
    (Code::InvalidRequest, "INVALID_REQUEST", 3, 400),
    (Code::InvalidEvent, "INVALID_EVENT", 3, 400),
    (Code::InvalidConfig, "INVALID_CONFIG", 9, 422),
    (Code::Unauthenticated, "UNAUTHENTICATED", 16, 401),
    (Code::PermissionDenied, "PERMISSION_DENIED", 7, 403),
    (Code::NotFound, "NOT_FOUND", 5, 404),
    (Code::AlreadyExists, "ALREADY_EXISTS", 6, 409),
    (Code::PreconditionFailed, "PRECONDITION_FAILED", 9, 412),
    (Code::IncompatibleSchema, "INCOMPATIBLE_SCHEMA", 9, 409),
    (Code::TooLarge, "TOO_LARGE", 8, 413),
    (Code::RateLimited, "RATE_LIMITED", 8, 429),
    (Code::Unavailable, "UNAVAILABLE", 14, 503),
    (Code::DeadlineExceeded, "DEADLINE_EXCEEDED", 4, 504),
    (Code::Corrupt, "CORRUPT", 15, 500),
    (Code::Internal, "INTERNAL", 13, 500),
];

impl Code {
    /// Every code, for documentation and tests.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.0)
    }

    /// The stable name: `INVALID_EVENT`.
    pub fn as_str(self) -> &'static str {
        TABLE[self as usize].1
    }

    /// The number of the gRPC status.
    pub fn grpc(self) -> i32 {
        TABLE[self as usize].2
    }

    /// The HTTP status.
    pub fn http(self) -> u16 {
        TABLE[self as usize].3
    }

    /// Whether the same request may succeed later, unchanged.
    pub fn is_retriable(self) -> bool {
        matches!(self, Self::RateLimited | Self::Unavailable | Self::DeadlineExceeded)
    }

    /// The code of that name.
    pub fn parse(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.1 == name).map(|row| row.0)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum_and_names_come_back() {
        for (i, code) in Code::all().enumerate() {
            assert_eq!(code as usize, i);
            assert_eq!(Code::parse(code.as_str()), Some(code));
        }
        assert_eq!(Code::all().count(), TABLE.len());
    }

    #[test]
    fn only_what_may_pass_later_is_retriable() {
        for code in Code::all().filter(|code| code.is_retriable()) {
            assert!([429, 503, 504].contains(&code.http()), "{code}");
        }
    }
}
