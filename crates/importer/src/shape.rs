//! The table as it is, and the statements that fill it.

use millrace_schema::columns::{Column, SqlType, quote_ident};

use crate::{aggregate::Grouping, feed::SCHEMA};

/// A column that is there, with the type that it has and not the one that a schema would give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its name.
    pub name: String,
    /// Its type.
    pub sql_type: SqlType,
    /// Whether it refuses null.
    pub not_null: bool,
}

/// The part of a table that an importer fills: the key's columns first. What others have added is left alone.
#[derive(Debug)]
pub struct Shape {
    /// The columns.
    pub columns: Vec<Held>,
    /// How many of them are the key.
    pub key: usize,
    /// The table, as SQL writes it.
    pub table: String,
    pub(crate) statements: Statements,
}

/// Everything that a transaction says. `stage` and `replaced` are temporary tables of the session.
#[derive(Debug)]
pub(crate) struct Statements {
    /// Makes the temporary tables.
    pub(crate) prepare: String,
    /// Takes the rows in.
    pub(crate) copy: String,
    /// Stores what is not there yet.
    pub(crate) insert: String,
    /// The rest, where later rows take the place of earlier ones.
    pub(crate) replace: Option<Replace>,
    /// What an object needs beside that, where later rows take the place of earlier ones.
    pub(crate) rewrite: Option<Rewrite>,
    pub(crate) aggregates: Vec<Add>,
}

/// Rows of one id again: which earlier rows give way, and how.
#[derive(Debug)]
pub(crate) struct Replace {
    /// Locks and keeps the rows that give way.
    pub(crate) keep: String,
    /// Puts the new ones in their place.
    pub(crate) update: String,
}

/// The rows of one object.
#[derive(Debug)]
pub(crate) struct Rewrite {
    /// Takes those that are there away, and keeps them: the object's number is `$1`.
    pub(crate) remove: String,
    /// Whether the stage has an id twice.
    pub(crate) repeats: String,
    /// Leaves of each id the row that stays: the latest, of equals the first.
    pub(crate) unique: String,
}

/// What one aggregate takes from a transaction.
#[derive(Debug)]
pub(crate) struct Add {
    /// Every staged row is new.
    pub(crate) all: String,
    /// Only the rows that were stored, less those that gave way.
    pub(crate) changed: String,
    /// Removes groups that have become empty.
    pub(crate) sweep: String,
}

impl Shape {
    /// Of `columns` in their order, after those of `key`.
    pub(crate) fn new(
        name: &str,
        mut columns: Vec<Held>,
        key: &[&str],
        rank: Option<&str>,
        groupings: &[Grouping],
    ) -> Self {
        columns.sort_by_key(|column| key.iter().position(|name| *name == column.name).unwrap_or(key.len()));
        let table = qualified(name);
        let statements = Statements::new(&table, &columns, key, rank, groupings);
        Self { columns, key: key.len(), table, statements }
    }

    /// Whether every one of `wanted` is there, and of a type that holds its values.
    pub(crate) fn has(&self, wanted: &[Column]) -> bool {
        let fits =
            |held: &Held, column: &Column| held.name == column.name && !held.sql_type.is_promoted_by(column.sql_type);
        wanted.iter().all(|column| self.columns.iter().any(|held| fits(held, column)))
    }
}

/// A table of ours as SQL writes it.
pub(crate) fn qualified(table: &str) -> String {
    format!("{}.{}", quote_ident(SCHEMA), quote_ident(table))
}

const STAGE: &str = "pg_temp.stage";
const REPLACED: &str = "pg_temp.replaced";
/// Rows that this very transaction has written: it has no subtransactions, so that each has its number.
const OURS: &str = "t.xmin = pg_current_xact_id()::xid";

