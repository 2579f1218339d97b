//! Which alerts a verdict raises, and into which group each falls.

use millrace_core::{
    Action,
    pipeline::{self, Alert},
};
use millrace_schema::{FieldPath, Schema, Slot};

use crate::{
    problem::{Place, Problem},
    symbols::Symbols,
    ty::Ty,
};

/// An alert of the policy, its paths resolved.
#[derive(Debug)]
pub(crate) struct Compiled {
    name: String,
    on: Action,
    /// (path as the document writes it, its field)
    group_by: Vec<(String, usize)>,
}

/// An alert that a verdict raises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised<'p> {
    /// Its name in the document.
    pub name: &'p str,
    /// For each path of `group_by`, as the document writes it, the event's value as text; empty for null.
    pub group: Vec<(&'p str, String)>,
}

/// Resolves the paths of all alerts, and says which cannot be.
pub(crate) fn compile(alerts: &[Alert], newest: &Schema, symbols: &mut Symbols) -> Result<Vec<Compiled>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut compiled = Vec::with_capacity(alerts.len());
    for (alert, pipeline::Alert { name, on, group_by, .. }) in alerts.iter().enumerate() {
        let mut fields = Vec::with_capacity(group_by.len());
        for (path, text) in group_by.iter().enumerate() {
            match resolve(text, newest) {
                Ok(field) => fields.push((text.clone(), symbols.field(&field))),
                Err((offset, message)) => {
                    problems.push(Problem { place: Place::GroupBy { alert, path }, offset, message });
                }
            }
        }
        compiled.push(Compiled { name: name.clone(), on: *on, group_by: fields });
    }
    if problems.is_empty() { Ok(compiled) } else { Err(problems) }
}

fn resolve(text: &str, schema: &Schema) -> Result<FieldPath, (usize, String)> {
    let names = text.strip_prefix("event.").ok_or_else(|| (0, "expected a path such as `event.org`".to_owned()))?;
    let path = FieldPath::parse(names).map_err(|error| ("event.".len(), error.to_string()))?;
    let mut ty = Ty::of(schema, schema.root());
    let mut offset = "event.".len();
    for name in path.segments() {
        let Ty::Record(node) = ty else { return Err((offset, format!("{ty} has no field `{name}`"))) };
        let record = schema.node(node).record().expect("the type of a record's node");
        let Some(field) = record.field(name) else {
            return Err((offset, format!("`{}` has no field `{name}`", record.name.simple())));
        };
        ty = Ty::of(schema, field.node);
        offset += name.len() + 1;
    }
    match ty {
        Ty::String | Ty::Enum(_) | Ty::Int | Ty::Bool => Ok(path),
        ty => Err((0, format!("groups are formed by text, whole numbers and booleans, this is {ty}"))),
    }
}

impl Compiled {
    pub(crate) fn is_on(&self, action: Action) -> bool {
        self.on == action
    }

    pub(crate) fn raise(&self, slots: &[Slot<'_>]) -> Raised<'_> {
        let group = self.group_by.iter().map(|(path, field)| (path.as_str(), label(slots[*field]))).collect();
        Raised { name: &self.name, group }
    }
}

fn label(slot: Slot<'_>) -> String {
    match slot {
        Slot::Str(text) => text.to_owned(),
        Slot::Long(number) => number.to_string(),
        Slot::Bool(flag) => flag.to_string(),
        Slot::Missing | Slot::Null | Slot::Double(_) | Slot::Bytes(_) | Slot::Complex(_) => String::new(),
    }
}
