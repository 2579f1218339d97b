//! A document against its event schema: everything that a service would refuse at its start.

use std::path::{Path, PathBuf};

use millrace_core::{Fault, Faults, Pipeline, Source, document};
use millrace_policy::Policy;
use millrace_schema::{FieldPath, Schema, columns, projection};
use serde::Serialize;

use crate::Output;

/// A document that is right, with the schema of its events.
pub(crate) struct Checked {
    pub pipeline: Pipeline,
    pub schema: Schema,
    /// The columns of its table, where it has one.
    pub columns: Vec<columns::Column>,
}

#[derive(Serialize)]
struct Row {
    pipeline: String,
    table: String,
    column: String,
    sql_type: &'static str,
    field: Option<String>,
}

pub(super) fn run(files: &[PathBuf], output: Output) -> anyhow::Result<()> {
    let rows: Vec<Row> = all(files)?.iter().flat_map(mapping).collect();
    output.rows(&rows, &["PIPELINE", "TABLE", "COLUMN", "TYPE", "FIELD"], |row| {
        let Row { pipeline, table, column, sql_type, field } = row;
        let field = field.clone().unwrap_or_default();
        vec![pipeline.clone(), table.clone(), column.clone(), (*sql_type).to_owned(), field]
    })
}

/// Checks files and folders of documents; the faults of all of them come together.
pub(super) fn all(paths: &[PathBuf]) -> Result<Vec<Checked>, Faults> {
    // First all documents by themselves: two of one name are a fault as well.
    Pipeline::load_all(paths)?;
    let (mut checked, mut faults) = (Vec::new(), Vec::new());
    for file in documents(paths) {
        match check(&file) {
            Ok(document) => checked.push(document),
            Err(more) => faults.extend(more.0),
        }
    }
    Faults(faults).into_result().map(|()| checked)
}

fn documents(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(document::files_in(path).into_iter().filter(|path| is_pipeline(path)));
        } else {
            files.push(path.clone());
        }
    }
    files
}

fn is_pipeline(path: &Path) -> bool {
    Source::read(path).is_ok_and(|source| source.value()["kind"] == "Pipeline")
}

/// Which column holds which field.
fn mapping(checked: &Checked) -> Vec<Row> {
    let Some(import) = &checked.pipeline.spec.import else { return Vec::new() };
    let row = |column: &columns::Column| Row {
        pipeline: checked.pipeline.name().to_owned(),
        table: import.table.clone(),
        column: column.name.clone(),
        sql_type: column.sql_type.as_str(),
        field: column.path.as_ref().map(ToString::to_string),
    };
    checked.columns.iter().map(row).collect()
}

/// Checks one document with the schema file beside it.
pub(crate) fn check(file: &Path) -> Result<Checked, Faults> {
    let source = Source::read(file)?;
    let pipeline = Pipeline::parse(&source)?;
    let path = file.parent().unwrap_or(Path::new(".")).join(&pipeline.spec.events.schema);
    let text = std::fs::read_to_string(&path)
        .map_err(|error| source.fault("/spec/events/schema", format!("{} cannot be read: {error}", path.display())))?;
    let schema = Schema::parse(&text)
        .map_err(|error| source.fault("/spec/events/schema", format!("{}: {error}", path.display())))?;
    let mut faults = Vec::new();
    paths(&pipeline, &schema, &source, &mut faults);
    policy(&pipeline, &schema, &source, &mut faults);
    let columns = if pipeline.spec.import.is_some() { columns::of(&schema) } else { Ok(Vec::new()) };
    if let Err(error) = &columns {
        faults.push(source.fault("/spec/events/schema", error.to_string()));
    }
    faults.sort();
    Faults(faults).into_result()?;
    Ok(Checked { pipeline, schema, columns: columns.unwrap_or_default() })
}

/// Every path of the document names a field.
fn paths(pipeline: &Pipeline, schema: &Schema, source: &Source, faults: &mut Vec<Fault>) {
    let spec = &pipeline.spec;
    let mut field = |pointer: &str, path: &str| {
        let found = path.parse::<FieldPath>().map_err(|error| error.to_string());
        let found = found.and_then(|path| projection::kind_of(schema, &path).map_err(|error| error.to_string()));
        if let Err(reason) = found {
            faults.push(source.fault(pointer, reason));
        }
    };
    let events = &spec.events;
    for (name, path) in [("id", &events.id), ("time", &events.time)] {
        if let Some(path) = path {
            field(&format!("/spec/events/{name}"), path);
        }
    }
    for (i, path) in events.key.iter().enumerate() {
        field(&format!("/spec/events/key/{i}"), path);
    }
    for (i, path) in spec.scoring.iter().flat_map(|scoring| &scoring.never).enumerate() {
        field(&format!("/spec/scoring/never/{i}"), path);
    }
    let mut of_event = |pointer: String, text: &str| match text.strip_prefix("event.") {
        Some("time") if events.time.is_some() => {}
        Some(path) => field(&pointer, path),
        None => field(&pointer, text),
    };
    for (i, aggregate) in spec.import.iter().flat_map(|import| &import.aggregates).enumerate() {
        for (j, by) in aggregate.by.iter().enumerate() {
            let inner = by.strip_prefix("hour(").and_then(|rest| rest.strip_suffix(')')).unwrap_or(by);
            of_event(format!("/spec/import/aggregates/{i}/by/{j}"), inner);
        }
        for (j, sum) in aggregate.sum.iter().enumerate().filter(|(_, sum)| *sum != "score") {
            of_event(format!("/spec/import/aggregates/{i}/sum/{j}"), sum);
        }
    }
}

fn policy(pipeline: &Pipeline, schema: &Schema, source: &Source, faults: &mut Vec<Fault>) {
    if let Err(problems) = Policy::compile(&pipeline.spec.policy, &pipeline.spec.alerts, schema) {
        faults.extend(problems.iter().map(|problem| problem.fault(source)));
    }
}
