//! One plan per writer's schema: how its events are read, and how their scores are written.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use millrace_core::{Code, pipeline::Framing};
use millrace_kafka::lane::Unavailable;
use millrace_schema::{
    FieldPath, Projection, client,
    framing::{self, SchemaRef},
    scored,
};
use millrace_scoring::{Bundle, Plan};
use rustc_hash::FxHashMap;

use crate::{
    error::{Error, Result},
    event::id_projection,
    lookup::Lookup,
    models::Model,
};

/// Schemas that are known at a time; a stream of made-up ids must not fill the memory.
const MOST: usize = 1024;
/// How long a schema that cannot be used is believed to be so.
const REFUSED: Duration = Duration::from_secs(10);

/// How events of one writer's schema are scored.
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    /// Reads the event's own id, where the document names a field for it.
    pub(crate) id: Option<Projection>,
    /// What stands before a score's datum.
    pub(crate) prefix: Vec<u8>,
    /// The header that names a score's schema, where the framing has one.
    pub(crate) header: Option<[u8; 17]>,
}

enum Entry {
    Ready(Box<Planned>),
    Refused { code: Code, reason: String, until: Instant },
}

/// The plans of one lane.
pub(crate) struct Plans {
    bundle: Arc<Bundle>,
    /// Told what schemas there are: the next model must fit them.
    model: Arc<Model>,
    framing: Framing,
    id: Option<FieldPath>,
    known: FxHashMap<SchemaRef, Entry>,
}

impl Plans {
    pub(crate) fn new(bundle: Arc<Bundle>, model: Arc<Model>, framing: Framing, id: Option<FieldPath>) -> Self {
        Self { bundle, model, framing, id, known: FxHashMap::default() }
    }

    /// The bundle that the plans are made with.
    pub(crate) fn bundle(&self) -> &Arc<Bundle> {
        &self.bundle
    }

    /// Takes another bundle: every plan is made anew when it is needed.
    pub(crate) fn replace(&mut self, bundle: Arc<Bundle>) {
        self.bundle = bundle;
        self.known.clear();
    }

    /// The plan for a schema. The outer error is for now, the inner one for good.
    pub(crate) fn get(
        &mut self,
        schema: SchemaRef,
        lookup: &dyn Lookup,
    ) -> std::result::Result<Result<&Planned>, Unavailable> {
        let usable = match self.known.get(&schema) {
            Some(Entry::Ready(_)) => true,
            Some(Entry::Refused { until, .. }) => *until > Instant::now(),
            None => false,
        };
        if !usable {
            let entry = match self.plan(schema, lookup)? {
                Ok(planned) => Entry::Ready(Box::new(planned)),
                // The client remembers for a moment what does not exist.
                Err(error @ Error::UnknownSchema(_)) => return Ok(Err(error)),
                Err(error) => {
                    tracing::error!(%schema, %error, "events of this schema cannot be scored");
                    let reason = match error {
                        Error::Schema { ref reason, .. } => reason.clone(),
                        ref other => other.to_string(),
                    };
                    Entry::Refused { code: error.code(), reason, until: Instant::now() + REFUSED }
                }
            };
            if self.known.len() >= MOST {
                self.known.clear();
            }
            self.known.insert(schema, entry);
        }
        Ok(match self.known.get(&schema) {
            Some(Entry::Ready(planned)) => Ok(planned),
            Some(Entry::Refused { code, reason, .. }) => {
                Err(Error::Schema { schema, code: *code, reason: reason.clone() })
            }
            None => Err(Error::UnknownSchema(schema)),
        })
    }

    fn plan(&self, schema: SchemaRef, lookup: &dyn Lookup) -> std::result::Result<Result<Planned>, Unavailable> {
        let event = match lookup.event(schema) {
            Ok(event) => event,
            Err(error) => return refused(schema, error),
        };
        let plan = match Plan::compile(&self.bundle, &event.schema) {
            Ok(plan) => plan,
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
                return Ok(Err(Error::Schema { schema, code: error.code(), reason: format!("{error}{cause}") }));
            }
        };
        let composed = match scored::compose(&event.schema) {
            Ok(composed) => composed,
            Err(error) => return Ok(Err(Error::not_nestable(schema, &error))),
        };
        let registered = match lookup.scored(&composed) {
            Ok(registered) => registered,
            // Whatever the registry has against it is no fault of the event's, which waits until it is mended.
            Err(error) => return Err(Unavailable { what: "schema of scores", source: error.into() }),
        };
        self.model.reads(event.guid, &event.schema);
        let mut prefix = Vec::new();
        framing::write_prefix(self.framing, registered.id, registered.guid, &mut prefix);
        Ok(Ok(Planned {
            plan,
            id: self.id.as_ref().and_then(|id| id_projection(&event.schema, self.bundle.schema(), id)),
            prefix,
            header: framing::header_value(self.framing, registered.guid),
        }))
    }
}

fn refused<T>(schema: SchemaRef, error: client::Error) -> std::result::Result<Result<T>, Unavailable> {
    match error {
        error if error.is_retriable() => Err(Unavailable { what: "schema registry", source: error.into() }),
        client::Error::NotFound(_) => Ok(Err(Error::UnknownSchema(schema))),
        error => Ok(Err(Error::Schema { schema, code: error.code(), reason: error.to_string() })),
    }
}
