//! Schemas and paths to steps.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Error, PathKind,
    plan::{Given, Plan, Side, Step},
    resolve,
};
use crate::{Field, FieldPath, Kind, NodeId, Schema, Type, json};

pub(super) fn compile(writer: &Schema, reader: &Schema, paths: &[FieldPath]) -> Result<(Plan, Vec<PathKind>), Error> {
    let mut compiler = Compiler {
        writer,
        reader,
        wanted: Want::at(reader.root()),
        kinds: Vec::new(),
        plan: empty_plan(writer, reader),
        label: 0,
    };
    for (slot, path) in paths.iter().enumerate() {
        compiler.want(slot as u32, path)?;
    }
    let wanted = std::mem::replace(&mut compiler.wanted, Want::at(reader.root()));
    compiler.steps(writer.root(), &wanted)?;
    compiler.plan.slots = paths.len();
    Ok((compiler.plan, compiler.kinds))
}

fn empty_plan(writer: &Schema, reader: &Schema) -> Plan {
    Plan {
        steps: Vec::new(),
        branches: Vec::new(),
        symbols: Vec::new(),
        given: Vec::new(),
        copies: Vec::new(),
        writer: Side::of(writer),
        reader: Side::of(reader),
        slots: 0,
    }
}

/// What is wanted of one place in the writer's data.
struct Want {
    /// The reader's node for it.
    reader: NodeId,
    /// The slot of the place itself, and the path that asked first.
    slot: Option<(u32, FieldPath)>,
    /// What is wanted of its fields, by their place in the writer's record.
    fields: BTreeMap<usize, Want>,
}

impl Want {
    fn at(reader: NodeId) -> Self {
        Self { reader, slot: None, fields: BTreeMap::new() }
    }

    fn is_nothing(&self) -> bool {
        self.slot.is_none() && self.fields.is_empty()
    }
}

struct Compiler<'a> {
    writer: &'a Schema,
    reader: &'a Schema,
    wanted: Want,
    kinds: Vec<PathKind>,
    plan: Plan,
    /// Steps before this are jumped past: nothing may be merged into them.
    label: usize,
}

