use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Map, Number, Value};

use super::{Mismatch, default, time, words};
use crate::{Kind, Logical, NodeId, Record, Schema, logical, wire};

/// The standard alphabet; whether the end is padded does not matter.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Values looked at for one datum, those of branches that turn out not to fit with them: a union of unions of records
/// could be tried in more ways than anybody waits for.
const MAX_STEPS: usize = 4_000_000;

/// Turns JSON into data of one schema.
pub struct Encoder {
    schema: Schema,
    /// The encoded defaults of each record's fields, by node.
    defaults: Vec<Defaults>,
}

/// The encoded default of each field that has one.
type Defaults = Box<[Option<Box<[u8]>>]>;

impl Encoder {
    /// Prepares to encode for `schema`.
    pub fn compile(schema: &Schema) -> Self {
        let encoded = |node, value: &Value| {
            let mut out = Vec::new();
            default::encode_default(schema, node, value, &mut out);
            out.into_boxed_slice()
        };
        let of_record = |record: &Record| {
            let fields = record.fields.iter();
            fields.map(|field| field.default.as_ref().map(|value| encoded(field.node, value))).collect()
        };
        let defaults = schema.nodes().iter().map(|node| node.record().map(of_record).unwrap_or_default()).collect();
        Self { schema: schema.clone(), defaults }
    }

    /// Appends the datum of `value`. When it does not fit, `out` is as before.
    pub fn encode(&self, value: &Value, out: &mut Vec<u8>) -> Result<(), Mismatch> {
        let start = out.len();
        let mut walk = Walk { encoder: self, steps: 0 };
        walk.node(self.schema.root(), value, out).map_err(|fault| {
            out.truncate(start);
            fault.explain()
        })
    }
}

/// A mismatch with its path on the way out: innermost first. In a box, since what fits pays for its size too.
struct Fault(Box<(Mismatch, Vec<String>)>);

impl Fault {
    fn new(expected: impl Into<String>, got: impl Into<String>) -> Self {
        let mismatch = Mismatch { path: "$".into(), expected: expected.into(), got: got.into() };
        Self(Box::new((mismatch, Vec::new())))
    }

    fn within(mut self, step: String) -> Self {
        self.0.1.push(step);
        self
    }

    fn explain(self) -> Mismatch {
        let (mut mismatch, path) = *self.0;
        mismatch.path.extend(path.into_iter().rev());
        mismatch
    }
}

type Result<T, E = Fault> = std::result::Result<T, E>;

struct Walk<'a> {
    encoder: &'a Encoder,
    steps: usize,
}

