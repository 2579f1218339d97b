//! What is wrong with a document of features: in itself, and against the schema of the events.

use std::collections::HashSet;

use millrace_core::document::{Fault, Faults, Source};
use millrace_schema::{FieldPath, Kind, Logical, Schema, Type, projection::PathKind};

use super::{Document, Feature, Of, Op, Operand};

/// What an operand must be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Number,
    Boolean,
    Timestamp,
    Text,
    /// A text, a number or a boolean: something that can be counted by.
    Key,
    /// Something with a length.
    Sized,
    /// An array of texts.
    Texts,
    Any,
}

/// The roles of an operation's operands; how many may follow with the last role.
fn roles(op: Op) -> (&'static [Role], usize) {
    match op {
        Op::Numeric => (&[Role::Number], 0),
        Op::Flag => (&[Role::Boolean], 0),
        Op::Missing => (&[Role::Any], 0),
        Op::Length => (&[Role::Sized], 0),
        Op::Ratio => (&[Role::Number, Role::Number], 0),
        Op::Hour | Op::Weekday => (&[Role::Timestamp], 0),
        Op::Equal => (&[Role::Key, Role::Key], 0),
        Op::Distance => (&[Role::Text, Role::Text], 0),
        Op::Contains => (&[Role::Texts, Role::Text], 0),
        Op::Among | Op::Category => (&[Role::Key], 0),
        Op::Seen => (&[Role::Key], 3),
        Op::Share => (&[Role::Key, Role::Key], 2),
    }
}

/// Checks a document against the events' schema and the fields that must not be features. All faults at once.
pub fn check(document: &Document, source: &Source, schema: &Schema, never: &[FieldPath]) -> Result<(), Faults> {
    let mut faults = form(document, source).0;
    for (i, feature) in document.features().iter().enumerate() {
        let Some(operands) = feature.of.operands() else { continue };
        let (roles, _) = roles(feature.op);
        for (j, operand) in operands.iter().enumerate() {
            let role = roles.get(j).or(roles.last()).copied().unwrap_or(Role::Any);
            let problem = forbidden(&operand.path, never).or_else(|| misfit(operand, role, schema));
            if let Some(problem) = problem {
                faults.push(source.fault(&pointer(i, &feature.of, j), problem));
            }
        }
    }
    faults.sort();
    Faults(faults).into_result()
}

/// What can be told without a schema.
pub(super) fn form(document: &Document, source: &Source) -> Faults {
    let mut faults = Vec::new();
    let mut names = HashSet::new();
    for (i, feature) in document.features().iter().enumerate() {
        if !names.insert(&feature.name) {
            let message = format!("feature `{}` is there already", feature.name);
            faults.push(source.fault(&format!("/spec/features/{i}/name"), message));
        }
        for (j, text) in feature.of.texts().iter().enumerate() {
            if let Err(error) = Operand::parse(text) {
                faults.push(source.fault(&pointer(i, &feature.of, j), error.to_string()));
            }
        }
        count(feature, i, source, &mut faults);
        options(feature, i, source, &mut faults);
    }
    faults.sort();
    Faults(faults)
}

fn pointer(feature: usize, of: &Of, operand: usize) -> String {
    match of {
        Of::One(_) => format!("/spec/features/{feature}/of"),
        Of::Many(_) => format!("/spec/features/{feature}/of/{operand}"),
    }
}

fn count(feature: &Feature, i: usize, source: &Source, faults: &mut Vec<Fault>) {
    let (roles, more) = roles(feature.op);
    let (least, most, got) = (roles.len(), roles.len() + more, feature.of.texts().len());
    if got < least || got > most {
        let wanted = if least == most { least.to_string() } else { format!("{least} to {most}") };
        let message = format!("`{}` takes {wanted} operands, got {got}", feature.op.as_str());
        faults.push(source.fault(&format!("/spec/features/{i}/of"), message));
    }
}

