//! Avro schema to Postgres columns.
//!
//! A table of scored events begins with the columns of [`SYSTEM_COLUMNS`], which win their names: a field of such a
//! name is stored as `event_<name>`. The event's fields follow in their order, all of them nullable: older events lack
//! the newer fields. An int is as wide as a long and a float as a double, so that these promotions change nothing; the
//! others ([`SqlType::is_promoted_by`]) change the column's type, and Postgres writes the table anew.

mod error;
mod sql;
mod sql_type;

use millrace_core::record::{IMPORTED_FROM, SYSTEM_COLUMNS};

use crate::{FieldPath, Kind, NodeId, Schema};

pub use error::Error;
pub use sql::quote_ident;
pub use sql_type::SqlType;

/// Postgres cuts longer names short, silently.
const MAX_NAME: usize = 63;

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub sql_type: SqlType,
    /// The event's field that it holds; none for a column of ours.
    pub path: Option<FieldPath>,
    /// The field's type in the event's schema, without null; none for a column of ours.
    pub node: Option<NodeId>,
    /// Whether it may be null.
    pub nullable: bool,
}

/// A table for scored events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name, without that of its Postgres schema.
    pub name: String,
    /// Its columns: ours, then the event's fields in their order.
    pub columns: Vec<Column>,
}

impl Table {
    /// A table of that name for scored events of that schema.
    pub fn of(name: &str, event: &Schema) -> Result<Self, Error> {
        check_name(name)?;
        Ok(Self { name: name.to_owned(), columns: of(event)? })
    }
}

/// The columns of a table for scored events of that schema.
pub fn of(event: &Schema) -> Result<Vec<Column>, Error> {
    let record = event.root_node().record().ok_or(Error::NotARecord(event.root_node().ty()))?;
    let mut columns: Vec<_> = SYSTEM_COLUMNS.iter().map(|name| system_column(name)).collect();
    for field in &record.fields {
        let is_taken = SYSTEM_COLUMNS.contains(&field.name.as_str());
        let name = if is_taken { format!("event_{}", field.name) } else { field.name.clone() };
        check_name(&name)?;
        if columns.iter().any(|column| column.name == name) {
            return Err(Error::Clash(name));
        }
        let node = value_node(event, field.node);
        columns.push(Column {
            name,
            sql_type: SqlType::of(event, node),
            path: Some(FieldPath::from_segments([&field.name])),
            node: Some(node),
            nullable: true,
        });
    }
    Ok(columns)
}

fn system_column(name: &str) -> Column {
    let sql_type = match name {
        "received_at" | "scored_at" | "imported_at" => SqlType::Timestamptz,
        IMPORTED_FROM => SqlType::BigInt,
        "score" => SqlType::Double,
        "reasons" => SqlType::Jsonb,
        _ => SqlType::Text,
    };
    Column { name: name.to_owned(), sql_type, path: None, node: None, nullable: name == IMPORTED_FROM }
}

fn check_name(name: &str) -> Result<(), Error> {
    if name.len() > MAX_NAME { Err(Error::NameTooLong(name.to_owned())) } else { Ok(()) }
}

/// The node beside null in a union of two.
fn value_node(schema: &Schema, id: NodeId) -> NodeId {
    let Kind::Union(branches) = &schema.node(id).kind else { return id };
    let mut values = branches.iter().filter(|&&branch| schema.node(branch).kind != Kind::Null);
    match (values.next(), values.next()) {
        (Some(&only), None) => only,
        _ => id,
    }
}

#[cfg(test)]
mod tests;