impl Walk<'_> {
    fn node(&mut self, id: NodeId, value: &Value, out: &mut Vec<u8>) -> Result<()> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(Fault::new("a value that fits its unions plainly", "one with too many ways to read it"));
        }
        let encoder = self.encoder;
        let node = encoder.schema.node(id);
        match (&node.kind, value) {
            (Kind::Union(branches), _) => return self.union(id, branches, value, out),
            (Kind::Record(record), Value::Object(given)) => return self.record(id, record, given, out),
            (Kind::Array(items), Value::Array(list)) => return self.array(*items, list, out),
            (Kind::Map(values), Value::Object(entries)) => return self.map(*values, entries, out),
            (Kind::Null, Value::Null) => {}
            (Kind::Boolean, Value::Bool(value)) => wire::put_bool(out, *value),
            (Kind::Int, Value::Number(number)) => wire::put_long(out, i64::from(self.int(id, number)?)),
            (Kind::Long, Value::Number(number)) => wire::put_long(out, self.long(id, number)?),
            (Kind::Int | Kind::Long, Value::String(text)) => {
                let number = node.logical.and_then(|logical| time::parse(logical, text));
                wire::put_long(out, number.ok_or_else(|| self.text_mismatch(id, value))?);
            }
            (Kind::Float, _) => wire::put_float(out, self.float(id, value)?),
            (Kind::Double, _) => wire::put_double(out, self.double(id, value)?),
            (Kind::String, Value::String(text)) => {
                if node.logical == Some(Logical::Uuid) && uuid::Uuid::try_parse(text).is_err() {
                    return Err(Fault::new("uuid", words::quoted(value)));
                }
                wire::put_str(out, text);
            }
            (Kind::Enum(it), Value::String(text)) => {
                let index = it.symbols.iter().position(|symbol| symbol == text);
                let index =
                    index.ok_or_else(|| Fault::new(words::expected(&encoder.schema, id), words::quoted(value)))?;
                wire::put_long(out, index as i64);
            }
            (Kind::Bytes | Kind::Fixed(_), _) => self.bytes(id, value, out)?,
            _ => return Err(self.mismatch(id, value)),
        }
        Ok(())
    }

    fn mismatch(&self, id: NodeId, value: &Value) -> Fault {
        Fault::new(words::expected(&self.encoder.schema, id), words::got(value))
    }

    /// A text where a number may have one: of the wrong form, or where it has none.
    fn text_mismatch(&self, id: NodeId, value: &Value) -> Fault {
        if time::is_time(self.encoder.schema.node(id).logical) {
            return Fault::new(words::expected(&self.encoder.schema, id), words::quoted(value));
        }
        self.mismatch(id, value)
    }

    fn long(&self, id: NodeId, number: &Number) -> Result<i64> {
        number.as_i64().ok_or_else(|| self.mismatch(id, &Value::Number(number.clone())))
    }

    fn int(&self, id: NodeId, number: &Number) -> Result<i32> {
        i32::try_from(self.long(id, number)?).map_err(|_| Fault::new("int", format!("{number}, which is over 32 bits")))
    }

    fn double(&self, id: NodeId, value: &Value) -> Result<f64> {
        let double = match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => time::special_double(text),
            _ => None,
        };
        double.ok_or_else(|| self.mismatch(id, value))
    }

    fn float(&self, id: NodeId, value: &Value) -> Result<f32> {
        let double = self.double(id, value)?;
        let float = double as f32;
        if double.is_finite() && float.is_infinite() {
            return Err(Fault::new("float", format!("{value}, which is over 32 bits")));
        }
        Ok(float)
    }

    fn bytes(&self, id: NodeId, value: &Value, out: &mut Vec<u8>) -> Result<()> {
        let node = self.encoder.schema.node(id);
        let bytes = match (value, node.logical) {
            (Value::String(text), Some(Logical::Uuid)) => {
                uuid::Uuid::try_parse(text).ok().map(|uuid| uuid.into_bytes().to_vec())
            }
            (Value::String(text), _) => BASE64.decode(text).ok(),
            (Value::Number(number), Some(Logical::Decimal { precision, scale })) => {
                logical::decimal_bytes(&number.to_string(), precision, scale)
            }
            _ => return Err(self.mismatch(id, value)),
        };
        let wrong = || Fault::new(words::expected(&self.encoder.schema, id), words::quoted(value));
        let bytes = bytes.ok_or_else(wrong)?;
        match &node.kind {
            Kind::Fixed(it) => match (bytes.len(), value) {
                (len, _) if len == it.size => out.extend(bytes),
                (len, Value::Number(_)) if len < it.size => {
                    let sign = bytes.first().map_or(0, |byte| if *byte >= 0x80 { 0xff } else { 0 });
                    out.extend(std::iter::repeat_n(sign, it.size - len).chain(bytes));
                }
                (len, _) => return Err(Fault::new(words::expected(&self.encoder.schema, id), format!("{len} bytes"))),
            },
            _ => wire::put_bytes(out, &bytes),
        }
        Ok(())
    }

    fn record(&mut self, id: NodeId, record: &Record, given: &Map<String, Value>, out: &mut Vec<u8>) -> Result<()> {
        let encoder = self.encoder;
        let mut found = 0;
        for (field, default) in record.fields.iter().zip(&encoder.defaults[id.index()]) {
            match (given.get(&field.name), default) {
                (Some(value), _) => {
                    found += 1;
                    self.node(field.node, value, out).map_err(|fault| fault.within(format!(".{}", field.name)))?;
                }
                (None, Some(default)) => out.extend_from_slice(default),
                (None, None) => {
                    let expected = words::expected(&encoder.schema, field.node);
                    return Err(Fault::new(expected, "nothing").within(format!(".{}", field.name)));
                }
            }
        }
        if found == given.len() {
            return Ok(());
        }
        let unknown = given.keys().find(|name| record.position(name).is_none()).map_or("", String::as_str);
        Err(Fault::new(format!("a field of {}", record.name), "an unknown field").within(format!(".{unknown}")))
    }

    fn array(&mut self, node: NodeId, list: &[Value], out: &mut Vec<u8>) -> Result<()> {
        if !list.is_empty() {
            wire::put_long(out, list.len() as i64);
            for (i, item) in list.iter().enumerate() {
                self.node(node, item, out).map_err(|fault| fault.within(format!("[{i}]")))?;
            }
        }
        wire::put_long(out, 0);
        Ok(())
    }

    fn map(&mut self, node: NodeId, entries: &Map<String, Value>, out: &mut Vec<u8>) -> Result<()> {
        if !entries.is_empty() {
            wire::put_long(out, entries.len() as i64);
            for (key, value) in entries {
                wire::put_str(out, key);
                self.node(node, value, out).map_err(|fault| fault.within(format!("[{key:?}]")))?;
            }
        }
        wire::put_long(out, 0);
        Ok(())
    }

    /// The named branch of `{"name": value}`, else the best branch for the value alone.
    fn union(&mut self, id: NodeId, branches: &[NodeId], value: &Value, out: &mut Vec<u8>) -> Result<()> {
        let encoder = self.encoder;
        let mut failed = None;
        if let Some((index, inner)) = self.named(branches, value) {
            match self.branch(index, branches[index], inner, out) {
                Ok(()) => return Ok(()),
                Err(fault) => failed = Some(fault),
            }
        }
        for rank in 0..RANKS {
            for (index, &branch) in branches.iter().enumerate() {
                if self::rank(&encoder.schema, branch, value) != Some(rank) {
                    continue;
                }
                match self.branch(index, branch, value, out) {
                    Ok(()) => return Ok(()),
                    Err(fault) => _ = failed.get_or_insert(fault),
                }
            }
        }
        Err(failed.unwrap_or_else(|| self.mismatch(id, value)))
    }

    fn named<'v>(&self, branches: &[NodeId], value: &'v Value) -> Option<(usize, &'v Value)> {
        let object = value.as_object().filter(|object| object.len() == 1)?;
        let (name, inner) = object.iter().next()?;
        let is_named = |branch: &NodeId| {
            let node = self.encoder.schema.node(*branch);
            node.name().map_or(node.ty().as_str() == name, |full| full.full() == name)
        };
        branches.iter().position(is_named).map(|index| (index, inner))
    }

    fn branch(&mut self, index: usize, branch: NodeId, value: &Value, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        wire::put_long(out, index as i64);
        self.node(branch, value, out).inspect_err(|_| out.truncate(start))
    }
}

