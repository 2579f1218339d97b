use millrace_schema::{FieldPath, Projection, Schema, Slot, projection};

use crate::{Error, Result, features};

/// Where a record says when it happened and what it turned out to be.
#[derive(Clone, Debug)]
pub struct Labels {
    /// The field of the event's own time: a timestamp.
    pub time: FieldPath,
    /// The field of the label: a string or an enum.
    pub field: FieldPath,
    /// Labels that count as positive.
    pub positive: Vec<String>,
    /// Labels that count as negative. Records with any other have none.
    pub negative: Vec<String>,
}

/// The time that records must be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first instant of it, in milliseconds of the epoch.
    pub since: i64,
    /// The first instant after it.
    pub until: i64,
}

/// All time.
impl Default for Window {
    fn default() -> Self {
        Self { since: i64::MIN, until: i64::MAX }
    }
}

impl Window {
    /// Reads an instant, RFC 3339, as these are counted.
    pub fn instant(text: &str) -> Result<i64, String> {
        let instant: jiff::Timestamp = text.parse().map_err(|error| format!("not an instant of RFC 3339: {error}"))?;
        Ok(instant.as_millisecond())
    }
}

/// Records for training, in memory.
pub struct Corpus {
    schema: Schema,
    labels: Labels,
    window: Window,
    unit: i64,
    writers: Vec<(Schema, Projection)>,
    records: Vec<Record>,
}

/// One of the schemas that records were written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writer(usize);

#[derive(Debug)]
pub(super) struct Record {
    pub(super) datum: Box<[u8]>,
    pub(super) writer: usize,
    /// The order of adding.
    pub(super) index: usize,
    /// Milliseconds of the epoch.
    pub(super) time: i64,
    pub(super) label: Option<bool>,
}

impl Corpus {
    /// Without records. `schema` is the newest of the events' schemas: the names in features are its names.
    pub fn new(schema: Schema, labels: Labels, window: Window) -> Result<Self> {
        let kind = projection::kind_of(&schema, &labels.time)?;
        projection::kind_of(&schema, &labels.field)?;
        let unit = features::unit(kind)
            .ok_or_else(|| Error::Training(format!("{} is no timestamp: records have no order", labels.time)))?;
        Ok(Self { schema, labels, window, unit, writers: Vec::new(), records: Vec::new() })
    }

    /// Makes a schema known that records were written with.
    pub fn writer(&mut self, schema: &Schema) -> Result<Writer> {
        let paths = [self.labels.time.clone(), self.labels.field.clone()];
        let projection = Projection::compile(schema, &self.schema, &paths)?;
        self.writers.push((schema.clone(), projection));
        Ok(Writer(self.writers.len() - 1))
    }

    /// Adds a record, if it is of the window. Says whether it was.
    pub fn add(&mut self, writer: Writer, datum: &[u8]) -> Result<bool> {
        let index = self.records.len();
        let mut slots = Vec::new();
        self.writers[writer.0].1.read(datum, &mut slots).map_err(|source| Error::Corrupt { index, source })?;
        let Slot::Long(time) = slots[0] else {
            return Err(Error::Training(format!("record {index} has no time at {}", self.labels.time)));
        };
        let time = (i128::from(time) * 1000).div_euclid(i128::from(self.unit)) as i64;
        let label = match slots[1] {
            Slot::Str(text) => self.labels.of(text),
            _ => None,
        };
        let wanted = (self.window.since..self.window.until).contains(&time);
        if wanted {
            self.records.push(Record { datum: datum.into(), writer: writer.0, index, time, label });
        }
        Ok(wanted)
    }

    /// How many records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The records in the order of their time; of one instant, in that of adding.
    pub(super) fn in_time(&self) -> Vec<&Record> {
        let mut records: Vec<&Record> = self.records.iter().collect();
        records.sort_by_key(|record| record.time);
        records
    }

    /// How the records of each writer are read.
    pub(super) fn projections(&self, paths: &[FieldPath]) -> Result<Vec<Projection>> {
        let compile = |(schema, _): &(Schema, Projection)| Ok(Projection::compile(schema, &self.schema, paths)?);
        self.writers.iter().map(compile).collect()
    }

    /// The schemas that records were written with, by the numbers of their writers.
    pub(super) fn writers(&self) -> Vec<&Schema> {
        self.writers.iter().map(|(schema, _)| schema).collect()
    }

    /// The events' schema.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }
}

impl Labels {
    fn of(&self, text: &str) -> Option<bool> {
        let among = |labels: &[String]| labels.iter().any(|label| label == text);
        if among(&self.positive) { Some(true) } else { among(&self.negative).then_some(false) }
    }
}
