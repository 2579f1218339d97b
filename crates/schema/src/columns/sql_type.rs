use std::fmt;

use crate::{Kind, Logical, NodeId, Schema};

/// The types of columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are Postgres's")]
pub enum SqlType {
    Boolean,
    BigInt,
    Double,
    Text,
    Bytea,
    Numeric,
    Timestamptz,
    Timestamp,
    Date,
    Time,
    Uuid,
    Jsonb,
}

impl SqlType {
    /// As SQL spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::BigInt => "bigint",
            Self::Double => "double precision",
            Self::Text => "text",
            Self::Bytea => "bytea",
            Self::Numeric => "numeric",
            Self::Timestamptz => "timestamptz",
            Self::Timestamp => "timestamp",
            Self::Date => "date",
            Self::Time => "time",
            Self::Uuid => "uuid",
            Self::Jsonb => "jsonb",
        }
    }

    /// Whether Avro's promotions lead from a column of this type to one of `to` that holds more: an integer field that
    /// became a float, a text that became bytes.
    pub fn is_promoted_by(self, to: Self) -> bool {
        matches!((self, to), (Self::BigInt, Self::Double) | (Self::Text, Self::Bytea))
    }

    /// The type of a column for values of `id`. A field that is always null is `jsonb`, which takes whatever it becomes.
    pub(super) fn of(schema: &Schema, id: NodeId) -> Self {
        let node = schema.node(id);
        match node.logical {
            Some(Logical::Decimal { .. }) => return Self::Numeric,
            Some(Logical::Uuid) => return Self::Uuid,
            Some(Logical::Date) => return Self::Date,
            Some(Logical::TimeMillis | Logical::TimeMicros) => return Self::Time,
            Some(Logical::TimestampMillis | Logical::TimestampMicros | Logical::TimestampNanos) => {
                return Self::Timestamptz;
            }
            Some(Logical::LocalTimestampMillis | Logical::LocalTimestampMicros | Logical::LocalTimestampNanos) => {
                return Self::Timestamp;
            }
            Some(Logical::Duration) | None => {}
        }
        match node.kind {
            Kind::Boolean => Self::Boolean,
            Kind::Int | Kind::Long => Self::BigInt,
            Kind::Float | Kind::Double => Self::Double,
            Kind::String | Kind::Enum(_) => Self::Text,
            Kind::Bytes | Kind::Fixed(_) => Self::Bytea,
            Kind::Null | Kind::Array(_) | Kind::Map(_) | Kind::Record(_) | Kind::Union(_) => Self::Jsonb,
        }
    }
}

impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
