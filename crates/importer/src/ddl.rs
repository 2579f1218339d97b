//! The table, made and widened under a lock that all importers share.

use millrace_core::record::{IMPORTED_FROM, SYSTEM_COLUMNS};
use millrace_postgres::{GenericClient, Pool, Transaction};
use millrace_schema::{
    FieldPath,
    columns::{Column, SqlType, Table, quote_ident},
};

use crate::{
    aggregate::Grouping,
    error::{Error, Result},
    feed::{Feed, SCHEMA},
    shape::{Held, Shape, qualified},
};

/// Makes sure that the feed's table has `columns`, and its aggregates theirs, and says what the table is like. Nothing
/// is dropped, and a type is changed only where Avro promotes the one to the other. Statements wait at most the session's lock timeout for those who use the table.
pub async fn ensure(pool: &Pool, feed: &Feed, columns: &[Column]) -> Result<Shape> {
    let mut client = pool.get().await?;
    let mut transaction = client.transaction().await.map_err(db)?;
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('millrace.import.' || $1, 0))";
    transaction.execute(lock, &[&feed.table]).await.map_err(db)?;
    let existing = widen(&transaction, feed, columns).await?;
    ensure_key(&transaction, feed).await?;
    if columns.iter().any(|column| column.name == IMPORTED_FROM) {
        ensure_index(&transaction, &feed.table).await?;
    }
    // An aggregate may ask for a field that the newest version has no more: its column is still there.
    let known: Vec<Column> = columns.iter().cloned().chain(left_over(&existing, columns)).collect();
    let resolve = |aggregate| Grouping::resolve(&feed.table, aggregate, feed.time.as_deref(), &known);
    let groupings = feed.aggregates.iter().map(resolve).collect::<Result<Vec<_>>>()?;
    let existing = promote(&mut transaction, feed, columns, existing, &groupings).await?;
    for grouping in &groupings {
        ensure_aggregate(&transaction, &feed.table, grouping).await?;
    }
    transaction.commit().await.map_err(db)?;
    let is_ours = |column: &Column| {
        columns.contains(column) || groupings.iter().any(|grouping| grouping.sources().any(|name| name == column.name))
    };
    let held = known.iter().filter(|column| is_ours(column)).map(|column| held(&feed.table, &existing, column));
    Ok(Shape::new(&feed.table, held.collect::<Result<_>>()?, feed.key(), feed.rank(), &groupings))
}

/// Makes the table or adds what it lacks, and says what it has: name, type and NOT NULL.
async fn widen(transaction: &Transaction<'_>, feed: &Feed, columns: &[Column]) -> Result<Vec<Existing>> {
    let table = Table { name: feed.table.clone(), columns: columns.to_vec() };
    let mut existing = read(transaction, &feed.table).await?;
    if existing.is_empty() {
        make_schema(transaction).await?;
        transaction.batch_execute(&table.create_sql(SCHEMA)).await.map_err(db)?;
        tracing::info!(table = feed.table, columns = columns.len(), "table made");
        existing = read(transaction, &feed.table).await?;
    }
    let missing: Vec<&Column> =
        columns.iter().filter(|column| !existing.iter().any(|(name, ..)| *name == column.name)).collect();
    for column in &missing {
        transaction.batch_execute(&table.add_column_sql(SCHEMA, column)).await.map_err(db)?;
        tracing::info!(table = feed.table, column = column.name, sql_type = %column.sql_type, "column added");
    }
    if missing.is_empty() { Ok(existing) } else { read(transaction, &feed.table).await }
}

