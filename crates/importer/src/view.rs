//! Which column a writer's schema gives which field to, before anybody has looked at the table.

use millrace_core::{
    Code,
    record::{IMPORTED_FROM, VERDICT_SCHEMA},
};
use millrace_schema::{
    FieldPath, Record, Schema,
    columns::{self, Column},
    scored,
};

use crate::{
    error::Reject,
    feed::{Kind, verdict_columns},
};

/// Where a column's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A path of the reader's schema.
    Reader(FieldPath),
    /// A path of the writer's own schema: the newest version has no such field any more.
    Writer(FieldPath),
    /// The clock.
    ImportedAt,
    /// The object that the record stands in, where it does not come from the stream.
    ImportedFrom,
}

/// The columns that records of one writer's schema fill.
pub(crate) struct View {
    /// The schema that names the fields, promotes and gives the defaults.
    pub(crate) reader: Schema,
    pub(crate) columns: Vec<(Column, Origin)>,
}

impl View {
    /// Of records of `kind` written with `writer`. `newest` is the newest version of the event's schema, where it is
    /// known: the table has its shape, and a field that it has renamed goes to the new name's column.
    pub(crate) fn of(kind: Kind, writer: &Schema, newest: Option<&Schema>) -> Result<Self, Reject> {
        match kind {
            Kind::Scores => Self::of_scored(writer, newest),
            Kind::Verdicts => Ok(Self::of_verdict()),
        }
    }

    fn of_scored(writer: &Schema, newest: Option<&Schema>) -> Result<Self, Reject> {
        let event = scored::event_schema(writer).map_err(|error| Reject::new(error.code(), error.to_string()))?;
        let newest = newest.unwrap_or(&event);
        let bad = |error: &dyn std::fmt::Display| Reject::new(Code::InvalidEvent, error.to_string());
        let reader = scored::compose(newest).map_err(|error| bad(&error))?;
        let column = |column: Column| {
            let origin = origin(&column, Origin::Reader);
            (column, origin)
        };
        let mut all: Vec<_> = columns::of(newest).map_err(|error| bad(&error))?.into_iter().map(column).collect();
        for own in columns::of(&event).map_err(|error| bad(&error))? {
            let known = all.iter().any(|(column, _)| column.name == own.name);
            if !known && !own.path.as_ref().is_some_and(|path| lives_on(&event, newest, path)) {
                let origin = origin(&own, Origin::Writer);
                all.push((own, origin));
            }
        }
        Ok(Self { reader, columns: all })
    }

    fn of_verdict() -> Self {
        let reader = Schema::parse(VERDICT_SCHEMA).expect("a test parses this constant");
        let column = |column: Column| {
            let origin = column.path.clone().map_or(Origin::ImportedAt, Origin::Reader);
            (column, origin)
        };
        Self { reader, columns: verdict_columns().into_iter().map(column).collect() }
    }

    /// The columns alone.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().map(|(column, _)| column)
    }
}

/// Columns of ours hold the record's own fields, the others those of its event.
fn origin(column: &Column, from: impl FnOnce(FieldPath) -> Origin) -> Origin {
    match &column.path {
        Some(path) => from(FieldPath::from_segments([scored::EVENT_FIELD].into_iter().chain(path.segments()))),
        None if column.name == "imported_at" => Origin::ImportedAt,
        None if column.name == IMPORTED_FROM => Origin::ImportedFrom,
        None => from(FieldPath::from_segments([&column.name])),
    }
}

/// Whether a field of the writer is read as one of the newest version, perhaps under another name.
fn lives_on(writer: &Schema, newest: &Schema, path: &FieldPath) -> bool {
    let field = |record: &Record| path.first().and_then(|name| record.field(name).cloned());
    let (Some(old), Some(new)) = (writer.root_node().record().and_then(field), newest.root_node().record()) else {
        return false;
    };
    new.fields
        .iter()
        .any(|field| field.name == old.name || field.aliases.contains(&old.name) || old.aliases.contains(&field.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(fields: &str) -> Schema {
        Schema::parse(&format!(r#"{{"type":"record","name":"E","fields":[{fields}]}}"#)).unwrap()
    }

    fn origins(old: &str, new: &str) -> Vec<String> {
        let writer = scored::compose(&event(old)).unwrap();
        let view = View::of(Kind::Scores, &writer, Some(&event(new))).unwrap();
        let ours = millrace_core::record::SYSTEM_COLUMNS.len();
        view.columns[ours..].iter().map(|(column, origin)| format!("{} {origin:?}", column.name)).collect()
    }

    #[test]
    fn a_renamed_field_goes_to_the_new_column_and_a_removed_one_keeps_its_own() {
        let old = r#"{"name":"a","type":"int"},{"name":"gone","type":"int"},{"name":"source","type":"int"}"#;
        let new = r#"{"name":"b","type":"long","aliases":["a"]},{"name":"source","type":"int"}"#;
        let columns = origins(old, new);
        assert_eq!(columns.len(), 3, "{columns:?}");
        assert!(columns[0].starts_with("b Reader(") && columns[0].contains("\"b\""), "{columns:?}");
        assert!(columns[1].starts_with("event_source Reader("), "{columns:?}");
        assert!(columns[2].starts_with("gone Writer("), "{columns:?}");
    }

    #[test]
    fn our_columns_come_from_the_record_and_the_clock() {
        let writer = scored::compose(&event(r#"{"name":"a","type":"int"}"#)).unwrap();
        let view = View::of(Kind::Scores, &writer, None).unwrap();
        let of = |name: &str| view.columns.iter().find(|(column, _)| column.name == name).unwrap().1.clone();
        assert_eq!(of("imported_at"), Origin::ImportedAt);
        assert_eq!(of("imported_from"), Origin::ImportedFrom);
        assert_eq!(of("event_id"), Origin::Reader(FieldPath::from_segments(["event_id"])));
    }

    #[test]
    fn verdicts_have_a_table_of_their_own() {
        let schema = Schema::parse(VERDICT_SCHEMA).unwrap();
        let view = View::of(Kind::Verdicts, &schema, None).unwrap();
        for (column, origin) in &view.columns {
            if let Origin::Reader(path) = origin {
                millrace_schema::projection::kind_of(&schema, path).unwrap_or_else(|_| panic!("{}", column.name));
            }
        }
        assert!(View::of(Kind::Scores, &schema, None).is_err());
    }
}
