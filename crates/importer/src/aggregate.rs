//! Counts and sums beside the rows: from the document's words to SQL.
//!
//! A group's row holds `count` (always: an empty group is removed by it) and a `sum_<name>` for each sum, `numeric` of
//! values rounded to 1e-9, so that adding and taking away is exact in any order. The sum of no value is 0. A value that
//! is no number (NaN, infinity) counts as absent: it could never be taken away again.

use millrace_core::pipeline::Aggregate;
use millrace_schema::columns::{Column, SqlType, quote_ident};

use crate::error::{Error, Result};

/// An aggregate with its columns found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grouping {
    /// The table, without its Postgres schema.
    pub(crate) table: String,
    pub(crate) by: Vec<By>,
    pub(crate) sums: Vec<Sum>,
}

/// One column of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct By {
    /// Its name in the aggregate's table.
    pub(crate) name: String,
    pub(crate) sql_type: SqlType,
    /// The column of the rows' table.
    column: String,
    hour: bool,
}

/// One sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sum {
    /// Its name in the aggregate's table.
    pub(crate) name: String,
    column: String,
    sql_type: SqlType,
}

impl Grouping {
    /// Finds what the document names among the columns. `time` is the field that `event.time` means.
    pub(crate) fn resolve(table: &str, aggregate: &Aggregate, time: Option<&str>, columns: &[Column]) -> Result<Self> {
        let fail = |problem: String| Error::Aggregate { aggregate: aggregate.name.clone(), problem };
        let find = |text: &str| find(text, time, columns).map_err(fail);
        let mut by: Vec<By> = Vec::new();
        for text in &aggregate.by {
            let hour = text.strip_prefix("hour(").and_then(|rest| rest.strip_suffix(')'));
            let column = find(hour.unwrap_or(text).trim())?;
            if hour.is_some() && !matches!(column.sql_type, SqlType::Timestamptz | SqlType::Timestamp) {
                return Err(fail(format!("`{text}`: {} is {} and no time", column.name, column.sql_type)));
            }
            let name = if hour.is_some() { "hour".to_owned() } else { column.name.clone() };
            let name = if by.iter().any(|other| other.name == name) { format!("hour_{}", column.name) } else { name };
            by.push(By { name, sql_type: column.sql_type, column: column.name.clone(), hour: hour.is_some() });
        }
        let mut sums = Vec::new();
        for text in &aggregate.sum {
            let column = find(text)?;
            if !matches!(column.sql_type, SqlType::BigInt | SqlType::Double | SqlType::Numeric) {
                return Err(fail(format!("`{text}`: {} is {} and no number", column.name, column.sql_type)));
            }
            let name = format!("sum_{}", column.name);
            sums.push(Sum { name, column: column.name.clone(), sql_type: column.sql_type });
        }
        Ok(Self { table: format!("{table}_{}", aggregate.name), by, sums })
    }

    /// The columns of the rows' table that it needs.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &str> {
        self.by.iter().map(|by| by.column.as_str()).chain(self.sums.iter().map(|sum| sum.column.as_str()))
    }

    /// The names of all its columns, in order.
    pub(crate) fn columns(&self) -> Vec<&str> {
        let by = self.by.iter().map(|by| by.name.as_str());
        by.chain(["count"]).chain(self.sums.iter().map(|sum| sum.name.as_str())).collect()
    }

    /// The statement that makes its table. Groups without a value are groups, so NULL equals NULL.
    pub(crate) fn create_sql(&self, qualified: &str) -> String {
        let by = self.by.iter().map(|by| format!("{} {}", quote_ident(&by.name), by.sql_type));
        let sums = self.sums.iter().map(|sum| format!("{} numeric NOT NULL", quote_ident(&sum.name)));
        let count = "count bigint NOT NULL".to_owned();
        let unique = format!("UNIQUE NULLS NOT DISTINCT ({})", self.key());
        let lines: Vec<String> = by.chain([count]).chain(sums).chain([unique]).collect();
        format!("CREATE TABLE {qualified} (\n  {}\n)", lines.join(",\n  "))
    }

    /// Adds what `signed` (a list of `(+1 or -1, FROM clause with alias s)`) holds to the groups.
    pub(crate) fn add_sql(&self, qualified: &str, signed: &[(i8, &str)]) -> String {
        let parts: Vec<String> = signed.iter().map(|(sign, from)| self.select(*sign, from)).collect();
        let groups: Vec<String> = (0..self.by.len()).map(|i| format!("g{i}")).collect();
        let (groups, columns) = (groups.join(", "), self.columns());
        let sums = (0..self.sums.len()).map(|i| format!("coalesce(sum(n * v{i}), 0)"));
        let totals: Vec<String> = std::iter::once("sum(n)".to_owned()).chain(sums).collect();
        let names: Vec<String> = columns.iter().map(|name| quote_ident(name)).collect();
        let set: Vec<String> = columns[self.by.len()..]
            .iter()
            .map(|name| format!("{0} = a.{0} + excluded.{0}", quote_ident(name)))
            .collect();
        // In order, so that two importers that meet in some groups wait for each other and do not deadlock.
        format!(
            "INSERT INTO {qualified} AS a ({}) SELECT {groups}, {} FROM ({}) d GROUP BY {groups} ORDER BY {groups} \
             ON CONFLICT ({}) DO UPDATE SET {}",
            names.join(", "),
            totals.join(", "),
            parts.join(" UNION ALL "),
            self.key(),
            set.join(", "),
        )
    }

    /// Removes the groups that no row is in any more.
    pub(crate) fn sweep_sql(qualified: &str) -> String {
        format!("DELETE FROM {qualified} WHERE count = 0")
    }

    fn select(&self, sign: i8, from: &str) -> String {
        let by = self.by.iter().enumerate().map(|(i, by)| format!(", {} AS g{i}", by.expression()));
        let sums = self.sums.iter().enumerate().map(|(i, sum)| format!(", {} AS v{i}", sum.expression()));
        let values: String = by.chain(sums).collect();
        format!("SELECT {sign} AS n{values} FROM {from}")
    }

    fn key(&self) -> String {
        self.by.iter().map(|by| quote_ident(&by.name)).collect::<Vec<_>>().join(", ")
    }
}

