//! What the judge asks the registry. It blocks: lanes are threads of their own.

use std::sync::Arc;

use millrace_core::{Pipeline, record::VERDICT_SCHEMA};
use millrace_kafka::lane::Unavailable;
use millrace_schema::{
    Schema,
    client::{self, Client, Registered},
    framing::SchemaRef,
};
use tokio::runtime::Handle;

/// Schemas of scores, of events and of verdicts.
pub trait Lookup: Send {
    /// The schema that a score's value names.
    fn scored(&self, schema: SchemaRef) -> Result<Arc<Registered>, client::Error>;

    /// The newest schema of the pipeline's events.
    fn newest(&self) -> Result<Arc<Registered>, client::Error>;

    /// The schema of verdicts, registered.
    fn verdicts(&self) -> Result<Arc<Registered>, Unavailable>;
}

/// The real registry.
pub(crate) struct Remote {
    runtime: Handle,
    registry: Client,
    events: String,
    verdicts: String,
    schema: Schema,
}

impl Remote {
    /// Asks from within `runtime`.
    pub(crate) fn new(runtime: Handle, registry: Client, pipeline: &Pipeline) -> Self {
        Self {
            runtime,
            registry,
            events: pipeline.spec.events.subject.clone(),
            verdicts: format!("{}-value", pipeline.verdicts_topic()),
            schema: verdict_schema(),
        }
    }
}

/// The schema that this build writes verdicts in.
pub(crate) fn verdict_schema() -> Schema {
    Schema::parse(VERDICT_SCHEMA).expect("a schema of ours: core's tests read it")
}

impl Lookup for Remote {
    fn scored(&self, schema: SchemaRef) -> Result<Arc<Registered>, client::Error> {
        self.runtime.block_on(self.registry.by_ref(schema))
    }

    fn newest(&self) -> Result<Arc<Registered>, client::Error> {
        self.runtime.block_on(self.registry.latest(&self.events))
    }

    fn verdicts(&self) -> Result<Arc<Registered>, Unavailable> {
        // Also a refusal is waited for: the subject is set right by a person, and nothing is lost until then.
        self.runtime
            .block_on(self.registry.register(&self.verdicts, &self.schema))
            .map_err(|error| Unavailable { what: "schema of verdicts", source: error.into() })
    }
}
