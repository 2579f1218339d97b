//! The steps of one walk, and the walk.

use super::{Complex, Slot};
use crate::{Corrupt, NodeId, Schema, shape::Shapes, wire::Cursor};

/// A schema with what it takes to step over its values.
pub(crate) struct Side {
    pub(super) schema: Schema,
    pub(super) shapes: Shapes,
}

impl Side {
    pub(super) fn of(schema: &Schema) -> Self {
        Self { schema: schema.clone(), shapes: Shapes::of(schema) }
    }
}

/// Steps, run in order but for jumps.
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// Where each branch of a union begins in `steps`.
    pub(super) branches: Vec<Box<[u32]>>,
    /// The symbols of enums, as the reader spells them.
    pub(super) symbols: Vec<Box<[Box<str>]>>,
    /// What is not read: the other slots begin as null, which a branch that lacks them leaves.
    pub(super) given: Vec<(u32, Given)>,
    /// Paths that were asked for twice: from, to.
    pub(super) copies: Vec<(u32, u32)>,
    pub(super) writer: Side,
    pub(super) reader: Side,
    pub(super) slots: usize,
}

/// A slot whose value the datum does not hold.
pub(super) enum Given {
    Missing,
    Null,
    Bool(bool),
    Long(i64),
    Double(f64),
    Str(Box<str>),
    Bytes(Box<[u8]>),
    Complex { node: NodeId, len: u32, bytes: Box<[u8]> },
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    // What nobody asked for.
    SkipBytes(u32),
    SkipLong,
    SkipString,
    SkipOptionalLong {
        value: u8,
    },
    SkipOptionalString {
        value: u8,
    },
    Skip(NodeId),
    // What somebody did.
    Null(u32),
    Bool(u32),
    Long(u32),
    LongAsFloat(u32),
    LongAsDouble(u32),
    Float(u32),
    Double(u32),
    Str(u32),
    Bytes(u32),
    Fixed {
        slot: u32,
        size: u32,
    },
    Enum {
        slot: u32,
        symbols: u32,
    },
    List {
        slot: u32,
        node: NodeId,
    },
    /// A record that is wanted as a whole: its fields follow, then its end.
    Begin(u32),
    End {
        slot: u32,
        node: NodeId,
        len: u32,
    },
    // The commonest unions, in one step.
    OptionalBool {
        slot: u32,
        value: u8,
    },
    OptionalLong {
        slot: u32,
        value: u8,
    },
    OptionalStr {
        slot: u32,
        value: u8,
    },
    // The others.
    /// Null or one more branch, whose steps follow; null goes on at `end`.
    Optional {
        value: u8,
        end: u32,
    },
    Union(u32),
    Jump(u32),
    /// A branch that the reader's schema has no type for.
    Refuse,
}

const NO_BRANCH: &str = "no such branch of the union";

