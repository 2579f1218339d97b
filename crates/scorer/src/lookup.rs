//! What a lane asks others for. It blocks: lanes are threads of their own.

use std::{sync::Arc, time::Duration};

use millrace_kafka::Admin;
use millrace_schema::{
    Schema,
    client::{self, Client, Registered},
    compatibility::Level,
    framing::SchemaRef,
};
use tokio::runtime::Handle;
use uuid::Uuid;

/// Schemas by name, the schemas of scores, and the ids of topics.
pub trait Lookup: Send {
    /// The schema that an event's value names.
    fn event(&self, schema: SchemaRef) -> Result<Arc<Registered>, client::Error>;

    /// Registers the schema of scores around an event's schema, or finds it.
    fn scored(&self, schema: &Schema) -> Result<Arc<Registered>, client::Error>;

    /// The id of a topic.
    fn topic_id(&self, topic: &str) -> Result<Uuid, millrace_kafka::Error>;
}

/// How long a topic's id is believed: a topic that is made anew under the same name has another.
const TOPIC_ID_LIFETIME: Duration = Duration::from_secs(30);

/// The real registry and the real brokers.
pub struct Remote {
    runtime: Handle,
    registry: Client,
    admin: Admin,
    /// `<p>.scores-value`.
    subject: String,
    topic_ids: std::sync::Mutex<Vec<(String, Uuid, std::time::Instant)>>,
}

impl Remote {
    /// Asks from within `runtime`; scores are registered under `subject`.
    pub fn new(runtime: Handle, registry: Client, admin: Admin, subject: String) -> Self {
        Self { runtime, registry, admin, subject, topic_ids: std::sync::Mutex::default() }
    }
}

impl Lookup for Remote {
    fn event(&self, schema: SchemaRef) -> Result<Arc<Registered>, client::Error> {
        self.runtime.block_on(self.registry.by_ref(schema))
    }

    fn scored(&self, schema: &Schema) -> Result<Arc<Registered>, client::Error> {
        self.runtime.block_on(async {
            if let Some(known) = self.registry.lookup(&self.subject, schema).await? {
                return Ok(known);
            }
            // Composed schemas come in any order; what is safe is decided by the events' own subject.
            self.registry.set_compatibility(&self.subject, Level::None).await?;
            let registered = self.registry.register(&self.subject, schema).await?;
            tracing::info!(subject = self.subject, id = registered.id, "schema of scores registered");
            Ok(registered)
        })
    }

    fn topic_id(&self, topic: &str) -> Result<Uuid, millrace_kafka::Error> {
        let mut known = self.topic_ids.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.retain(|(_, _, since)| since.elapsed() < TOPIC_ID_LIFETIME);
        if let Some((_, id, _)) = known.iter().find(|(name, _, _)| name == topic) {
            return Ok(*id);
        }
        let id = self.runtime.block_on(self.admin.topic_id(topic))?;
        known.push((topic.to_owned(), id, std::time::Instant::now()));
        Ok(id)
    }
}
