//! What a value was written with.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use millrace_core::header;
use millrace_kafka::Record;
use millrace_schema::{
    Guid, Schema, Validator, archived,
    client::{Client, Error as RegistryError},
    framing::{self, SchemaRef},
};

use crate::error::Result;

/// Schemas that are remembered.
const MAX_KNOWN: usize = 512;

/// A schema that values of a file are written with, and that of the file's records.
pub(crate) struct Known {
    /// None: values whose schema is not known, as bytes.
    pub(crate) guid: Option<Guid>,
    /// Of the records of the file.
    pub(crate) archived: Schema,
    validator: Option<Validator>,
}

/// A value as it goes into a file.
pub(crate) struct Value<'a> {
    pub(crate) known: Arc<Known>,
    /// The datum; of a value without a schema, what is there of it.
    pub(crate) datum: Option<&'a [u8]>,
}

/// Asks the registry once for each schema.
pub(crate) struct Schemas {
    registry: Client,
    known: HashMap<SchemaRef, Option<Arc<Known>>>,
    /// That the registry did not give: told once, and asked for again, for it may only be late.
    missing: HashSet<SchemaRef>,
    unknown: Arc<Known>,
}

impl Schemas {
    pub(crate) fn new(registry: Client) -> Result<Self, archived::Error> {
        let unknown = Known { guid: None, archived: archived::compose(None)?, validator: None };
        Ok(Self { registry, known: HashMap::new(), missing: HashSet::new(), unknown: Arc::new(unknown) })
    }

    /// What a record's value was written with. What is not of the schema that it names, names none, or one that nobody
    /// knows, is kept as bytes. An error: the registry is away.
    pub(crate) async fn of<'a>(&mut self, record: &'a Record) -> Result<Value<'a>> {
        let whole = record.value.as_deref();
        let unknown = Value { known: Arc::clone(&self.unknown), datum: whole };
        let Some(value) = whole else { return Ok(unknown) };
        let Ok((schema, datum)) = framing::split(value, record.headers.get(header::VALUE_SCHEMA_ID)) else {
            return Ok(unknown);
        };
        let Some(known) = self.known(schema).await? else { return Ok(unknown) };
        // A file with one datum that is not of its schema cannot be read from there on.
        let fits = known.validator.as_ref().is_some_and(|validator| validator.validate(datum).is_ok());
        Ok(if fits { Value { known, datum: Some(datum) } } else { unknown })
    }

    async fn known(&mut self, schema: SchemaRef) -> Result<Option<Arc<Known>>> {
        if let Some(known) = self.known.get(&schema) {
            return Ok(known.clone());
        }
        let known = match self.registry.by_ref(schema).await {
            Ok(registered) => match archived::compose(Some(&registered.schema)) {
                Ok(archived) => Some(Arc::new(Known {
                    guid: Some(registered.schema.guid()),
                    archived,
                    validator: Some(Validator::compile(&registered.schema)),
                })),
                Err(error) => {
                    tracing::error!(%schema, %error, "values of this schema are archived as bytes");
                    None
                }
            },
            Err(error @ RegistryError::Unavailable(_)) => return Err(error.into()),
            Err(error) => {
                if self.missing.len() < MAX_KNOWN && self.missing.insert(schema) {
                    tracing::error!(%schema, %error, "values of a schema that the registry does not give are archived as bytes");
                }
                return Ok(None);
            }
        };
        if self.known.len() == MAX_KNOWN {
            self.known.clear();
        }
        self.known.insert(schema, known.clone());
        Ok(known)
    }
}
