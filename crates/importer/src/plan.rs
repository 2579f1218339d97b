//! Take the bytes of a record to the bytes of a row, without a value in between.

use millrace_core::{Code, id};
use millrace_postgres::copy::Writer;
use millrace_schema::{FieldPath, Projection, Schema, Slot, projection};

use crate::{
    error::Reject,
    feed::Kind,
    shape::Shape,
    value::{Misfit, Put},
    view::{Origin, View},
};

/// Compiled for one writer's schema and one shape of the table.
pub struct Plan {
    main: Projection,
    /// Fields that only the writer has: a second walk, for old writers only.
    extra: Option<Projection>,
    cells: Vec<Cell>,
    /// Slots of the main projection that decide and measure.
    event_id: usize,
    received_at: usize,
    scored_at: usize,
}

struct Cell {
    from: Take,
    put: Put,
    column: Box<str>,
}

#[derive(Clone, Copy)]
/// What a column takes its value from.
enum Take {
    Main(usize),
    Extra(usize),
    ImportedAt,
    ImportedFrom,
    /// Another writer's column.
    Nothing,
}

/// What a row says about its import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Microseconds since 1970.
    pub imported_at: i64,
    /// The number of its object in the ledger of objects; none in the stream.
    pub imported_from: Option<i64>,
}

/// What is kept of a row beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The later one of two rows of an id wins: ms since 1970.
    pub scored_at: i64,
    /// When the gateway received the event: ms since 1970.
    pub received_at: i64,
}

/// What encoding needs again and again.
#[derive(Default)]
pub struct Scratch<'a> {
    main: Vec<Slot<'a>>,
    extra: Vec<Slot<'a>>,
    json: Vec<u8>,
}

impl Plan {
    /// For records of `kind` of `writer`, into `shape`. `newest` is the newest version of the event; where it cannot
    /// read the writer at all, the writer's own names are taken.
    pub fn compile(kind: Kind, writer: &Schema, newest: Option<&Schema>, shape: &Shape) -> Result<Self, Reject> {
        let view = View::of(kind, writer, newest)?;
        match Self::from_view(writer, &view, shape) {
            Err(error) if newest.is_some() => {
                tracing::warn!(%error, "newest version cannot read this writer, taking the writer's own names");
                let view = View::of(kind, writer, None)?;
                Self::from_view(writer, &view, shape).map_err(|error| unreadable(&error))
            }
            other => other.map_err(|error| unreadable(&error)),
        }
    }

    fn from_view(writer: &Schema, view: &View, shape: &Shape) -> Result<Self, projection::Error> {
        let (mut main, mut extra) = (Vec::new(), Vec::new());
        let mut froms = Vec::with_capacity(shape.columns.len());
        for held in &shape.columns {
            let origin = view.columns.iter().find(|(column, _)| column.name == held.name).map(|(_, origin)| origin);
            froms.push(match origin {
                Some(Origin::Reader(path)) => Take::Main(push(&mut main, path)),
                Some(Origin::Writer(path)) => Take::Extra(push(&mut extra, path)),
                Some(Origin::ImportedAt) => Take::ImportedAt,
                Some(Origin::ImportedFrom) => Take::ImportedFrom,
                None => Take::Nothing,
            });
        }
        let [event_id, received_at, scored_at] =
            ["event_id", "received_at", "scored_at"].map(|name| index_of(&mut main, name));
        let main = Projection::compile(writer, &view.reader, &main)?;
        let extra = if extra.is_empty() { None } else { Some(Projection::compile(writer, writer, &extra)?) };
        let logical = |from: Take| match (from, &extra) {
            (Take::Main(index), _) => main.kind(index).logical,
            (Take::Extra(index), Some(extra)) => extra.kind(index).logical,
            _ => None,
        };
        let cells = froms.into_iter().zip(&shape.columns).map(|(from, held)| Cell {
            from,
            put: Put { sql_type: held.sql_type, logical: logical(from), not_null: held.not_null },
            column: held.name.as_str().into(),
        });
        Ok(Self { cells: cells.collect(), main, extra, event_id, received_at, scored_at })
    }

    /// Appends the row of a datum. After a rejection `out` is as it was.
    pub fn encode<'a>(
        &'a self,
        datum: &'a [u8],
        stamp: Stamp,
        scratch: &mut Scratch<'a>,
        out: &mut Writer,
    ) -> Result<Row, Reject> {
        let outcome = self.read(datum, scratch).and_then(|row| self.write(stamp, scratch, out).map(|()| row));
        match outcome {
            Ok(_) => out.end_row(),
            Err(_) => out.abort_row(),
        }
        outcome
    }

    fn read<'a>(&'a self, datum: &'a [u8], scratch: &mut Scratch<'a>) -> Result<Row, Reject> {
        let length = self.main.read(datum, &mut scratch.main).map_err(Reject::corrupt)?;
        if length != datum.len() {
            return Err(Reject::corrupt(format!("{} bytes are left over", datum.len() - length)));
        }
        if let Some(extra) = &self.extra {
            extra.read(datum, &mut scratch.extra).map_err(Reject::corrupt)?;
        }
        match scratch.main[self.event_id] {
            Slot::Str(id) => id::check_event_id(id).map_err(|error| misfit("event_id", &error))?,
            _ => return Err(misfit("event_id", &"no text")),
        }
        let millis = |index: usize| if let Slot::Long(value) = scratch.main[index] { value } else { 0 };
        Ok(Row { scored_at: millis(self.scored_at), received_at: millis(self.received_at) })
    }

    fn write(&self, stamp: Stamp, scratch: &mut Scratch<'_>, out: &mut Writer) -> Result<(), Reject> {
        out.begin_row(self.cells.len() as u16);
        for cell in &self.cells {
            let slot = match cell.from {
                Take::Main(index) => &scratch.main[index],
                Take::Extra(index) => &scratch.extra[index],
                Take::Nothing => &Slot::Missing,
                Take::ImportedAt => {
                    out.timestamptz(stamp.imported_at).map_err(|error| misfit(&cell.column, &error))?;
                    continue;
                }
                Take::ImportedFrom => {
                    match stamp.imported_from {
                        Some(object) => out.i64(object),
                        None => out.null(),
                    }
                    continue;
                }
            };
            cell.put.write(slot, out, &mut scratch.json).map_err(|Misfit(why)| misfit(&cell.column, &why))?;
        }
        Ok(())
    }
}

fn push(paths: &mut Vec<FieldPath>, path: &FieldPath) -> usize {
    paths.push(path.clone());
    paths.len() - 1
}

/// The place of a field of the record itself, which every view has.
fn index_of(paths: &mut Vec<FieldPath>, name: &str) -> usize {
    let path = FieldPath::from_segments([name]);
    match paths.iter().position(|known| *known == path) {
        Some(index) => index,
        None => push(paths, &path),
    }
}

fn misfit(column: &str, why: &dyn std::fmt::Display) -> Reject {
    Reject::new(Code::InvalidEvent, format!("column {column}: {why}"))
}

fn unreadable(error: &projection::Error) -> Reject {
    Reject::new(error.code(), error.to_string())
}
