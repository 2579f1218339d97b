//! What a walk over bytes needs to know of a schema, in one table.

use crate::{Corrupt, Kind, NodeId, Schema, wire::Cursor};

/// Records within arrays within records: deeper than this is a bomb.
pub(crate) const MAX_DEPTH: usize = 128;

/// Items that take no bytes (an array of nulls): more of them in one datum is a bomb.
pub(crate) const MAX_EMPTY_ITEMS: usize = 65_536;

const TOO_DEEP: &str = "nested too deeply";

/// A schema reduced to what its bytes look like.
pub(crate) struct Shapes(Vec<Shape>);

/// What the bytes of a node look like.
pub(crate) enum Shape {
    Null,
    Bool,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Str,
    Fixed(usize),
    Enum(usize),
    Array(Items),
    Map(Items),
    Union(Box<[NodeId]>),
    Record(Box<[NodeId]>),
}

/// The items of an array or the values of a map.
pub(crate) struct Items {
    pub(crate) node: NodeId,
    /// The fewest bytes that one takes, the key of a map with it: what bounds a count.
    pub(crate) least: usize,
}

impl Shapes {
    pub(crate) fn of(schema: &Schema) -> Self {
        let sizes = least_sizes(schema);
        let items = |node: NodeId, key| Items { node, least: sizes[node.index()] + key };
        let shape = |node: &crate::Node| match &node.kind {
            Kind::Null => Shape::Null,
            Kind::Boolean => Shape::Bool,
            Kind::Int => Shape::Int,
            Kind::Long => Shape::Long,
            Kind::Float => Shape::Float,
            Kind::Double => Shape::Double,
            Kind::Bytes => Shape::Bytes,
            Kind::String => Shape::Str,
            Kind::Fixed(it) => Shape::Fixed(it.size),
            Kind::Enum(it) => Shape::Enum(it.symbols.len()),
            Kind::Array(node) => Shape::Array(items(*node, 0)),
            Kind::Map(node) => Shape::Map(items(*node, 1)),
            Kind::Union(branches) => Shape::Union(branches.as_slice().into()),
            Kind::Record(it) => Shape::Record(it.fields.iter().map(|field| field.node).collect()),
        };
        Self(schema.nodes().iter().map(shape).collect())
    }

    #[inline]
    pub(crate) fn get(&self, node: NodeId) -> &Shape {
        &self.0[node.index()]
    }

    /// Moves past a value of `node`, looking at lengths only.
    pub(crate) fn skip(&self, node: NodeId, cursor: &mut Cursor<'_>) -> Result<(), Corrupt> {
        self.skip_within(node, cursor, MAX_DEPTH)
    }

    fn skip_within(&self, node: NodeId, cursor: &mut Cursor<'_>, depth: usize) -> Result<(), Corrupt> {
        match self.get(node) {
            Shape::Null => Ok(()),
            Shape::Bool => cursor.take(1).map(drop),
            Shape::Int | Shape::Long | Shape::Enum(_) => cursor.skip_long(),
            Shape::Float => cursor.take(4).map(drop),
            Shape::Double => cursor.take(8).map(drop),
            Shape::Bytes | Shape::Str => cursor.bytes().map(drop),
            Shape::Fixed(size) => cursor.take(*size).map(drop),
            Shape::Array(items) => self.skip_items(items, false, cursor, depth).map(drop),
            Shape::Map(items) => self.skip_items(items, true, cursor, depth).map(drop),
            Shape::Union(branches) => {
                let depth = depth.checked_sub(1).ok_or_else(|| cursor.corrupt(TOO_DEEP))?;
                let branch = cursor.index(branches.len(), "no such branch of the union")?;
                self.skip_within(branches[branch], cursor, depth)
            }
            Shape::Record(fields) => {
                let depth = depth.checked_sub(1).ok_or_else(|| cursor.corrupt(TOO_DEEP))?;
                fields.iter().try_for_each(|&field| self.skip_within(field, cursor, depth))
            }
        }
    }

    /// Moves past an array or a map. Returns how many items it has.
    pub(crate) fn skip_list(&self, node: NodeId, cursor: &mut Cursor<'_>) -> Result<usize, Corrupt> {
        match self.get(node) {
            Shape::Array(items) => self.skip_items(items, false, cursor, MAX_DEPTH),
            Shape::Map(items) => self.skip_items(items, true, cursor, MAX_DEPTH),
            _ => Ok(0),
        }
    }

    fn skip_items(&self, items: &Items, keyed: bool, cursor: &mut Cursor<'_>, depth: usize) -> Result<usize, Corrupt> {
        let depth = depth.checked_sub(1).ok_or_else(|| cursor.corrupt(TOO_DEEP))?;
        let mut total = 0_usize;
        loop {
            let (count, size) = cursor.block()?;
            if count == 0 && size.is_none() {
                return Ok(total);
            }
            items.check(count, cursor)?;
            total = total.saturating_add(count);
            match size {
                Some(size) => _ = cursor.take(size)?,
                None if items.least == 0 => {}
                None => {
                    for _ in 0..count {
                        if keyed {
                            cursor.bytes()?;
                        }
                        self.skip_within(items.node, cursor, depth)?;
                    }
                }
            }
            if items.least == 0 && total > MAX_EMPTY_ITEMS {
                return Err(cursor.corrupt("too many empty items"));
            }
        }
    }
}

impl Items {
    /// Refuses a count that the bytes left cannot hold.
    #[inline]
    pub(crate) fn check(&self, count: usize, cursor: &Cursor<'_>) -> Result<(), Corrupt> {
        let most = cursor.rest().len().checked_div(self.least).unwrap_or(MAX_EMPTY_ITEMS);
        if count <= most { Ok(()) } else { Err(cursor.corrupt("more items than the datum has bytes")) }
    }
}

/// The fewest bytes that a value of each node takes.
fn least_sizes(schema: &Schema) -> Vec<usize> {
    let mut sizes = vec![None; schema.size()];
    for i in 0..schema.size() {
        least_size(schema, NodeId(i as u32), &mut sizes);
    }
    sizes.into_iter().map(Option::unwrap_or_default).collect()
}

fn least_size(schema: &Schema, id: NodeId, sizes: &mut [Option<usize>]) -> usize {
    if let Some(size) = sizes[id.index()] {
        return size;
    }
    sizes[id.index()] = Some(0); // a record that holds itself takes at least nothing
    let size = match &schema.node(id).kind {
        Kind::Null => 0,
        Kind::Float => 4,
        Kind::Double => 8,
        Kind::Fixed(it) => it.size,
        Kind::Record(it) => {
            it.fields.iter().fold(0, |sum: usize, field| sum.saturating_add(least_size(schema, field.node, sizes)))
        }
        _ => 1,
    };
    sizes[id.index()] = Some(size);
    size
}
