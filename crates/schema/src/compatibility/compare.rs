//! One reader's schema against one writer's.

use std::collections::{HashMap, HashSet};

use super::{Incompatibility, IncompatibilityKind};
use crate::{Enum, Field, Fixed, Kind, Name, NodeId, Record, Schema, Type};

/// Reasons beyond this help nobody.
const MAX_FOUND: usize = 100;

/// Types within types: deeper than this, by name or by nesting, is not followed.
const MAX_DEPTH: usize = 1_000;

pub(super) fn compare(reader: &Schema, writer: &Schema, numbers: Numbers) -> Vec<Incompatibility> {
    let mut comparison = Comparison::new(reader, writer, numbers);
    comparison.pair(reader.root(), writer.root())
}

/// Which numbers are read as which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// As the specification promotes them.
    Promoted,
    /// Any as any: for a reader that takes every number in the width that it was written in.
    Any,
}

impl Numbers {
    /// Whether data of one type may be read as another; named and nested types have more to say.
    pub(crate) fn may_be_read(self, written: Type, read: Type) -> bool {
        let is_number = |ty| matches!(ty, Type::Int | Type::Long | Type::Float | Type::Double);
        written == read || promotes(written, read) || (self == Self::Any && is_number(written) && is_number(read))
    }
}

type Pair = (NodeId, NodeId);

struct Comparison<'a> {
    reader: &'a Schema,
    writer: &'a Schema,
    numbers: Numbers,
    /// Pairs on the way here: a pair that holds itself is as good as its other parts.
    open: HashSet<Pair>,
    /// Pairs that hold, in the order of their proof: one that was proven within a pair that fails may rest on it.
    holding: Vec<Pair>,
    holds: HashSet<Pair>,
    /// Pairs that fail, with reasons relative to them. A failure rests on nothing.
    failing: HashMap<Pair, Vec<Incompatibility>>,
}

impl<'a> Comparison<'a> {
    fn new(reader: &'a Schema, writer: &'a Schema, numbers: Numbers) -> Self {
        let (open, holds) = (HashSet::new(), HashSet::new());
        Self { reader, writer, numbers, open, holding: Vec::new(), holds, failing: HashMap::new() }
    }

    fn pair(&mut self, reader: NodeId, writer: NodeId) -> Vec<Incompatibility> {
        let pair = (reader, writer);
        if self.holds.contains(&pair) || self.open.contains(&pair) {
            return Vec::new();
        }
        if let Some(found) = self.failing.get(&pair) {
            return found.clone();
        }
        if self.open.len() >= MAX_DEPTH {
            return one(IncompatibilityKind::TypeMismatch, "", "types are nested too deeply to compare");
        }
        let proven = self.holding.len();
        self.open.insert(pair);
        let mut found = self.kinds(reader, writer);
        self.open.remove(&pair);
        if found.is_empty() {
            self.holding.push(pair);
            self.holds.insert(pair);
        } else {
            found.truncate(MAX_FOUND);
            for unproven in self.holding.drain(proven..) {
                self.holds.remove(&unproven);
            }
            self.failing.insert(pair, found.clone());
        }
        found
    }

    fn within(&mut self, step: &str, reader: NodeId, writer: NodeId) -> Vec<Incompatibility> {
        let mut found = self.pair(reader, writer);
        for it in &mut found {
            it.path.insert_str(0, step);
        }
        found
    }

    fn kinds(&mut self, reader: NodeId, writer: NodeId) -> Vec<Incompatibility> {
        let (schema, from) = (self.reader, self.writer);
        match (&schema.node(reader).kind, &from.node(writer).kind) {
            (Kind::Union(_), Kind::Union(branches)) => {
                branches.iter().flat_map(|&branch| self.branch(reader, branch)).collect()
            }
            (_, Kind::Union(branches)) => branches.iter().flat_map(|&branch| self.pair(reader, branch)).collect(),
            (Kind::Union(_), _) => self.branch(reader, writer),
            (Kind::Array(items), Kind::Array(written)) => self.within("/items", *items, *written),
            (Kind::Map(values), Kind::Map(written)) => self.within("/values", *values, *written),
            (Kind::Record(record), Kind::Record(written)) => self.records(record, written),
            (Kind::Enum(it), Kind::Enum(written)) => enums(it, written),
            (Kind::Fixed(it), Kind::Fixed(written)) => fixeds(it, written),
            (read, written) if self.numbers.may_be_read(written.ty(), read.ty()) => Vec::new(),
            (read, written) => {
                let message = format!("data of type {} cannot be read as {}", written.ty(), read.ty());
                one(IncompatibilityKind::TypeMismatch, "", message)
            }
        }
    }

