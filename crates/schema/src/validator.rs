//! Whole data against their schema.

use millrace_core::Code;

use crate::{
    Corrupt, NodeId, Schema,
    shape::{Items, MAX_DEPTH, MAX_EMPTY_ITEMS, Shape, Shapes},
    wire::Cursor,
};

/// A datum that is not of its schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct Invalid {
    /// Where: `$.attachments[2].size`.
    pub path: String,
    /// One sentence.
    pub message: String,
}

impl Invalid {
    /// What callers see.
    pub fn code(&self) -> Code {
        Code::InvalidEvent
    }

    /// Low cardinality, stable: a metric label.
    pub fn tag(&self) -> &'static str {
        "invalid_avro"
    }

    /// The same bytes never pass later.
    pub fn is_retriable(&self) -> bool {
        false
    }
}

/// Checks data of one schema: every length, UTF-8, booleans, indexes of symbols and branches, the range of ints, and
/// that the bytes end with the datum. Allocates nothing but its error.
pub struct Validator {
    schema: Schema,
    shapes: Shapes,
}

/// What is wrong, and where: collected on the way out, innermost first. In a box, since what is right pays for its
/// size too.
struct Fault(Box<(Corrupt, Vec<Step>)>);

enum Step {
    Field(NodeId, usize),
    Item(usize),
    Key(String),
}

impl From<Corrupt> for Fault {
    #[cold]
    fn from(corrupt: Corrupt) -> Self {
        Self(Box::new((corrupt, Vec::new())))
    }
}

impl Fault {
    #[cold]
    fn within(mut self, step: Step) -> Self {
        self.0.1.push(step);
        self
    }
}

impl Validator {
    /// Prepares to check data of `schema`.
    pub fn compile(schema: &Schema) -> Self {
        Self { schema: schema.clone(), shapes: Shapes::of(schema) }
    }

    /// Walks the whole datum, which must be all of `datum`.
    pub fn validate(&self, datum: &[u8]) -> Result<(), Invalid> {
        match datum.len() - self.measure(datum)? {
            0 => Ok(()),
            left => Err(Invalid { path: "$".into(), message: format!("{left} bytes behind the datum") }),
        }
    }

    /// Walks the whole datum at the beginning of `bytes`: how many of them it takes.
    pub fn measure(&self, bytes: &[u8]) -> Result<usize, Invalid> {
        let mut walk = Walk { shapes: &self.shapes, cursor: Cursor::new(bytes), empty_items: 0 };
        walk.node(self.schema.root(), MAX_DEPTH).map_err(|fault| self.explain(&fault))?;
        Ok(walk.cursor.position())
    }

    /// Where the datum at the beginning of `bytes` ends. Looks at lengths only.
    pub fn skip(&self, bytes: &[u8]) -> Result<usize, Corrupt> {
        let mut cursor = Cursor::new(bytes);
        self.shapes.skip(self.schema.root(), &mut cursor)?;
        Ok(cursor.position())
    }

    #[cold]
    fn explain(&self, fault: &Fault) -> Invalid {
        let (corrupt, steps) = &*fault.0;
        let mut path = String::from("$");
        for step in steps.iter().rev() {
            path.push_str(&self.name(step));
        }
        Invalid { path, message: corrupt.to_string() }
    }

    fn name(&self, step: &Step) -> String {
        match step {
            Step::Field(record, place) => match self.schema.node(*record).record() {
                Some(record) => format!(".{}", record.fields[*place].name),
                None => String::new(),
            },
            Step::Item(index) => format!("[{index}]"),
            Step::Key(key) => format!("[{key:?}]"),
        }
    }
}

struct Walk<'a> {
    shapes: &'a Shapes,
    cursor: Cursor<'a>,
    empty_items: usize,
}

type Result<T, E = Fault> = std::result::Result<T, E>;

impl Walk<'_> {
    #[inline]
    fn node(&mut self, node: NodeId, depth: usize) -> Result<()> {
        let cursor = &mut self.cursor;
        match self.shapes.get(node) {
            Shape::Null => {}
            Shape::Bool => _ = cursor.bool()?,
            Shape::Int => _ = cursor.int()?,
            Shape::Long => _ = cursor.long()?,
            Shape::Float => _ = cursor.take(4)?,
            Shape::Double => _ = cursor.take(8)?,
            Shape::Bytes => _ = cursor.bytes()?,
            Shape::Str => _ = cursor.str()?,
            Shape::Fixed(size) => _ = cursor.take(*size)?,
            Shape::Enum(count) => _ = cursor.index(*count, "no such symbol of the enum")?,
            Shape::Array(items) => self.items(items, false, self.deeper(depth)?)?,
            Shape::Map(items) => self.items(items, true, self.deeper(depth)?)?,
            Shape::Union(branches) => {
                let branch = cursor.index(branches.len(), "no such branch of the union")?;
                self.branch(branches[branch], depth)?;
            }
            Shape::Record(fields) => self.record(node, fields, self.deeper(depth)?)?,
        }
        Ok(())
    }

    /// The branches that most unions have are looked at here, the others by a call.
    #[inline]
    fn branch(&mut self, node: NodeId, depth: usize) -> Result<()> {
        match self.shapes.get(node) {
            Shape::Null => {}
            Shape::Str => _ = self.cursor.str()?,
            _ => self.deep(node, self.deeper(depth)?)?,
        }
        Ok(())
    }

    #[inline(never)]
    fn deep(&mut self, node: NodeId, depth: usize) -> Result<()> {
        self.node(node, depth)
    }

    fn record(&mut self, node: NodeId, fields: &[NodeId], depth: usize) -> Result<()> {
        for (place, &field) in fields.iter().enumerate() {
            self.node(field, depth).map_err(|fault| fault.within(Step::Field(node, place)))?;
        }
        Ok(())
    }

    fn items(&mut self, items: &Items, keyed: bool, depth: usize) -> Result<()> {
        let mut index = 0;
        loop {
            let (count, size) = self.cursor.block()?;
            if count == 0 && size.is_none() {
                return Ok(());
            }
            items.check(count, &self.cursor)?;
            let start = self.cursor.position();
            if items.least == 0 {
                self.empty_items = self.empty_items.saturating_add(count);
                if self.empty_items > MAX_EMPTY_ITEMS {
                    return Err(self.cursor.corrupt("too many empty items").into());
                }
            }
            for _ in 0..count {
                self.item(items, keyed, index, depth)?;
                index += 1;
            }
            if size.is_some_and(|size| size != self.cursor.position() - start) {
                return Err(self.cursor.corrupt("block is not as long as it says").into());
            }
        }
    }

    fn item(&mut self, items: &Items, keyed: bool, index: usize, depth: usize) -> Result<()> {
        if keyed {
            let key = self.cursor.str().map_err(|corrupt| Fault::from(corrupt).within(Step::Item(index)))?;
            self.deep(items.node, depth).map_err(|fault| fault.within(Step::Key(key.to_owned())))
        } else {
            self.deep(items.node, depth).map_err(|fault| fault.within(Step::Item(index)))
        }
    }

    #[inline]
    fn deeper(&self, depth: usize) -> Result<usize, Corrupt> {
        depth.checked_sub(1).ok_or_else(|| self.cursor.corrupt("nested too deeply"))
    }
}
