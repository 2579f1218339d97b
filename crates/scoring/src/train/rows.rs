use std::ops::Range;

use millrace_schema::Projection;

use super::{Corpus, corpus::Record, timeline::Timeline};
use crate::{
    Error, Result,
    baselines::Baselines,
    features::{Cells, Program},
    gbdt::Matrix,
};

/// Rows with labels, in the order of time.
pub(super) struct Rows {
    pub(super) matrix: Matrix,
    pub(super) labels: Vec<bool>,
}

impl Rows {
    pub(super) fn has_both_labels(&self) -> bool {
        self.labels.contains(&true) && self.labels.contains(&false)
    }

    pub(super) fn followed_by(mut self, later: &Self) -> Self {
        self.labels.extend_from_slice(&later.labels);
        Self { matrix: self.matrix.joined(&later.matrix), labels: self.labels }
    }
}

/// What has happened up to some point of a timeline, as counters. Moves along with time, never back.
pub(super) struct Past<'a> {
    program: &'a Program,
    corpus: &'a Corpus,
    timeline: &'a Timeline<'a>,
    projections: Vec<Projection>,
    baselines: Baselines,
}

impl<'a> Past<'a> {
    pub(super) fn new(program: &'a Program, corpus: &'a Corpus, timeline: &'a Timeline<'a>) -> Result<Self> {
        let projections = corpus.projections(program.paths())?;
        Ok(Self { program, corpus, timeline, projections, baselines: program.baselines() })
    }

    /// Counts the records of a range.
    pub(super) fn pass(&mut self, range: Range<usize>) -> Result<()> {
        self.timeline.instants(range).try_for_each(|instant| self.learn(instant))
    }

    /// The rows of a range's labelled records, each in the light of what was before it. Counts all of them.
    pub(super) fn rows(&mut self, range: Range<usize>) -> Result<Rows> {
        let mut rows = self.none();
        for instant in self.timeline.instants(range) {
            self.look(instant, &mut rows)?;
            self.learn(instant)?;
        }
        Ok(rows)
    }

    /// The rows of a range's labelled records as they are scored in life: nothing is counted between two trainings.
    pub(super) fn rows_standing_still(&self, range: Range<usize>) -> Result<Rows> {
        let mut rows = self.none();
        self.timeline.instants(range).try_for_each(|instant| self.look(instant, &mut rows))?;
        Ok(rows)
    }

    /// Gives a range's records, labelled or not, with their rows as they are scored in life.
    pub(super) fn each_standing_still(
        &self,
        range: Range<usize>,
        mut visit: impl FnMut(&Record, &[f32]) -> Result<()>,
    ) -> Result<()> {
        let mut row = Vec::new();
        for record in self.timeline.instants(range).flatten() {
            let cells = self.read(record)?;
            self.program.row(&cells, &self.baselines, &mut row);
            visit(record, &row)?;
        }
        Ok(())
    }

    pub(super) fn timeline(&self) -> &'a Timeline<'a> {
        self.timeline
    }

    pub(super) fn corpus(&self) -> &'a Corpus {
        self.corpus
    }

    pub(super) fn into_baselines(self) -> Baselines {
        self.baselines
    }

    fn none(&self) -> Rows {
        Rows { matrix: Matrix::new(self.program.features()), labels: Vec::new() }
    }

    fn look(&self, instant: &[&Record], rows: &mut Rows) -> Result<()> {
        let mut row = Vec::new();
        for (record, label) in instant.iter().filter_map(|record| record.label.map(|label| (*record, label))) {
            let cells = self.read(record)?;
            self.program.row(&cells, &self.baselines, &mut row);
            rows.matrix.push(&row);
            rows.labels.push(label);
        }
        Ok(())
    }

    fn learn(&mut self, instant: &[&Record]) -> Result<()> {
        for record in instant {
            let mut cells = Cells::default();
            read(self.program, &self.projections, record, &mut cells)?;
            self.program.learn(&cells, record.label, &mut self.baselines);
        }
        Ok(())
    }

    fn read<'r>(&'r self, record: &'r Record) -> Result<Cells<'r>> {
        let mut cells = Cells::default();
        read(self.program, &self.projections, record, &mut cells)?;
        Ok(cells)
    }
}

fn read<'r>(program: &Program, projections: &'r [Projection], record: &'r Record, cells: &mut Cells<'r>) -> Result<()> {
    let projection = &projections[record.writer];
    projection
        .read(&record.datum, &mut cells.slots)
        .map_err(|source| Error::Corrupt { index: record.index, source })?;
    program.prepare(cells);
    Ok(())
}
