//! What can go wrong with Postgres, sorted by what is to be done about it.

use deadpool_postgres::PoolError;
use millrace_core::Code;

use crate::class::Class;

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of Postgres or of the way to it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server answered with an error, or the connection broke.
    #[error("postgres: {}", describe(.0))]
    Database(#[source] tokio_postgres::Error),
    /// No connection could be had in time.
    #[error("postgres: no connection within {0:?}")]
    NoConnection(std::time::Duration),
    /// The pool was closed, or a connection could not be prepared.
    #[error("postgres: {0}")]
    Pool(String),
    /// Somebody else moved the ledger: what this transaction holds is stored already, or will be by another.
    #[error("fenced: {consumer} at partition {partition} is not at offset {expected} any more")]
    Fenced {
        /// Whose ledger.
        consumer: String,
        /// Which partition.
        partition: i32,
        /// Where the loser thought it was.
        expected: i64,
    },
    /// The database is behind the binary.
    #[error(
        "Postgres schema `{schema}` is at version {found} and this binary needs version {needed}: run its `migrate` command first"
    )]
    Older {
        /// The service's Postgres schema.
        schema: String,
        /// Version of the database.
        found: i32,
        /// Version of the binary.
        needed: i32,
    },
    /// The database is more than one version ahead of the binary.
    #[error(
        "Postgres schema `{schema}` is at version {found} and this binary knows up to version {known}: it works with {known} and {}, use a newer binary",
        known + 1
    )]
    Newer {
        /// The service's Postgres schema.
        schema: String,
        /// Version of the database.
        found: i32,
        /// Version of the binary.
        known: i32,
    },
    /// A migration failed, or differs from what was applied under its number.
    #[error("migrate Postgres schema `{schema}`: {reason}")]
    Migration {
        /// The service's Postgres schema.
        schema: String,
        /// The first cause in words.
        reason: String,
    },
}

impl Error {
    /// What the failure is, by its SQLSTATE where there is one.
    pub fn class(&self) -> Class {
        match self {
            Self::Database(error) => match error.code() {
                Some(state) => Class::of(state),
                None if error.is_closed() => Class::Unavailable,
                None => class_of_driver(error),
            },
            Self::NoConnection(_) | Self::Pool(_) => Class::Unavailable,
            Self::Fenced { .. } => Class::Conflict,
            Self::Older { .. } | Self::Newer { .. } => Class::Undefined,
            Self::Migration { .. } => Class::Other,
        }
    }

    /// What a caller of ours sees.
    pub fn code(&self) -> Code {
        match self.class() {
            Class::Unavailable | Class::Conflict | Class::Timeout => Code::Unavailable,
            Class::Duplicate => Code::AlreadyExists,
            Class::Constraint | Class::Data => Code::InvalidEvent,
            Class::Undefined | Class::Denied => Code::InvalidConfig,
            Class::Other => Code::Internal,
        }
    }

    /// Low cardinality, stable: a metric label.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Fenced { .. } => "fenced",
            Self::Older { .. } | Self::Newer { .. } => "schema_version",
            Self::Migration { .. } => "migration",
            _ => self.class().tag(),
        }
    }

    /// Whether the same may succeed later, unchanged.
    pub fn is_retriable(&self) -> bool {
        !matches!(self, Self::Fenced { .. })
            && matches!(self.class(), Class::Unavailable | Class::Conflict | Class::Timeout)
    }

    /// Whether Postgres refuses the data itself, so that sending it again cannot help.
    pub fn is_data(&self) -> bool {
        matches!(self.class(), Class::Data | Class::Constraint | Class::Duplicate)
    }

    /// Whether a ledger was moved by somebody else.
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Fenced { .. })
    }

    /// The SQLSTATE: five characters, where the server gave one.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Database(error) => error.code().map(tokio_postgres::error::SqlState::code),
            _ => None,
        }
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

impl From<PoolError> for Error {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Self::Database(error),
            PoolError::Timeout(_) => Self::NoConnection(crate::pool::WAIT),
            other => Self::Pool(other.to_string()),
        }
    }
}

/// The server's own words where it spoke, else the driver's with their cause: `Display` of the driver says only
/// "db error".
pub(crate) fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        // The row itself belongs to whoever owns the data, and not into a log.
        let detail = db.detail().filter(|detail| !detail.starts_with("Failing row contains"));
        let detail = detail.map(|detail| format!(" ({detail})")).unwrap_or_default();
        return format!("{}{detail}, SQLSTATE {}", db.message(), db.code().code());
    }
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Without an SQLSTATE it is either the way to the server, or a defect of ours: a parameter or a column of the wrong
/// type. The driver tells them apart by its cause.
fn class_of_driver(error: &tokio_postgres::Error) -> Class {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if inner.is::<std::io::Error>() || inner.is::<rustls::Error>() {
            return Class::Unavailable;
        }
        cause = inner.source();
    }
    match error.to_string().as_str() {
        text if text.starts_with("error connecting") || text.starts_with("error communicating") => Class::Unavailable,
        text if text.starts_with("timeout waiting") || text.starts_with("error performing TLS") => Class::Unavailable,
        text if text.starts_with("authentication error") || text.starts_with("invalid configuration") => Class::Denied,
        _ => Class::Other,
    }
}
