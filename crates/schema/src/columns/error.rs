use millrace_core::Code;

use crate::Type;

/// Why a schema gives no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The event is not a record.
    #[error("the event's schema is of type {0}: a table needs a record")]
    NotARecord(Type),
    /// Postgres would cut the name short.
    #[error("{0:?} is longer than the 63 bytes of a Postgres name")]
    NameTooLong(String),
    /// Two fields give one column.
    #[error("two fields give the column {0:?}")]
    Clash(String),
}

impl Error {
    /// What callers see.
    pub fn code(&self) -> Code {
        Code::InvalidConfig
    }

    /// Low cardinality, stable: a metric label.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::NotARecord(_) => "not_a_record",
            Self::NameTooLong(_) => "name_too_long",
            Self::Clash(_) => "column_clash",
        }
    }

    /// Schemas do not change.
    pub fn is_retriable(&self) -> bool {
        false
    }
}
