use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Number, Value};

use super::time;
use crate::{
    Corrupt, Kind, Logical, NodeId, Schema,
    shape::{MAX_DEPTH, MAX_EMPTY_ITEMS},
    wire::Cursor,
};

/// Values that one datum may become: a value without bytes costs the sender nothing, and us memory.
const MAX_VALUES: usize = 1 << 20;

pub(super) fn decode(schema: &Schema, node: NodeId, datum: &[u8]) -> Result<Value, Corrupt> {
    let mut walk = Walk { schema, cursor: Cursor::new(datum), values: 0 };
    let value = walk.node(node, MAX_DEPTH)?;
    match walk.cursor.rest() {
        [] => Ok(value),
        _ => Err(walk.cursor.corrupt("bytes behind the datum")),
    }
}

struct Walk<'a> {
    schema: &'a Schema,
    cursor: Cursor<'a>,
    values: usize,
}

impl Walk<'_> {
    fn node(&mut self, id: NodeId, depth: usize) -> Result<Value, Corrupt> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(self.cursor.corrupt("too many values"));
        }
        let depth = depth.checked_sub(1).ok_or_else(|| self.cursor.corrupt("nested too deeply"))?;
        let node = self.schema.node(id);
        Ok(match &node.kind {
            Kind::Null => Value::Null,
            Kind::Boolean => Value::Bool(self.cursor.bool()?),
            Kind::Int => number(node.logical, i64::from(self.cursor.int()?)),
            Kind::Long => number(node.logical, self.cursor.long()?),
            // Through its text, so that 0.1 stays 0.1 and does not become 0.10000000149011612.
            Kind::Float => {
                let float = self.cursor.float()?;
                double(float.to_string().parse().unwrap_or(f64::from(float)))
            }
            Kind::Double => double(self.cursor.double()?),
            Kind::String => Value::from(self.cursor.str()?),
            Kind::Bytes => Value::from(STANDARD.encode(self.cursor.bytes()?)),
            Kind::Fixed(it) => {
                let bytes = self.cursor.take(it.size)?;
                match (node.logical, <[u8; 16]>::try_from(bytes)) {
                    (Some(Logical::Uuid), Ok(bytes)) => Value::from(uuid::Uuid::from_bytes(bytes).to_string()),
                    _ => Value::from(STANDARD.encode(bytes)),
                }
            }
            Kind::Enum(it) => {
                let index = self.cursor.index(it.symbols.len(), "no such symbol of the enum")?;
                Value::from(it.symbols[index].as_str())
            }
            Kind::Union(branches) => {
                let index = self.cursor.index(branches.len(), "no such branch of the union")?;
                self.node(branches[index], depth)?
            }
            Kind::Record(record) => {
                let mut fields = Map::new();
                for field in &record.fields {
                    fields.insert(field.name.clone(), self.node(field.node, depth)?);
                }
                Value::Object(fields)
            }
            Kind::Array(items) => {
                let mut list = Vec::new();
                self.items(|walk| {
                    list.push(walk.node(*items, depth)?);
                    Ok(())
                })?;
                Value::Array(list)
            }
            Kind::Map(values) => {
                let mut entries = Map::new();
                self.items(|walk| {
                    let key = walk.cursor.str()?.to_owned();
                    entries.insert(key, walk.node(*values, depth)?);
                    Ok(())
                })?;
                Value::Object(entries)
            }
        })
    }

    fn items(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), Corrupt>) -> Result<(), Corrupt> {
        loop {
            let (count, size) = self.cursor.block()?;
            if count == 0 {
                return Ok(());
            }
            if count > self.cursor.rest().len().max(MAX_EMPTY_ITEMS) {
                return Err(self.cursor.corrupt("more items than the datum has bytes"));
            }
            let start = self.cursor.position();
            for _ in 0..count {
                item(self)?;
            }
            // Who steps over the block by its size would go on elsewhere.
            if size.is_some_and(|size| size != self.cursor.position() - start) {
                return Err(self.cursor.corrupt("block is not as long as it says"));
            }
        }
    }
}

fn number(logical: Option<Logical>, value: i64) -> Value {
    let text = logical.and_then(|logical| time::format(logical, value));
    text.map_or_else(|| Value::from(value), Value::from)
}

fn double(value: f64) -> Value {
    match Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None if value.is_nan() => Value::from("NaN"),
        None if value > 0.0 => Value::from("Infinity"),
        None => Value::from("-Infinity"),
    }
}
