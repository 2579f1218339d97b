//! What is read and where it goes: one topic of one pipeline, one table.

use std::sync::Arc;

use millrace_core::{
    Pipeline,
    pipeline::{Aggregate, Import},
};
use millrace_schema::{FieldPath, columns::Column, columns::SqlType};

/// The Postgres schema of the tables that people query.
pub const SCHEMA: &str = "pipeline";

/// The two kinds of records that are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Scored events: one row for an event, the later score wins.
    Scores,
    /// Verdicts: one row for a verdict; a replay gives the same ids and changes nothing.
    Verdicts,
}

/// One topic and its table.
#[derive(Clone, Debug)]
pub struct Feed {
    /// What its records are.
    pub kind: Kind,
    /// `scores`, `verdicts` or `objects`: in names of threads and metrics.
    pub name: &'static str,
    /// The pipeline's name.
    pub pipeline: String,
    /// Where the records are read.
    pub topic: String,
    /// Under which consumer group; the name of its rows in the ledger as well.
    pub group: String,
    /// Where records go that cannot be stored.
    pub dead_topic: Arc<str>,
    /// The table, without its Postgres schema.
    pub table: String,
    /// The registry's subject of the events: its latest version gives the table its shape.
    pub subject: Option<String>,
    /// Counts and sums that are kept beside the rows.
    pub aggregates: Vec<Aggregate>,
    /// The event's field with its own time: what `event.time` means in an aggregate.
    pub time: Option<String>,
}

impl Feed {
    /// The feeds of a pipeline: none where its document has no `import`.
    pub fn of(pipeline: &Pipeline) -> Vec<Self> {
        pipeline
            .spec
            .import
            .as_ref()
            .map_or_else(Vec::new, |import| vec![Self::scores(pipeline, import), Self::verdicts(pipeline, import)])
    }

    /// The same table, filled from files of S3: none where the document has no `import`.
    pub fn of_objects(pipeline: &Pipeline) -> Option<Self> {
        let scores = Self::scores(pipeline, pipeline.spec.import.as_ref()?);
        Some(Self { name: "objects", group: pipeline.group("importer-objects"), ..scores })
    }

    fn scores(pipeline: &Pipeline, import: &Import) -> Self {
        Self {
            kind: Kind::Scores,
            name: "scores",
            pipeline: pipeline.name().to_owned(),
            topic: pipeline.scores_topic(),
            group: pipeline.group("importer-scores"),
            dead_topic: pipeline.dead_topic().into(),
            table: import.table.clone(),
            subject: Some(pipeline.spec.events.subject.clone()),
            aggregates: import.aggregates.clone(),
            time: pipeline.spec.events.time.clone(),
        }
    }

    fn verdicts(pipeline: &Pipeline, import: &Import) -> Self {
        Self {
            kind: Kind::Verdicts,
            name: "verdicts",
            topic: pipeline.verdicts_topic(),
            group: pipeline.group("importer-verdicts"),
            table: format!("{}_verdicts", import.table),
            subject: None,
            aggregates: Vec::new(),
            ..Self::scores(pipeline, import)
        }
    }

    /// The columns of the primary key, in order.
    pub fn key(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Scores => &["event_id"],
            Kind::Verdicts => &["event_id", "verdict_id"],
        }
    }

    /// The column whose later value wins; without one the first row stays.
    pub fn rank(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Scores => Some("scored_at"),
            Kind::Verdicts => None,
        }
    }
}

/// The columns of a table of verdicts. `imported_at` has no field.
pub fn verdict_columns() -> Vec<Column> {
    use SqlType::{Double, Jsonb, Text, Timestamptz, Uuid};
    let columns = [
        ("event_id", Text),
        ("verdict_id", Uuid),
        ("correlation_id", Text),
        ("received_at", Timestamptz),
        ("scored_at", Timestamptz),
        ("judged_at", Timestamptz),
        ("imported_at", Timestamptz),
        ("action", Text),
        ("labels", Jsonb),
        ("rule", Text),
        ("score", Double),
        ("model", Text),
        ("model_version", Text),
        ("policy_revision", Text),
        ("alerts", Jsonb),
    ];
    let column = |(name, sql_type): (&str, SqlType)| Column {
        name: name.to_owned(),
        sql_type,
        path: (name != "imported_at").then(|| FieldPath::from_segments([name])),
        node: None,
        nullable: false,
    };
    columns.into_iter().map(column).collect()
}