/// Options that the operation does not have, and those that it needs.
fn options(feature: &Feature, i: usize, source: &Source, faults: &mut Vec<Fault>) {
    let op = feature.op;
    let given = [
        ("scale", feature.scale.is_some(), matches!(op, Op::Numeric | Op::Length | Op::Ratio)),
        ("bound", feature.bound.is_some(), op == Op::Distance),
        ("values", !feature.values.is_empty(), op == Op::Among),
        ("smoothing", feature.smoothing.is_some(), op == Op::Category),
    ];
    for (name, _, _) in given.iter().filter(|(_, given, fits)| *given && !fits) {
        let message = format!("`{}` has no option `{name}`", op.as_str());
        faults.push(source.fault(&format!("/spec/features/{i}/{name}"), message));
    }
    if op == Op::Among && feature.values.is_empty() {
        faults.push(source.fault(&format!("/spec/features/{i}"), "`among` needs `values`"));
    }
}

/// What is wrong with a path that overlaps with a field under `never`: a record that holds one is forbidden as a whole.
pub fn forbidden(path: &FieldPath, never: &[FieldPath]) -> Option<String> {
    let field = never.iter().find(|field| path.overlaps(field))?;
    Some(format!("`{}` must not be a feature: it is under `never` in the pipeline", field.dotted()))
}

fn misfit(operand: &Operand, role: Role, schema: &Schema) -> Option<String> {
    let kind = match millrace_schema::projection::kind_of(schema, &operand.path) {
        Ok(kind) => kind,
        Err(error) => return Some(error.to_string()),
    };
    let field = operand.path.dotted();
    if let (Some(part), false) = (operand.parts.first(), is_text(kind.ty)) {
        return Some(format!("`{}` is a part of a text, and `{field}` is {}", part.as_str(), describe(kind)));
    }
    let ty = if operand.parts.is_empty() { kind.ty } else { Type::String };
    let fits = match role {
        Role::Number => matches!(ty, Type::Int | Type::Long | Type::Float | Type::Double),
        Role::Boolean => ty == Type::Boolean,
        Role::Timestamp => unit(kind).is_some() && operand.parts.is_empty(),
        Role::Text => is_text(ty),
        Role::Key => is_text(ty) || matches!(ty, Type::Int | Type::Long | Type::Boolean),
        Role::Sized => is_text(ty) || matches!(ty, Type::Bytes | Type::Array | Type::Map),
        Role::Texts => ty == Type::Array && items(schema, kind).is_some_and(is_text),
        Role::Any => true,
    };
    (!fits).then(|| format!("expected {}, and `{field}` is {}", role.wanted(), describe(kind)))
}

impl Role {
    fn wanted(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Boolean => "a boolean",
            Self::Timestamp => "a timestamp",
            Self::Text => "a string or an enum",
            Self::Key => "a string, an enum, a whole number or a boolean",
            Self::Sized => "a string, bytes, an array or a map",
            Self::Texts => "an array of strings",
            Self::Any => "a field",
        }
    }
}

fn is_text(ty: Type) -> bool {
    matches!(ty, Type::String | Type::Enum)
}

fn items(schema: &Schema, kind: PathKind) -> Option<Type> {
    match &schema.node(kind.node).kind {
        Kind::Array(items) => Some(schema.node(*items).ty()),
        Kind::Union(branches) => branches.iter().find_map(|branch| match &schema.node(*branch).kind {
            Kind::Array(items) => Some(schema.node(*items).ty()),
            _ => None,
        }),
        _ => None,
    }
}

fn describe(kind: PathKind) -> String {
    match kind.logical {
        Some(logical) => format!("{} ({})", kind.ty, logical.as_str()),
        None => kind.ty.to_string(),
    }
}

/// How many of a timestamp's units make a second.
pub(crate) fn unit(kind: PathKind) -> Option<i64> {
    match kind.logical? {
        Logical::TimestampMillis | Logical::LocalTimestampMillis => Some(1_000),
        Logical::TimestampMicros | Logical::LocalTimestampMicros => Some(1_000_000),
        Logical::TimestampNanos | Logical::LocalTimestampNanos => Some(1_000_000_000),
        _ => None,
    }
}