impl Plan {
    pub(super) fn read<'a>(&'a self, datum: &'a [u8], out: &mut Vec<Slot<'a>>) -> Result<usize, Corrupt> {
        out.clear();
        out.resize(self.slots, Slot::Null);
        for (slot, given) in &self.given {
            out[*slot as usize] = given.as_slot(&self.reader);
        }
        let mut cursor = Cursor::new(datum);
        self.walk(&mut cursor, out)?;
        for &(from, to) in &self.copies {
            out[to as usize] = out[from as usize];
        }
        Ok(cursor.position())
    }

    fn walk<'a>(&'a self, cursor: &mut Cursor<'a>, out: &mut [Slot<'a>]) -> Result<(), Corrupt> {
        let mut at = 0;
        while let Some(step) = self.steps.get(at) {
            at += 1;
            match *step {
                Step::SkipBytes(count) => _ = cursor.take(count as usize)?,
                Step::SkipLong => cursor.skip_long()?,
                Step::SkipString => _ = cursor.bytes()?,
                Step::SkipOptionalLong { value } => {
                    if is_value(cursor, value)? {
                        cursor.skip_long()?;
                    }
                }
                Step::SkipOptionalString { value } => {
                    if is_value(cursor, value)? {
                        cursor.bytes()?;
                    }
                }
                Step::Skip(node) => self.writer.shapes.skip(node, cursor)?,
                Step::Null(slot) => out[slot as usize] = Slot::Null,
                Step::Bool(slot) => out[slot as usize] = Slot::Bool(cursor.bool()?),
                Step::Long(slot) => out[slot as usize] = Slot::Long(cursor.long()?),
                Step::LongAsFloat(slot) => out[slot as usize] = Slot::Double(f64::from(cursor.long()? as f32)),
                Step::LongAsDouble(slot) => out[slot as usize] = Slot::Double(cursor.long()? as f64),
                Step::Float(slot) => out[slot as usize] = Slot::Double(f64::from(cursor.float()?)),
                Step::Double(slot) => out[slot as usize] = Slot::Double(cursor.double()?),
                Step::Str(slot) => out[slot as usize] = Slot::Str(cursor.str()?),
                Step::Bytes(slot) => out[slot as usize] = Slot::Bytes(cursor.bytes()?),
                Step::Fixed { slot, size } => out[slot as usize] = Slot::Bytes(cursor.take(size as usize)?),
                Step::Enum { slot, symbols } => {
                    let symbols = &self.symbols[symbols as usize];
                    let symbol = cursor.index(symbols.len(), "no such symbol of the enum")?;
                    out[slot as usize] = Slot::Str(&symbols[symbol]);
                }
                Step::List { slot, node } => out[slot as usize] = self.list(node, cursor)?,
                Step::Begin(slot) => out[slot as usize] = Slot::Long(cursor.position() as i64),
                Step::End { slot, node, len } => {
                    if let Slot::Long(start) = out[slot as usize] {
                        let bytes = cursor.since(start as usize);
                        out[slot as usize] = Slot::Complex(Complex { side: &self.writer, node, len, bytes });
                    }
                }
                Step::OptionalBool { slot, value } => {
                    if is_value(cursor, value)? {
                        out[slot as usize] = Slot::Bool(cursor.bool()?);
                    }
                }
                Step::OptionalLong { slot, value } => {
                    if is_value(cursor, value)? {
                        out[slot as usize] = Slot::Long(cursor.long()?);
                    }
                }
                Step::OptionalStr { slot, value } => {
                    if is_value(cursor, value)? {
                        out[slot as usize] = Slot::Str(cursor.str()?);
                    }
                }
                Step::Optional { value, end } => {
                    if !is_value(cursor, value)? {
                        at = end as usize;
                    }
                }
                Step::Union(table) => {
                    let table = &self.branches[table as usize];
                    at = table[cursor.index(table.len(), NO_BRANCH)?] as usize;
                }
                Step::Jump(to) => at = to as usize,
                Step::Refuse => return Err(cursor.corrupt("value of a type that the reader's schema does not have")),
            }
        }
        Ok(())
    }

    fn list<'a>(&'a self, node: NodeId, cursor: &mut Cursor<'a>) -> Result<Slot<'a>, Corrupt> {
        let start = cursor.position();
        let len = self.writer.shapes.skip_list(node, cursor)? as u32;
        Ok(Slot::Complex(Complex { side: &self.writer, node, len, bytes: cursor.since(start) }))
    }
}

/// Reads the branch of a union of null and one more: whether it is the other.
#[inline]
fn is_value(cursor: &mut Cursor<'_>, value: u8) -> Result<bool, Corrupt> {
    Ok(cursor.index(2, NO_BRANCH)? == usize::from(value))
}

impl Given {
    fn as_slot<'a>(&'a self, reader: &'a Side) -> Slot<'a> {
        match self {
            Self::Missing => Slot::Missing,
            Self::Null => Slot::Null,
            Self::Bool(value) => Slot::Bool(*value),
            Self::Long(value) => Slot::Long(*value),
            Self::Double(value) => Slot::Double(*value),
            Self::Str(text) => Slot::Str(text),
            Self::Bytes(bytes) => Slot::Bytes(bytes),
            Self::Complex { node, len, bytes } => {
                Slot::Complex(Complex { side: reader, node: *node, len: *len, bytes })
            }
        }
    }
}
