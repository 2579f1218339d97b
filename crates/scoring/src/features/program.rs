//! A document of features, compiled: which fields are read, which texts are taken from them, which steps make a row.

use std::collections::HashMap;

use millrace_schema::{FieldPath, Schema, projection};

use super::{Document, Feature, Op, Operand, Part, Scale, check::unit};
use crate::{
    baselines::{Baselines, Table},
    hash,
};

const BOUND: u32 = 16;
const SMOOTHING: f64 = 10.0;

/// How records become rows. Knows names of fields and not how a writer encodes them: that is the projection's.
#[derive(Clone, Debug)]
pub struct Program {
    pub(super) names: Vec<String>,
    pub(super) paths: Vec<FieldPath>,
    pub(super) cells: Vec<Cell>,
    pub(super) tables: Vec<Counting>,
    pub(super) steps: Vec<Step>,
}

/// A value that is compared or counted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) slot: usize,
    pub(super) parts: Vec<Part>,
    /// Whether somebody needs its hash.
    pub(super) hashed: bool,
}

/// A table of baselines, and the cells whose values are its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counting {
    pub(super) name: String,
    pub(super) cells: Vec<usize>,
    /// Counts labelled records, by label; and null is a key.
    pub(super) category: bool,
}

/// How one feature is computed.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) action: Action,
    pub(super) scale: Scale,
    /// Where a field is absent from the writer's version.
    pub(super) default: f32,
    /// The slots that it needs.
    pub(super) slots: Vec<usize>,
}

/// Places are of slots, cells or tables.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Numeric { slot: usize },
    Flag { slot: usize },
    NullSlot { slot: usize },
    NullCell { cell: usize },
    LengthSlot { slot: usize },
    LengthCell { cell: usize },
    Ratio { over: usize, under: usize },
    Hour { slot: usize, unit: i64 },
    Weekday { slot: usize, unit: i64 },
    Equal { a: usize, b: usize },
    Distance { a: usize, b: usize, bound: u32 },
    Contains { slot: usize, cell: usize },
    Among { cell: usize, values: Vec<u64> },
    Category { table: usize, cell: usize, smoothing: f64 },
    Seen { table: usize },
    Share { whole: usize, part: usize },
}

impl Program {
    /// Compiles a document that was [checked](super::check) against `schema`.
    pub fn compile(document: &Document, schema: &Schema) -> Result<Self, projection::Error> {
        let mut program =
            Self { names: Vec::new(), paths: Vec::new(), cells: Vec::new(), tables: Vec::new(), steps: Vec::new() };
        let mut compiler = Compiler { program: &mut program, schema, slots: HashMap::new() };
        for feature in document.features() {
            compiler.feature(feature)?;
        }
        Ok(program)
    }

    /// The features' names, in the order of a row.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How many features a row has.
    pub fn features(&self) -> usize {
        self.steps.len()
    }

    /// The fields that are read.
    pub fn paths(&self) -> &[FieldPath] {
        &self.paths
    }

    /// Empty baselines of the tables that the program counts in.
    pub fn baselines(&self) -> Baselines {
        Baselines::new(self.tables.iter().map(|table| table.name.as_str()))
    }

    /// Whether these are baselines of this program.
    pub fn fits(&self, baselines: &Baselines) -> bool {
        let names = |i: usize| baselines.tables().get(i).map(Table::name);
        baselines.tables().len() == self.tables.len()
            && self.tables.iter().enumerate().all(|(i, table)| names(i) == Some(&table.name))
    }
}

struct Compiler<'a> {
    program: &'a mut Program,
    schema: &'a Schema,
    slots: HashMap<FieldPath, usize>,
}

impl Compiler<'_> {
    fn feature(&mut self, feature: &Feature) -> Result<(), projection::Error> {
        let operands = feature.of.operands().unwrap_or_default();
        let slots: Vec<usize> = operands.iter().map(|operand| self.slot(&operand.path)).collect();
        let action = self.action(feature, &operands, &slots)?;
        self.program.names.push(feature.name.clone());
        self.program.steps.push(Step {
            action,
            scale: feature.scale.unwrap_or_default(),
            default: feature.default.unwrap_or(f32::NAN),
            slots,
        });
        Ok(())
    }

    fn action(
        &mut self,
        feature: &Feature,
        operands: &[Operand],
        slots: &[usize],
    ) -> Result<Action, projection::Error> {
        let whole = operands[0].parts.is_empty();
        let slot = slots[0];
        Ok(match feature.op {
            Op::Numeric => Action::Numeric { slot },
            Op::Flag => Action::Flag { slot },
            Op::Missing if whole => Action::NullSlot { slot },
            Op::Missing => Action::NullCell { cell: self.cell(&operands[0], false) },
            Op::Length if whole => Action::LengthSlot { slot },
            Op::Length => Action::LengthCell { cell: self.cell(&operands[0], false) },
            Op::Ratio => Action::Ratio { over: slot, under: slots[1] },
            Op::Hour => Action::Hour { slot, unit: self.unit(&operands[0])? },
            Op::Weekday => Action::Weekday { slot, unit: self.unit(&operands[0])? },
            Op::Equal => Action::Equal { a: self.cell(&operands[0], false), b: self.cell(&operands[1], false) },
            Op::Distance => {
                let (a, b) = (self.cell(&operands[0], false), self.cell(&operands[1], false));
                Action::Distance { a, b, bound: feature.bound.unwrap_or(BOUND) }
            }
            Op::Contains => Action::Contains { slot, cell: self.cell(&operands[1], false) },
            Op::Among => {
                let values = feature.values.iter().map(|value| hash::text(value)).collect();
                Action::Among { cell: self.cell(&operands[0], true), values }
            }
            Op::Category => {
                let table = self.table(operands, true);
                let smoothing = feature.smoothing.unwrap_or(SMOOTHING);
                Action::Category { table, cell: self.cell(&operands[0], true), smoothing }
            }
            Op::Seen => Action::Seen { table: self.table(operands, false) },
            Op::Share => {
                let whole = self.table(&operands[..operands.len() - 1], false);
                Action::Share { whole, part: self.table(operands, false) }
            }
        })
    }

    fn unit(&self, operand: &Operand) -> Result<i64, projection::Error> {
        let kind = projection::kind_of(self.schema, &operand.path)?;
        Ok(unit(kind).unwrap_or(1_000))
    }

    fn slot(&mut self, path: &FieldPath) -> usize {
        let paths = &mut self.program.paths;
        *self.slots.entry(path.clone()).or_insert_with(|| {
            paths.push(path.clone());
            paths.len() - 1
        })
    }

    fn cell(&mut self, operand: &Operand, hashed: bool) -> usize {
        let slot = self.slot(&operand.path);
        let cells = &mut self.program.cells;
        let known = cells.iter().position(|cell| cell.slot == slot && cell.parts == operand.parts);
        let place = known.unwrap_or_else(|| {
            cells.push(Cell { slot, parts: operand.parts.clone(), hashed });
            cells.len() - 1
        });
        cells[place].hashed |= hashed;
        place
    }

    fn table(&mut self, operands: &[Operand], category: bool) -> usize {
        let cells: Vec<usize> = operands.iter().map(|operand| self.cell(operand, true)).collect();
        let operands: Vec<String> = operands.iter().map(ToString::to_string).collect();
        let name = format!("{}({})", if category { "category" } else { "seen" }, operands.join(", "));
        let tables = &mut self.program.tables;
        tables.iter().position(|table| table.name == name).unwrap_or_else(|| {
            tables.push(Counting { name, cells, category });
            tables.len() - 1
        })
    }
}