impl By {
    fn expression(&self) -> String {
        let column = quote_ident(&self.column);
        match (self.hour, self.sql_type) {
            (true, SqlType::Timestamptz) => format!("date_trunc('hour', s.{column}, 'UTC')"),
            (true, _) => format!("date_trunc('hour', s.{column})"),
            (false, _) => format!("s.{column}"),
        }
    }
}

impl Sum {
    fn expression(&self) -> String {
        let column = quote_ident(&self.column);
        match self.sql_type {
            SqlType::Double => format!(
                "CASE WHEN s.{column} > '-Infinity' AND s.{column} < 'Infinity' THEN round(s.{column}::numeric, 9) END"
            ),
            _ => format!("round(s.{column}::numeric, 9)"),
        }
    }
}

/// `event.<field>` is the field's column, `event.time` the document's time where no field is called so; a bare name is
/// a column of ours.
fn find<'a>(text: &str, time: Option<&str>, columns: &'a [Column]) -> Result<&'a Column, String> {
    let field =
        |name: &str| columns.iter().find(|column| column.path.as_ref().is_some_and(|path| path.segments().eq([name])));
    let found = match text.strip_prefix("event.") {
        Some("time") => field("time").or_else(|| field(time?)),
        Some(name) => field(name),
        None => columns.iter().find(|column| column.path.is_none() && column.name == text),
    };
    found.ok_or_else(|| {
        format!("`{text}`: expected `event.<field>` of a field that the event's newest version has, or a column such as `score`")
    })
}

#[cfg(test)]
mod tests {
    use millrace_schema::{Schema, columns};

    use super::*;

    fn columns() -> Vec<Column> {
        let event = r#"{"type":"record","name":"E","fields":[
            {"name":"org","type":["null","string"]},
            {"name":"received_at","type":{"type":"long","logicalType":"timestamp-millis"}},
            {"name":"size","type":"int"}]}"#;
        columns::of(&Schema::parse(event).unwrap()).unwrap()
    }

    fn aggregate(by: &[&str], sum: &[&str]) -> Aggregate {
        let text = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Aggregate { name: "a".into(), by: text(by), count: true, sum: text(sum) }
    }

    #[test]
    fn the_documents_words_find_their_columns() {
        let wanted = aggregate(&["event.org", "hour(event.time)"], &["score", "event.size"]);
        let grouping = Grouping::resolve("mail", &wanted, Some("received_at"), &columns()).unwrap();
        assert_eq!(grouping.table, "mail_a");
        assert_eq!(grouping.columns(), ["org", "hour", "count", "sum_score", "sum_size"]);
        let sql = grouping.add_sql("x", &[(1, "stage s")]);
        assert!(sql.contains("date_trunc('hour', s.\"event_received_at\", 'UTC')"), "{sql}");
        assert!(sql.contains("round(s.\"size\"::numeric, 9) AS v1"), "{sql}");
    }

    #[test]
    fn what_is_not_there_is_named() {
        for (by, sum, word) in [("event.nothing", "score", "event.nothing"), ("hour(event.org)", "score", "no time")] {
            let error = Grouping::resolve("mail", &aggregate(&[by], &[sum]), None, &columns()).unwrap_err().to_string();
            assert!(error.contains("`a`") && error.contains(word), "{error}");
        }
        let error = Grouping::resolve("mail", &aggregate(&["event.org"], &["event.org"]), None, &columns());
        assert!(error.unwrap_err().to_string().contains("no number"));
        assert!(Grouping::resolve("mail", &aggregate(&["hour(event.time)"], &[]), None, &columns()).is_err());
    }
}
