//! A record of ours with an event inside, as its last field, in the event's own schema.

use millrace_core::Code;

use crate::{Schema, java};

/// The field that holds the event.
pub const EVENT_FIELD: &str = "event";

/// The namespace of our records.
const NAMESPACE: &str = "millrace.v1";

/// Why there is no record around an event, or no event in a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The two schemas cannot stand in one: the event's defines a type of ours, or nests too deeply.
    #[error("event schema cannot be nested in {name}: {reason}")]
    NotNestable {
        /// The record's name.
        name: &'static str,
        /// Why.
        reason: String,
    },
    /// It is not such a record.
    #[error("not a schema of {name}: {reason}")]
    Other {
        /// The record's name.
        name: &'static str,
        /// Why.
        reason: &'static str,
    },
}

impl Error {
    /// What callers see.
    pub fn code(&self) -> Code {
        match self {
            Self::NotNestable { .. } => Code::InvalidConfig,
            Self::Other { .. } => Code::Corrupt,
        }
    }

    /// Low cardinality, stable: a metric label.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::NotNestable { .. } => "not_nestable",
            Self::Other { .. } => "not_ours",
        }
    }

    /// Schemas do not change.
    pub fn is_retriable(&self) -> bool {
        false
    }
}

/// What stands in the event's place.
#[derive(Clone, Copy)]
pub(crate) enum Inner<'a> {
    Schema(&'a Schema),
    /// A type without a name.
    Text(&'a str),
}

/// The template with the event's type in its place, references written out.
pub(crate) fn compose(name: &'static str, template: &str, event: Inner<'_>) -> Result<Schema, Error> {
    // A type without a namespace would take ours on; the Java form says `"namespace":""` where it stands inside one.
    let event = match event {
        Inner::Schema(event) => java::render_within(event, java::References::Inlined, Some(NAMESPACE)),
        Inner::Text(text) => text.to_owned(),
    };
    let text = template.replacen("\"EVENT\"", &event, 1);
    Schema::parse(&text).map_err(|error| Error::NotNestable { name, reason: error.to_string() })
}

/// The event's schema out of that of the record. It shares the nodes; [`Schema::standalone`] writes it out.
pub(crate) fn inner(name: &'static str, schema: &Schema) -> Result<Schema, Error> {
    let other = |reason| Error::Other { name, reason };
    let record = schema.root_node().record().ok_or_else(|| other("it is no record"))?;
    if record.name.full() != name {
        return Err(other("it has another name"));
    }
    let event = record.fields.last().filter(|field| field.name == EVENT_FIELD);
    Ok(schema.at(event.ok_or_else(|| other("its last field is not the event"))?.node))
}