/// Gives columns the types that their fields were promoted to, and says what the table has then. What Postgres does not
/// let us change, because a view stands on it for instance, stays as it is: values that need the new type are then dead
/// letters, and the others are stored.
async fn promote(
    transaction: &mut Transaction<'_>,
    feed: &Feed,
    columns: &[Column],
    existing: Vec<Existing>,
    groupings: &[Grouping],
) -> Result<Vec<Existing>> {
    let table = Table { name: feed.table.clone(), columns: Vec::new() };
    let mut changed = false;
    for column in columns {
        let held = existing.iter().find(|(name, ..)| *name == column.name);
        let Some(held) = held.and_then(|(_, sql_type, _)| sql_type_of(sql_type)) else { continue };
        if !held.is_promoted_by(column.sql_type) {
            continue;
        }
        let savepoint = transaction.savepoint("promote").await.map_err(db)?;
        // It takes as long as the table is large, and once only.
        let mut sql = format!("SET LOCAL statement_timeout = 0; {}", table.promote_column_sql(SCHEMA, column));
        // A double has other digits than the integer that it was: such aggregates are made anew from the rows.
        for grouping in groupings.iter().filter(|grouping| grouping.sources().any(|name| name == column.name)) {
            sql.push_str(&format!("; DROP TABLE IF EXISTS {}", qualified(&grouping.table)));
        }
        let outcome = savepoint.batch_execute(&sql).await.map_err(millrace_postgres::Error::from);
        let (table, column, to) = (&feed.table, &column.name, column.sql_type);
        match outcome {
            Ok(()) => {
                savepoint.commit().await.map_err(db)?;
                tracing::info!(table, column, from = %held, %to, "column promoted");
                changed = true;
            }
            Err(error) if error.is_retriable() => return Err(error.into()),
            Err(error) => {
                savepoint.rollback().await.map_err(db)?;
                tracing::error!(table, column, is = %held, wanted = %to, %error, "cannot promote column: values that need it will be dead letters");
            }
        }
    }
    if changed { read(transaction, &feed.table).await } else { Ok(existing) }
}

/// Columns of the table that no schema asks for, as the fields that they once held.
fn left_over(existing: &[Existing], columns: &[Column]) -> Vec<Column> {
    let left = existing.iter().filter(|(name, ..)| !columns.iter().any(|column| column.name == *name));
    left.filter_map(|(name, sql_type, not_null)| {
        let ours = |field: &&str| SYSTEM_COLUMNS.contains(field);
        let field = name.strip_prefix("event_").filter(ours).unwrap_or(name);
        let path = Some(FieldPath::from_segments([field]));
        Some(Column { name: name.clone(), sql_type: sql_type_of(sql_type)?, path, node: None, nullable: !not_null })
    })
    .collect()
}

async fn make_schema(transaction: &Transaction<'_>) -> Result<()> {
    // Asked for first: CREATE SCHEMA IF NOT EXISTS wants a right that it does not need.
    let there = transaction.query_one("SELECT to_regnamespace($1) IS NOT NULL", &[&SCHEMA]).await.map_err(db)?;
    if !there.get::<_, bool>(0) {
        transaction.batch_execute(&format!("CREATE SCHEMA {}", quote_ident(SCHEMA))).await.map_err(db)?;
    }
    Ok(())
}

/// Name, type as Postgres calls it, and NOT NULL of a column.
type Existing = (String, String, bool);

/// The columns of a table; none where there is no table.
async fn read(client: &impl GenericClient, table: &str) -> Result<Vec<Existing>> {
    let sql = "SELECT a.attname::text, t.typname::text, a.attnotnull FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
               WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
    let rows = client.query(sql, &[&qualified(table)]).await.map_err(db)?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}

fn held(table: &str, existing: &[Existing], column: &Column) -> Result<Held> {
    let problem = |problem: String| Error::Table { table: qualified(table), problem };
    let (name, sql_type, not_null) = existing
        .iter()
        .find(|(name, ..)| *name == column.name)
        .ok_or_else(|| problem(format!("column {} was dropped a moment ago", column.name)))?;
    let known = sql_type_of(sql_type).ok_or_else(|| {
        problem(format!("column {name} is {sql_type}, which the importer cannot write: make it {}", column.sql_type))
    })?;
    Ok(Held { name: name.clone(), sql_type: known, not_null: *not_null })
}

/// The types whose bytes we can write, by Postgres's own names.
fn sql_type_of(name: &str) -> Option<SqlType> {
    Some(match name {
        "bool" => SqlType::Boolean,
        "int8" => SqlType::BigInt,
        "float8" => SqlType::Double,
        "text" | "varchar" | "bpchar" => SqlType::Text,
        "bytea" => SqlType::Bytea,
        "numeric" => SqlType::Numeric,
        "timestamptz" => SqlType::Timestamptz,
        "timestamp" => SqlType::Timestamp,
        "date" => SqlType::Date,
        "time" => SqlType::Time,
        "uuid" => SqlType::Uuid,
        "jsonb" => SqlType::Jsonb,
        _ => return None,
    })
}

