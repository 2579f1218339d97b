use millrace_core::Code;

use crate::{FieldPath, Type};

/// Why paths cannot be read from data of a schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The reader's schema has no such field.
    #[error("{path}: no such field")]
    UnknownField {
        /// What was asked for.
        path: FieldPath,
    },
    /// The writer's type is none that the reader's can be read from.
    #[error("{path}: {writer} cannot be read as {reader}")]
    Unreadable {
        /// What was asked for.
        path: FieldPath,
        /// The reader's type.
        reader: Type,
        /// The writer's type.
        writer: Type,
    },
}

impl Error {
    /// What callers see.
    pub fn code(&self) -> Code {
        match self {
            Self::UnknownField { .. } => Code::InvalidConfig,
            Self::Unreadable { .. } => Code::IncompatibleSchema,
        }
    }

    /// Low cardinality, stable: a metric label.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::UnknownField { .. } => "unknown_field",
            Self::Unreadable { .. } => "unreadable_field",
        }
    }

    /// Schemas do not change.
    pub fn is_retriable(&self) -> bool {
        false
    }
}
