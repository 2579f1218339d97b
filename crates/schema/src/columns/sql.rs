use super::{Column, SqlType, Table};

impl Table {
    /// The statement that makes the table in the Postgres schema `schema`, unless it is there. `event_id` is its key.
    pub fn create_sql(&self, schema: &str) -> String {
        let columns: Vec<_> = self.columns.iter().map(|column| format!("  {}", definition(column))).collect();
        format!("CREATE TABLE IF NOT EXISTS {} (\n{}\n)", self.qualified(schema), columns.join(",\n"))
    }

    /// The statement that adds a column, unless it is there. It may be null, whatever the column says: rows are there.
    pub fn add_column_sql(&self, schema: &str, column: &Column) -> String {
        let (table, name) = (self.qualified(schema), quote_ident(&column.name));
        format!("ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {name} {}", column.sql_type)
    }

    /// The statement that gives a column the type that its field was promoted to. Postgres writes the table anew.
    pub fn promote_column_sql(&self, schema: &str, column: &Column) -> String {
        let (table, name) = (self.qualified(schema), quote_ident(&column.name));
        let using = match column.sql_type {
            SqlType::Bytea => format!("convert_to({name}, 'UTF8')"),
            other => format!("{name}::{other}"),
        };
        format!("ALTER TABLE {table} ALTER COLUMN {name} TYPE {} USING {using}", column.sql_type)
    }

    /// Its name with that of its Postgres schema, as SQL writes it.
    pub fn qualified(&self, schema: &str) -> String {
        format!("{}.{}", quote_ident(schema), quote_ident(&self.name))
    }
}

fn definition(column: &Column) -> String {
    let rest = match column {
        Column { path: None, name, .. } if name == "event_id" => " PRIMARY KEY",
        Column { nullable: false, .. } => " NOT NULL",
        Column { nullable: true, .. } => "",
    };
    format!("{} {}{rest}", quote_ident(&column.name), column.sql_type)
}

/// A name as SQL writes it: in quotes, those within doubled.
pub fn quote_ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
