//! Which field of the writer is which of the reader, and which type can be read as which.

use super::{Error, PathKind};
use crate::{
    Field, FieldPath, Kind, Node, NodeId, Record, Schema, Type,
    compatibility::{self, Numbers},
};

/// The branches of a union, or the node alone.
pub(super) fn branches(schema: &Schema, node: NodeId) -> Vec<NodeId> {
    match &schema.node(node).kind {
        Kind::Union(branches) => branches.clone(),
        _ => vec![node],
    }
}

fn is_null(schema: &Schema, node: NodeId) -> bool {
    schema.node(node).ty() == Type::Null
}

/// The node beside null in a union of two; other nodes are themselves.
pub(super) fn without_null(schema: &Schema, node: NodeId) -> NodeId {
    let branches = branches(schema, node);
    let mut values = branches.into_iter().filter(|&branch| !is_null(schema, branch));
    match (values.next(), values.next()) {
        (Some(only), None) => only,
        _ => node,
    }
}

pub(super) fn is_nullable(schema: &Schema, node: NodeId) -> bool {
    branches(schema, node).into_iter().any(|branch| is_null(schema, branch))
}

/// The one record that a node is or may be: none where a union has several.
pub(super) fn record_in(schema: &Schema, node: NodeId) -> Option<(NodeId, &Record)> {
    let branches = branches(schema, node);
    let mut records = branches.into_iter().filter_map(|branch| Some((branch, schema.node(branch).record()?)));
    match (records.next(), records.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

pub(super) fn kind_at(schema: &Schema, node: NodeId, nullable: bool, present: bool) -> PathKind {
    let value = without_null(schema, node);
    let nullable = nullable || is_nullable(schema, node);
    let Node { logical, .. } = schema.node(value);
    PathKind { ty: schema.node(value).ty(), logical: *logical, nullable, present, node: value }
}

/// What `path` is in `schema` itself.
pub(super) fn kind_of(schema: &Schema, path: &FieldPath) -> Result<PathKind, Error> {
    let mut node = schema.root();
    let mut nullable = false;
    for name in path.segments() {
        let field = record_in(schema, node).and_then(|(_, record)| record.field(name));
        let Some(field) = field else { return Err(Error::UnknownField { path: path.clone() }) };
        nullable |= without_null(schema, node) != node;
        node = field.node;
    }
    Ok(kind_at(schema, node, nullable, true))
}

/// The writer's field that a field of the reader is: by its name, by its aliases, by the writer's aliases.
pub(super) fn field_of(writer: &Record, wanted: &Field) -> Option<usize> {
    let by_name = writer.position(&wanted.name);
    let by_alias = || wanted.aliases.iter().find_map(|alias| writer.position(alias));
    let renamed_back = || writer.fields.iter().position(|field| field.aliases.contains(&wanted.name));
    by_name.or_else(by_alias).or_else(renamed_back)
}

/// The node of the reader (a branch of `reader`, where that is a union) that a value of `written` is read as: one of
/// the same type, else one that it is promoted to, else a narrower number, whose slot is as wide as the writer's.
pub(super) fn target(writer: &Schema, written: NodeId, reader: &Schema, wanted: NodeId) -> Option<NodeId> {
    let candidates = branches(reader, wanted);
    let exact = |branch: NodeId| {
        let (wanted, written) = (reader.node(branch), writer.node(written));
        wanted.ty() == written.ty() && wanted.name().map(crate::Name::simple) == written.name().map(crate::Name::simple)
    };
    let readable = |numbers| move |&branch: &NodeId| reads(writer, written, reader, branch, numbers);
    let first = |fits: &dyn Fn(&NodeId) -> bool| candidates.iter().copied().find(fits);
    first(&|branch| exact(*branch) && readable(Numbers::Any)(branch))
        .or_else(|| first(&readable(Numbers::Promoted)))
        .or_else(|| first(&readable(Numbers::Any)))
}

/// Whether values of `written` can be read as `wanted`; neither is a union.
fn reads(writer: &Schema, written: NodeId, reader: &Schema, wanted: NodeId, numbers: Numbers) -> bool {
    match (&writer.node(written).kind, &reader.node(wanted).kind) {
        (Kind::Fixed(written), Kind::Fixed(wanted)) => written.size == wanted.size,
        (Kind::Enum(_), Kind::Enum(_)) => true,
        (Kind::Array(_), Kind::Array(_)) | (Kind::Map(_), Kind::Map(_)) | (Kind::Record(_), Kind::Record(_)) => {
            let found = compatibility::can_read_numbers(&reader.at(wanted), &writer.at(written), numbers);
            found.iter().all(|it| it.kind.is_bridged())
        }
        (Kind::Union(_), _) | (_, Kind::Union(_)) => false,
        (written, wanted) => numbers.may_be_read(written.ty(), wanted.ty()),
    }
}
