//! Arrays, maps and records of an event as values of CEL. Their bytes were walked by the projection before.

use std::collections::HashMap;

use cel::common::{
    types::{CelBool, CelBytes, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString},
    value::Val,
};
use millrace_schema::{Corrupt, Kind, NodeId, Schema, projection::Complex, wire::Cursor};

/// Items and entries that one value may hold in all: what a rule looks at is bounded, whatever a writer sends.
const MAX_VALUES: usize = 100_000;

/// How deep values may nest.
const MAX_DEPTH: usize = 64;

/// The whole of a complex value, with the fields and types of its writer.
pub(crate) fn complex<'v>(it: &Complex<'v>) -> Result<Box<dyn Val + 'v>, Corrupt> {
    let schema = it.schema();
    let mut decoder = Decoder { schema: &schema, cursor: Cursor::new(it.bytes()), left: MAX_VALUES };
    decoder.value(schema.root(), MAX_DEPTH)
}

struct Decoder<'s, 'v> {
    schema: &'s Schema,
    cursor: Cursor<'v>,
    left: usize,
}

impl<'v> Decoder<'_, 'v> {
    fn value(&mut self, id: NodeId, depth: usize) -> Result<Box<dyn Val + 'v>, Corrupt> {
        let schema = self.schema;
        let Some(depth) = depth.checked_sub(1) else { return Err(self.cursor.corrupt("nested too deep for a rule")) };
        self.left = self.left.checked_sub(1).ok_or_else(|| self.cursor.corrupt("too many values for a rule"))?;
        Ok(match &schema.node(id).kind {
            Kind::Null => Box::new(CelNull),
            Kind::Boolean => Box::new(CelBool::from(self.cursor.bool()?)),
            Kind::Int | Kind::Long => Box::new(CelInt::from(self.cursor.long()?)),
            Kind::Float => Box::new(CelDouble::from(f64::from(self.cursor.float()?))),
            Kind::Double => Box::new(CelDouble::from(self.cursor.double()?)),
            Kind::Bytes => Box::new(CelBytes::from(self.cursor.bytes()?)),
            Kind::String => Box::new(CelString::from(self.cursor.str()?)),
            Kind::Fixed(fixed) => Box::new(CelBytes::from(self.cursor.take(fixed.size)?)),
            Kind::Enum(it) => {
                let index = self.cursor.index(it.symbols.len(), "enum index is out of range")?;
                Box::new(CelString::from(it.symbols[index].clone()))
            }
            Kind::Union(branches) => {
                let index = self.cursor.index(branches.len(), "union index is out of range")?;
                self.value(branches[index], depth)?
            }
            Kind::Record(record) => {
                let mut map = HashMap::with_capacity(record.fields.len());
                for field in &record.fields {
                    map.insert(CelMapKey::from(field.name.clone()), self.value(field.node, depth)?);
                }
                Box::new(CelMap::from(map))
            }
            Kind::Array(items) => {
                let mut list = Vec::new();
                self.blocks(|this| this.value(*items, depth).map(|item| list.push(item)))?;
                Box::new(CelList::from(list))
            }
            Kind::Map(values) => {
                let mut map = HashMap::new();
                self.blocks(|this| {
                    let key = CelMapKey::from(this.cursor.str()?);
                    this.value(*values, depth).map(|value| _ = map.insert(key, value))
                })?;
                Box::new(CelMap::from(map))
            }
        })
    }

    fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), Corrupt>) -> Result<(), Corrupt> {
        loop {
            match self.cursor.block()? {
                (0, _) => return Ok(()),
                (count, _) => (0..count).try_for_each(|_| item(self))?,
            }
        }
    }
}