    /// A writer's type against the branches of the reader's union.
    fn branch(&mut self, union: NodeId, writer: NodeId) -> Vec<Incompatibility> {
        let (schema, from) = (self.reader, self.writer);
        let Kind::Union(branches) = &schema.node(union).kind else { return self.pair(union, writer) };
        let node = from.node(writer);
        let mut alike = None;
        for (i, &branch) in branches.iter().enumerate() {
            let found = self.within(&format!("/{i}"), branch, writer);
            if found.is_empty() {
                return found;
            }
            let names = |name: Option<&Name>| name.map(|name| name.simple().to_owned());
            let other = schema.node(branch);
            if other.ty() == node.ty() && names(other.name()) == names(node.name()) {
                alike = Some(found);
            }
        }
        // A branch that is meant to be the same says more than that none fits.
        alike.unwrap_or_else(|| {
            let ty = node.name().map_or_else(|| node.ty().to_string(), |name| format!("{} {name}", node.ty()));
            one(IncompatibilityKind::MissingUnionBranch, "", format!("the union has no branch for {ty}"))
        })
    }

    fn records(&mut self, record: &'a Record, written: &'a Record) -> Vec<Incompatibility> {
        let mut found = names(&record.name, &record.aliases, &written.name);
        for (i, field) in record.fields.iter().enumerate() {
            match writers_field(written, field) {
                Some(from) => {
                    let within = self.within(&format!("/fields/{i}/type"), field.node, from.node);
                    // A number in a pointer is not what a person looks for.
                    let named = |it: Incompatibility| Incompatibility {
                        message: format!("field {:?}: {}", field.name, it.message),
                        ..it
                    };
                    found.extend(within.into_iter().map(named));
                }
                None if field.default.is_some() || self.has_default_symbol(field) => {}
                None => found.extend(one(
                    IncompatibilityKind::ReaderFieldMissingDefaultValue,
                    format!("/fields/{i}"),
                    format!("field {:?} has no default, and the data do not hold it", field.name),
                )),
            }
        }
        found
    }

    /// Java takes the default symbol of an enum for a missing field without a default.
    fn has_default_symbol(&self, field: &Field) -> bool {
        matches!(&self.reader.node(field.node).kind, Kind::Enum(Enum { default: Some(_), .. }))
    }
}

fn one(kind: IncompatibilityKind, path: impl Into<String>, message: impl Into<String>) -> Vec<Incompatibility> {
    vec![Incompatibility { kind, path: path.into(), message: message.into() }]
}

fn writers_field<'a>(written: &'a Record, field: &Field) -> Option<&'a Field> {
    let by_name = written.field(&field.name);
    by_name.or_else(|| field.aliases.iter().find_map(|alias| written.field(alias)))
}

fn names(reader: &Name, aliases: &[Name], writer: &Name) -> Vec<Incompatibility> {
    if reader.simple() == writer.simple() || aliases.contains(writer) {
        return Vec::new();
    }
    let message = format!("the data are of {writer}, and {reader} has no alias for it");
    one(IncompatibilityKind::NameMismatch, "/name", message)
}

fn enums(reader: &Enum, writer: &Enum) -> Vec<Incompatibility> {
    let mut found = names(&reader.name, &reader.aliases, &writer.name);
    let missing: Vec<_> = writer.symbols.iter().filter(|symbol| !reader.symbols.contains(symbol)).cloned().collect();
    if !missing.is_empty() && reader.default.is_none() {
        let message = format!("the enum lacks {} and has no default", missing.join(", "));
        found.extend(one(IncompatibilityKind::MissingEnumSymbols, "/symbols", message));
    }
    found
}

fn fixeds(reader: &Fixed, writer: &Fixed) -> Vec<Incompatibility> {
    let mut found = names(&reader.name, &reader.aliases, &writer.name);
    if reader.size != writer.size {
        let message = format!("the data have {} bytes, and the type {}", writer.size, reader.size);
        found.extend(one(IncompatibilityKind::FixedSizeMismatch, "/size", message));
    }
    found
}

fn promotes(from: Type, to: Type) -> bool {
    matches!(
        (from, to),
        (Type::Int, Type::Long | Type::Float | Type::Double)
            | (Type::Long, Type::Float | Type::Double)
            | (Type::Float, Type::Double)
            | (Type::Bytes, Type::String)
            | (Type::String, Type::Bytes)
    )
}