const RANKS: u8 = 3;

/// How well a kind of value suits a type, best first: a text is a symbol or a time before it is a string, and bytes
/// last; a whole number is one before it is a double.
fn rank(schema: &Schema, id: NodeId, value: &Value) -> Option<u8> {
    let node = schema.node(id);
    let rank = match (value, &node.kind) {
        (Value::Null, Kind::Null)
        | (Value::Bool(_), Kind::Boolean)
        | (Value::Array(_), Kind::Array(_))
        | (Value::Object(_), Kind::Record(_))
        | (Value::String(_), Kind::Enum(_)) => 0,
        (Value::String(_), Kind::Int | Kind::Long) if time::is_time(node.logical) => 0,
        (Value::String(_), Kind::Fixed(_)) if node.logical == Some(Logical::Uuid) => 0,
        (Value::Number(number), Kind::Int | Kind::Long) if !number.is_f64() => 0,
        (Value::Number(_), _) if matches!(node.logical, Some(Logical::Decimal { .. })) => 1,
        (Value::Object(_), Kind::Map(_)) | (Value::String(_), Kind::String) | (Value::Number(_), Kind::Double) => 1,
        (Value::Number(_), Kind::Float) | (Value::String(_), Kind::Bytes | Kind::Fixed(_)) => 2,
        (Value::String(text), Kind::Float | Kind::Double) if time::special_double(text).is_some() => 2,
        _ => return None,
    };
    Some(rank)
}
