use super::*;

fn table(fields: &str) -> Result<Table, Error> {
    let text = format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
    Table::of("mail", &Schema::parse(&text).unwrap())
}

#[test]
fn fields_follow_our_columns_and_get_their_types() {
    let table = table(
        r#"{"name":"a","type":"int"},{"name":"b","type":["null","float"]},{"name":"c","type":{"type":"long","logicalType":"timestamp-micros"}},
        {"name":"d","type":{"type":"bytes","logicalType":"decimal","precision":4}},{"name":"e","type":{"type":"enum","name":"E","symbols":["X"]}},
        {"name":"f","type":["int","string"]},{"name":"g","type":{"type":"array","items":"int"}},{"name":"h","type":["null",{"type":"string","logicalType":"uuid"}]},
        {"name":"source","type":"string"},{"name":"i","type":"bytes"}"#,
    )
    .unwrap();
    let ours = SYSTEM_COLUMNS.len();
    assert!(table.columns[..ours].iter().zip(SYSTEM_COLUMNS).all(|(column, name)| column.name == name));
    let fields: Vec<_> =
        table.columns[ours..].iter().map(|column| format!("{} {}", column.name, column.sql_type)).collect();
    assert_eq!(
        fields,
        [
            "a bigint",
            "b double precision",
            "c timestamptz",
            "d numeric",
            "e text",
            "f jsonb",
            "g jsonb",
            "h uuid",
            "event_source text",
            "i bytea",
        ]
    );
    assert_eq!(table.columns[ours + 8].path.as_ref().unwrap().to_string(), "$.source");
}

#[test]
fn statements_quote_their_names() {
    let table = table(r#"{"name":"order","type":"int"}"#).unwrap();
    let sql = table.create_sql("pipe\"line");
    assert!(
        sql.starts_with("CREATE TABLE IF NOT EXISTS \"pipe\"\"line\".\"mail\" (\n  \"event_id\" text PRIMARY KEY,\n"),
        "{sql}"
    );
    assert!(sql.ends_with("  \"reasons\" jsonb NOT NULL,\n  \"order\" bigint\n)"), "{sql}");
    let last = table.columns.last().unwrap();
    let sql = "ALTER TABLE \"pipeline\".\"mail\" ADD COLUMN IF NOT EXISTS \"order\" bigint";
    assert_eq!(table.add_column_sql("pipeline", last), sql);
}

#[test]
fn what_gives_no_table_says_why() {
    let long = "x".repeat(64);
    assert_eq!(table(&format!(r#"{{"name":"{long}","type":"int"}}"#)), Err(Error::NameTooLong(long)));
    let clash = table(r#"{"name":"source","type":"int"},{"name":"event_source","type":"int"}"#);
    assert_eq!(clash, Err(Error::Clash("event_source".into())));
    let text = Schema::parse(r#""string""#).unwrap();
    assert_eq!(
        Table::of("t", &text).unwrap_err().to_string(),
        "the event's schema is of type string: a table needs a record"
    );
}