impl Compiler<'_> {
    /// Finds where `path` is in the writer's data, or what stands for it.
    fn want(&mut self, slot: u32, path: &FieldPath) -> Result<(), Error> {
        let (writer, reader) = (self.writer, self.reader);
        let mut want = &mut self.wanted;
        let (mut read, mut written) = (reader.root(), writer.root());
        let mut nullable = false;
        let mut names = path.segments();
        while let Some(name) = names.next() {
            let wanted = resolve::record_in(reader, read);
            let field = wanted.and_then(|(_, record)| record.field(name));
            let field = field.ok_or_else(|| Error::UnknownField { path: path.clone() })?;
            let Some((_, record)) = resolve::record_in(writer, written) else {
                let (reader, writer) = (reader.node(read).ty(), writer.node(written).ty());
                return Err(Error::Unreadable { path: path.clone(), reader, writer });
            };
            nullable |=
                resolve::without_null(reader, read) != read || resolve::without_null(writer, written) != written;
            read = field.node;
            let Some(place) = resolve::field_of(record, field) else {
                return self.absent(slot, path, field, names, nullable);
            };
            written = record.fields[place].node;
            want = want.fields.entry(place).or_insert_with(|| Want::at(read));
        }
        nullable |= resolve::is_nullable(writer, written);
        self.kinds.push(resolve::kind_at(reader, read, nullable, true));
        match &want.slot {
            Some((first, _)) => self.plan.copies.push((*first, slot)),
            None => want.slot = Some((slot, path.clone())),
        }
        Ok(())
    }

    /// A field that the writer lacks: its default, or that of a field within its default.
    fn absent<'n>(
        &mut self,
        slot: u32,
        path: &FieldPath,
        field: &Field,
        names: impl Iterator<Item = &'n str>,
        mut nullable: bool,
    ) -> Result<(), Error> {
        let (mut default, mut read) = (field.default.clone(), field.node);
        for name in names {
            let wanted = resolve::record_in(self.reader, read);
            let field = wanted.and_then(|(_, record)| record.field(name));
            let field = field.ok_or_else(|| Error::UnknownField { path: path.clone() })?;
            nullable |= resolve::without_null(self.reader, read) != read;
            read = field.node;
            default = match default {
                Some(Value::Object(mut fields)) => fields.remove(name).or_else(|| field.default.clone()),
                Some(_) => Some(Value::Null),
                None => None,
            };
        }
        let given = default.map_or(Given::Missing, |default| self.given(read, &default));
        self.plan.given.push((slot, given));
        self.kinds.push(resolve::kind_at(self.reader, read, nullable, false));
        Ok(())
    }

    /// The value of a default, which the parser has checked.
    fn given(&self, node: NodeId, default: &Value) -> Given {
        let mut bytes = Vec::new();
        let node = json::encode_default(self.reader, node, default, &mut bytes);
        let len = |count: usize| count as u32;
        match (&self.reader.node(node).kind, default) {
            (Kind::Boolean, Value::Bool(value)) => Given::Bool(*value),
            (Kind::Int | Kind::Long, Value::Number(number)) => Given::Long(number.as_i64().unwrap_or_default()),
            (Kind::Float, _) => Given::Double(f64::from(json::default_double(default) as f32)),
            (Kind::Double, _) => Given::Double(json::default_double(default)),
            (Kind::String | Kind::Enum(_), Value::String(text)) => Given::Str(text.as_str().into()),
            (Kind::Bytes | Kind::Fixed(_), Value::String(text)) => Given::Bytes(json::default_bytes(text).into()),
            (Kind::Array(_), Value::Array(items)) => {
                Given::Complex { node, len: len(items.len()), bytes: bytes.into() }
            }
            (Kind::Map(_), Value::Object(entries)) => {
                Given::Complex { node, len: len(entries.len()), bytes: bytes.into() }
            }
            (Kind::Record(record), Value::Object(_)) => {
                Given::Complex { node, len: len(record.fields.len()), bytes: bytes.into() }
            }
            _ => Given::Null,
        }
    }

    /// A place that is jumped to.
    fn label(&mut self) -> u32 {
        self.label = self.plan.steps.len();
        self.label as u32
    }

    fn push(&mut self, step: Step) {
        self.plan.steps.push(step);
    }

    /// The steps for a place in the writer's data.
    fn steps(&mut self, node: NodeId, want: &Want) -> Result<(), Error> {
        if want.is_nothing() {
            self.skip(node);
            return Ok(());
        }
        match &self.writer.node(node).kind {
            Kind::Union(branches) => self.union(branches, want),
            _ => match resolve::target(self.writer, node, self.reader, want.reader) {
                Some(target) => self.value(node, target, want),
                None if self.writer.node(node).ty() == Type::Null => Ok(()),
                None => self.record_or_refuse(node, want),
            },
        }
    }

    /// Not readable as a whole; its wanted fields may be.
    fn record_or_refuse(&mut self, node: NodeId, want: &Want) -> Result<(), Error> {
        match (&want.slot, resolve::record_in(self.reader, want.reader)) {
            (None, Some((target, _))) if self.writer.node(node).record().is_some() => self.value(node, target, want),
            _ => Err(self.unreadable(node, want)),
        }
    }

    fn unreadable(&self, node: NodeId, want: &Want) -> Error {
        let reader = self.reader.node(resolve::without_null(self.reader, want.reader)).ty();
        Error::Unreadable { path: first_path(want), reader, writer: self.writer.node(node).ty() }
    }

    fn union(&mut self, branches: &[NodeId], want: &Want) -> Result<(), Error> {
        let nulls: Vec<_> = branches.iter().map(|&branch| self.writer.node(branch).ty() == Type::Null).collect();
        if let [first, second] = nulls[..]
            && first != second
        {
            let value = u8::from(first);
            return self.optional(branches[usize::from(value)], value, want);
        }
        let table = self.plan.branches.len();
        self.plan.branches.push(Box::default());
        self.push(Step::Union(table as u32));
        let (mut begins, mut jumps, mut refused) = (Vec::new(), Vec::new(), None);
        for (&branch, is_null) in branches.iter().zip(&nulls) {
            begins.push(self.label());
            if !is_null {
                let (steps, copies) = (self.plan.steps.len(), self.plan.branches.len());
                if let Err(error) = self.branch(branch, want) {
                    self.plan.steps.truncate(steps);
                    self.plan.branches.truncate(copies);
                    self.push(Step::Refuse);
                    refused = Some(error);
                }
            }
            jumps.push(self.plan.steps.len());
            self.push(Step::Jump(0));
        }
        let end = self.label();
        for &jump in &jumps {
            self.plan.steps[jump] = Step::Jump(end);
        }
        let readable = begins
            .iter()
            .zip(&nulls)
            .any(|(&at, is_null)| !is_null && !matches!(self.plan.steps[at as usize], Step::Refuse));
        self.plan.branches[table] = begins.into();
        match refused {
            Some(error) if !readable => Err(error),
            _ => Ok(()),
        }
    }

    /// A branch of a union of several: one without the wanted fields leaves them null.
    fn branch(&mut self, branch: NodeId, want: &Want) -> Result<(), Error> {
        if want.slot.is_none() && self.writer.node(branch).record().is_none() {
            self.skip(branch);
            return Ok(());
        }
        self.steps(branch, want)
    }

    fn optional(&mut self, branch: NodeId, value: u8, want: &Want) -> Result<(), Error> {
        let start = self.plan.steps.len();
        self.push(Step::Optional { value, end: 0 });
        self.label();
        self.steps(branch, want)?;
        let fused = match self.plan.steps[start + 1..] {
            [Step::Bool(slot)] => Some(Step::OptionalBool { slot, value }),
            [Step::Long(slot)] => Some(Step::OptionalLong { slot, value }),
            [Step::Str(slot)] => Some(Step::OptionalStr { slot, value }),
            _ => None,
        };
        if let Some(step) = fused {
            self.plan.steps.truncate(start);
            self.push(step);
            self.label();
        } else {
            let end = self.label();
            self.plan.steps[start] = Step::Optional { value, end };
        }
        Ok(())
    }

    /// The steps for a value of `node`, read as the reader's `target`; neither is a union.
    fn value(&mut self, node: NodeId, target: NodeId, want: &Want) -> Result<(), Error> {
        let slot = want.slot.as_ref().map(|(slot, _)| *slot);
        if let Kind::Record(record) = &self.writer.node(node).kind {
            if let Some(slot) = slot {
                self.push(Step::Begin(slot));
            }
            for (place, field) in record.fields.iter().enumerate() {
                match want.fields.get(&place) {
                    Some(want) => self.steps(field.node, want)?,
                    None => self.skip(field.node),
                }
            }
            if let Some(slot) = slot {
                self.push(Step::End { slot, node, len: record.fields.len() as u32 });
            }
            return Ok(());
        }
        let Some(slot) = slot else { return Err(self.unreadable(node, want)) };
        let step = match (&self.writer.node(node).kind, &self.reader.node(target).kind) {
            (Kind::Null, _) => Step::Null(slot),
            (Kind::Boolean, _) => Step::Bool(slot),
            (Kind::Int | Kind::Long, Kind::Float) => Step::LongAsFloat(slot),
            (Kind::Int | Kind::Long, Kind::Double) => Step::LongAsDouble(slot),
            (Kind::Int | Kind::Long, _) => Step::Long(slot),
            (Kind::Float, _) => Step::Float(slot),
            (Kind::Double, _) => Step::Double(slot),
            (Kind::Bytes | Kind::String, Kind::String) => Step::Str(slot),
            (Kind::Bytes | Kind::String, _) => Step::Bytes(slot),
            (Kind::Fixed(it), _) => Step::Fixed { slot, size: it.size as u32 },
            (Kind::Enum(_), _) => self.enumeration(slot, node, target),
            (Kind::Array(_) | Kind::Map(_) | Kind::Record(_) | Kind::Union(_), _) => Step::List { slot, node },
        };
        self.push(step);
        Ok(())
    }

    /// Symbols that the reader does not know are its default, or else what the writer wrote.
    fn enumeration(&mut self, slot: u32, node: NodeId, target: NodeId) -> Step {
        let table = self.plan.symbols.len() as u32;
        if let (Kind::Enum(written), Kind::Enum(wanted)) =
            (&self.writer.node(node).kind, &self.reader.node(target).kind)
        {
            let known = |symbol: &String| match &wanted.default {
                Some(default) if !wanted.symbols.contains(symbol) => default.as_str().into(),
                _ => symbol.as_str().into(),
            };
            self.plan.symbols.push(written.symbols.iter().map(known).collect());
        }
        Step::Enum { slot, symbols: table }
    }

    /// The steps over a value that nobody wants.
    fn skip(&mut self, node: NodeId) {
        let size = match &self.writer.node(node).kind {
            Kind::Null => 0,
            Kind::Boolean => 1,
            Kind::Float => 4,
            Kind::Double => 8,
            Kind::Fixed(it) => it.size as u32,
            Kind::Int | Kind::Long | Kind::Enum(_) => return self.push(Step::SkipLong),
            Kind::Bytes | Kind::String => return self.push(Step::SkipString),
            Kind::Union(branches) => {
                let step = self.skip_union(node, branches);
                return self.push(step);
            }
            Kind::Array(_) | Kind::Map(_) | Kind::Record(_) => return self.push(Step::Skip(node)),
        };
        match self.plan.steps[self.label..].last_mut() {
            _ if size == 0 => {}
            Some(Step::SkipBytes(count)) if count.checked_add(size).is_some() => *count += size,
            _ => self.push(Step::SkipBytes(size)),
        }
    }

    fn skip_union(&self, node: NodeId, branches: &[NodeId]) -> Step {
        let types: Vec<_> = branches.iter().map(|&branch| self.writer.node(branch).ty()).collect();
        match types[..] {
            [Type::Null, Type::String | Type::Bytes] => Step::SkipOptionalString { value: 1 },
            [Type::String | Type::Bytes, Type::Null] => Step::SkipOptionalString { value: 0 },
            [Type::Null, Type::Int | Type::Long | Type::Enum] => Step::SkipOptionalLong { value: 1 },
            [Type::Int | Type::Long | Type::Enum, Type::Null] => Step::SkipOptionalLong { value: 0 },
            _ => Step::Skip(node),
        }
    }
}

/// A path that wants something here, for a message.
fn first_path(want: &Want) -> FieldPath {
    match (&want.slot, want.fields.values().next()) {
        (Some((_, path)), _) => path.clone(),
        (None, Some(field)) => first_path(field),
        (None, None) => FieldPath::default(),
    }
}