impl Statements {
    fn new(table: &str, columns: &[Held], key: &[&str], rank: Option<&str>, groupings: &[Grouping]) -> Self {
        let names: Vec<String> = columns.iter().map(|column| quote_ident(&column.name)).collect();
        let names = names.join(", ");
        let keys = key.iter().map(|name| quote_ident(name)).collect::<Vec<_>>().join(", ");
        let temporary = |name: &str| {
            format!(
                "DROP TABLE IF EXISTS {name}; CREATE TEMP TABLE {} ON COMMIT DELETE ROWS AS SELECT {names} FROM {table} WITH NO DATA",
                &name["pg_temp.".len()..]
            )
        };
        let prepare = match rank {
            Some(_) => format!("{}; {}", temporary(STAGE), temporary(REPLACED)),
            None => temporary(STAGE),
        };
        let accepted =
            format!("{STAGE} s WHERE EXISTS (SELECT FROM {table} t WHERE {} AND {OURS})", same(key, "t", "s"));
        let add = |grouping: &Grouping| {
            let target = qualified(&grouping.table);
            Add {
                all: grouping.add_sql(&target, &[(1, &format!("{STAGE} s"))]),
                changed: grouping.add_sql(&target, &[(1, &accepted), (-1, &format!("{REPLACED} s"))]),
                sweep: Grouping::sweep_sql(&target),
            }
        };
        Self {
            prepare,
            copy: format!("COPY {STAGE} ({names}) FROM STDIN (FORMAT binary)"),
            insert: format!(
                "INSERT INTO {table} ({names}) SELECT {names} FROM {STAGE} ON CONFLICT ({keys}) DO NOTHING"
            ),
            replace: rank.map(|rank| Replace::new(table, columns, key, rank)),
            rewrite: rank.map(|rank| Rewrite::new(table, &names, &keys, rank)),
            aggregates: groupings.iter().map(add).collect(),
        }
    }
}

impl Replace {
    fn new(table: &str, columns: &[Held], key: &[&str], rank: &str) -> Self {
        let rank = quote_ident(rank);
        let list = |prefix: &str| {
            columns.iter().map(|column| format!("{prefix}{}", quote_ident(&column.name))).collect::<Vec<_>>().join(", ")
        };
        let set: Vec<String> = columns
            .iter()
            .filter(|column| !key.contains(&column.name.as_str()))
            .map(|column| format!("{0} = s.{0}", quote_ident(&column.name)))
            .collect();
        let order = key.iter().map(|name| format!("t.{}", quote_ident(name))).collect::<Vec<_>>().join(", ");
        Self {
            keep: format!(
                "INSERT INTO {REPLACED} ({}) SELECT {} FROM {table} t JOIN {STAGE} s ON {} \
                 WHERE NOT {OURS} AND s.{rank} > t.{rank} ORDER BY {order} FOR UPDATE OF t",
                list(""),
                list("t."),
                same(key, "t", "s"),
            ),
            update: format!(
                "UPDATE {table} t SET {} FROM {STAGE} s JOIN {REPLACED} r ON {} WHERE {} AND NOT {OURS}",
                set.join(", "),
                same(key, "r", "s"),
                same(key, "t", "s"),
            ),
        }
    }
}

impl Rewrite {
    /// `names` are the table's columns and `keys` those of its key, as SQL writes them.
    fn new(table: &str, names: &str, keys: &str, rank: &str) -> Self {
        Self {
            remove: format!(
                "WITH gone AS (DELETE FROM {table} WHERE imported_from = $1 RETURNING {names}) \
                 INSERT INTO {REPLACED} ({names}) SELECT {names} FROM gone"
            ),
            repeats: format!("SELECT EXISTS (SELECT FROM {STAGE} GROUP BY {keys} HAVING count(*) > 1)"),
            unique: format!(
                "DELETE FROM {STAGE} s USING (SELECT ctid, row_number() OVER (PARTITION BY {keys} ORDER BY {} DESC, ctid) AS place \
                 FROM {STAGE}) r WHERE s.ctid = r.ctid AND r.place > 1",
                quote_ident(rank)
            ),
        }
    }
}

fn same(key: &[&str], a: &str, b: &str) -> String {
    let equal = |name: &&str| format!("{a}.{0} = {b}.{0}", quote_ident(name));
    key.iter().map(equal).collect::<Vec<_>>().join(" AND ")
}