/// What `ON CONFLICT` stands on.
async fn ensure_key(transaction: &Transaction<'_>, feed: &Feed) -> Result<()> {
    let sql = "SELECT array_agg(a.attname::text) FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey) \
               WHERE i.indrelid = to_regclass($1) AND i.indisprimary";
    let table = qualified(&feed.table);
    let found: Option<Vec<String>> = transaction.query_one(sql, &[&table]).await.map_err(db)?.get(0);
    match found {
        None => {
            let key: Vec<String> = feed.key().iter().map(|name| quote_ident(name)).collect();
            let add = format!("ALTER TABLE {table} ADD PRIMARY KEY ({})", key.join(", "));
            transaction.batch_execute(&add).await.map_err(db)
        }
        Some(found)
            if found.len() == feed.key().len() && feed.key().iter().all(|key| found.iter().any(|f| f == key)) =>
        {
            Ok(())
        }
        Some(found) => {
            let problem =
                format!("its primary key is ({}) and should be ({})", found.join(", "), feed.key().join(", "));
            Err(Error::Table { table, problem })
        }
    }
}

/// By it the rows of an object are found. Rows of the stream are not in it.
async fn ensure_index(transaction: &Transaction<'_>, table: &str) -> Result<()> {
    // Asked for first: CREATE INDEX IF NOT EXISTS waits for whoever writes, though it has nothing to do.
    let sql = "SELECT EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] \
               WHERE i.indrelid = to_regclass($1) AND i.indnatts = 1 AND i.indisvalid AND a.attname = $2)";
    let table = qualified(table);
    if !transaction.query_one(sql, &[&table, &IMPORTED_FROM]).await.map_err(db)?.get::<_, bool>(0) {
        let column = quote_ident(IMPORTED_FROM);
        let make =
            format!("SET LOCAL statement_timeout = 0; CREATE INDEX ON {table} ({column}) WHERE {column} IS NOT NULL");
        transaction.batch_execute(&make).await.map_err(db)?;
        tracing::info!(table, "index of objects made");
    }
    Ok(())
}

/// Makes an aggregate's table and fills it from the rows that are there.
async fn ensure_aggregate(transaction: &Transaction<'_>, rows: &str, grouping: &Grouping) -> Result<()> {
    let table = qualified(&grouping.table);
    let existing = read(transaction, &grouping.table).await?;
    if existing.is_empty() {
        return fill(transaction, &qualified(rows), &table, grouping).await;
    }
    let names: Vec<&str> = existing.iter().map(|(name, ..)| name.as_str()).collect();
    let wanted = grouping.columns();
    if wanted.iter().all(|name| names.contains(name)) && names.len() == wanted.len() {
        return Ok(());
    }
    let problem = format!(
        "it has the columns {} and the document asks for {}: drop it, and it is made anew from the rows",
        names.join(", "),
        wanted.join(", ")
    );
    Err(Error::Table { table, problem })
}

async fn fill(transaction: &Transaction<'_>, rows: &str, table: &str, grouping: &Grouping) -> Result<()> {
    // Nobody stores while the sums are taken, and they may take their time.
    let lock = format!("LOCK TABLE {rows} IN SHARE ROW EXCLUSIVE MODE; SET LOCAL statement_timeout = 0");
    transaction.batch_execute(&lock).await.map_err(db)?;
    transaction.batch_execute(&grouping.create_sql(table)).await.map_err(db)?;
    let fill = grouping.add_sql(table, &[(1, &format!("{rows} s"))]);
    let groups = transaction.execute(&fill, &[]).await.map_err(db)?;
    tracing::info!(table, groups, "aggregate made");
    Ok(())
}

/// The driver's error as ours.
pub(crate) fn db(error: impl Into<millrace_postgres::Error>) -> Error {
    Error::Postgres(error.into())
}
