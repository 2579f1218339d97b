//! Avro schema to Postgres columns.
use crate::{FieldPath, NodeId, Schema};
use millrace_core::Code;

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
}

impl std::fmt::Display for SqlType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub sql_type: SqlType,
    /// The event's field that it holds; none for a column of ours.
    pub path: Option<FieldPath>,
    /// The field's type in the event's schema, without null.
    pub node: Option<NodeId>,
    /// Whether it may be null.
    pub nullable: bool,
}

/// A table for scored events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name, without a schema.
    pub name: String,
    /// Its columns: ours, then the event's fields in their order.
    pub columns: Vec<Column>,
}

/// Why a schema gives no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The event is not a record.
    #[error("event schema is a {0}: a table needs a record")]
    NotARecord(crate::Type),
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
        "columns"
    }
    /// Schemas do not change.
    pub fn is_retriable(&self) -> bool {
        false
    }
}

/// The columns of a table for scored events of that schema.
pub fn of(_event: &Schema) -> Result<Vec<Column>, Error> {
    unimplemented!()
}

impl Table {
    /// A table of that name for scored events of that schema.
    pub fn of(name: &str, event: &Schema) -> Result<Self, Error> {
        Ok(Self { name: name.to_owned(), columns: of(event)? })
    }
    /// `CREATE TABLE IF NOT EXISTS`, in the Postgres schema `schema`, with `event_id` as its key.
    pub fn create_sql(&self, _schema: &str) -> String {
        unimplemented!()
    }
    /// `ALTER TABLE .. ADD COLUMN IF NOT EXISTS` for one column.
    pub fn add_column_sql(&self, _schema: &str, _column: &Column) -> String {
        unimplemented!()
    }
}

/// A name as SQL writes it: in quotes, those within doubled.
pub fn quote_ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
