//! What a SQLSTATE means to the one who must decide what to do next.

use tokio_postgres::error::SqlState;

/// The kind of a failure. The list is closed and serves as a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Not reachable, starting, stopping, out of connections, memory or disk: the same will work later.
    Unavailable,
    /// Deadlock, serialization failure: the same transaction will work when it is run again.
    Conflict,
    /// Cancelled by a statement, lock or idle timeout.
    Timeout,
    /// A unique key is taken.
    Duplicate,
    /// Another constraint refuses the row.
    Constraint,
    /// A value that its column cannot hold, or bytes that are not a value.
    Data,
    /// No such table, column, function, schema.
    Undefined,
    /// Wrong password, or not allowed.
    Denied,
    /// Everything else: a defect of ours.
    Other,
}

impl Class {
    /// The class of a state, by Appendix A of the PostgreSQL documentation.
    pub(crate) fn of(state: &SqlState) -> Self {
        match *state {
            SqlState::UNIQUE_VIOLATION => return Self::Duplicate,
            SqlState::QUERY_CANCELED | SqlState::LOCK_NOT_AVAILABLE | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => {
                return Self::Timeout;
            }
            SqlState::INSUFFICIENT_PRIVILEGE => return Self::Denied,
            // A failover left us on a server that only reads.
            SqlState::READ_ONLY_SQL_TRANSACTION => return Self::Unavailable,
            // Answers of a COPY whose bytes are not rows: the row's fault and not the connection's.
            SqlState::BAD_COPY_FILE_FORMAT => return Self::Data,
            SqlState::UNDEFINED_TABLE
            | SqlState::UNDEFINED_COLUMN
            | SqlState::UNDEFINED_FUNCTION
            | SqlState::UNDEFINED_OBJECT
            | SqlState::INVALID_SCHEMA_NAME
            | SqlState::INVALID_CATALOG_NAME => return Self::Undefined,
            _ => {}
        }
        match state.code().get(..2).unwrap_or_default() {
            "08" | "53" | "57" | "58" => Self::Unavailable,
            "40" => Self::Conflict,
            // 54: a key too long for its index, JSON too deep.
            "22" | "54" => Self::Data,
            "23" => Self::Constraint,
            "28" => Self::Denied,
            _ => Self::Other,
        }
    }

    /// Low cardinality, stable: a metric label.
    pub fn tag(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Conflict => "conflict",
            Self::Timeout => "timeout",
            Self::Duplicate => "duplicate",
            Self::Constraint => "constraint",
            Self::Data => "data",
            Self::Undefined => "undefined",
            Self::Denied => "denied",
            Self::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_fall_into_the_class_that_decides() {
        for (code, class) in [
            ("08006", Class::Unavailable),
            ("57P01", Class::Unavailable),
            ("57P03", Class::Unavailable),
            ("53300", Class::Unavailable),
            ("53100", Class::Unavailable),
            ("25006", Class::Unavailable),
            ("40001", Class::Conflict),
            ("40P01", Class::Conflict),
            ("57014", Class::Timeout),
            ("55P03", Class::Timeout),
            ("25P03", Class::Timeout),
            ("23505", Class::Duplicate),
            ("23502", Class::Constraint),
            ("22021", Class::Data),
            ("22008", Class::Data),
            ("22P04", Class::Data),
            ("54000", Class::Data),
            ("54001", Class::Data),
            ("42P01", Class::Undefined),
            ("28P01", Class::Denied),
            ("42501", Class::Denied),
            ("XX000", Class::Other),
        ] {
            assert_eq!(Class::of(&SqlState::from_code(code)), class, "{code}");
        }
    }
}
