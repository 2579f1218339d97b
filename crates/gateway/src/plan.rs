//! All that is known about the events of one pipeline in one schema, compiled once.

use std::sync::Arc;

use bytes::Bytes;
use millrace_core::pipeline::Events;
use millrace_schema::{FieldPath, Projection, Schema, Type, Validator, client::Registered, framing, json};

/// How to check, frame and key an event of one pipeline, written in one schema.
pub struct Plan {
    pub(crate) topic: Arc<str>,
    pub(crate) validator: Validator,
    pub(crate) encoder: json::Encoder,
    /// The id's field, if the document names one, then the key's fields.
    pub(crate) fields: Projection,
    /// The path of the id's field.
    pub(crate) id: Option<FieldPath>,
    /// What stands before the Avro value.
    pub(crate) prefix: Vec<u8>,
    /// The value of the header that names the schema, where that is the framing.
    pub(crate) header: Option<Bytes>,
}

impl Plan {
    /// For events of `topic` in the `writer` schema. The document's paths are those of the `newest` schema: an older
    /// writer's field is found by its alias. The error is a sentence about what does not fit the document.
    pub fn compile(topic: Arc<str>, events: &Events, writer: &Registered, newest: &Schema) -> Result<Self, String> {
        let id = events.id.as_deref().map(parse).transpose()?;
        let keys = events.key.iter().map(|path| parse(path)).collect::<Result<Vec<_>, _>>()?;
        let paths: Vec<FieldPath> = id.iter().cloned().chain(keys).collect();
        let fields = Projection::compile(&writer.schema, newest, &paths).map_err(|error| error.to_string())?;
        for (i, path) in paths.iter().enumerate() {
            check_kind(path, fields.kind(i).ty, id.is_some() && i == 0)?;
        }
        let mut prefix = Vec::new();
        framing::write_prefix(events.framing, writer.id, writer.guid, &mut prefix);
        Ok(Self {
            topic,
            validator: Validator::compile(&writer.schema),
            encoder: json::Encoder::compile(&writer.schema),
            fields,
            id,
            prefix,
            header: framing::header_value(events.framing, writer.guid).map(|guid| Bytes::copy_from_slice(&guid)),
        })
    }

    /// Where the id is, for messages.
    pub(crate) fn id_path(&self) -> String {
        self.id.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}

fn parse(path: &str) -> Result<FieldPath, String> {
    FieldPath::parse(path).map_err(|error| error.to_string())
}

/// An id has one way to be written as text, and a key one way to be written as bytes.
fn check_kind(path: &FieldPath, ty: Type, is_id: bool) -> Result<(), String> {
    match ty {
        Type::String | Type::Enum | Type::Int | Type::Long => Ok(()),
        Type::Boolean | Type::Float | Type::Double | Type::Bytes | Type::Fixed if !is_id => Ok(()),
        _ => Err(format!("{path}: {ty} cannot be {}", if is_id { "an event id" } else { "part of a key" })),
    }
}
