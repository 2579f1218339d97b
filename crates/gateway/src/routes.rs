//! From a pipeline's name and a schema's name to a compiled plan.
//!
//! ```text
//! pipeline --> Route --schema name--> plans (bounded cache) --miss--> registry: find, look up under the subject, compile
//!                                       '-- `latest` falls back to the last one known while the registry is away
//! ```

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use millrace_core::{Pipeline, pipeline::Events};
use millrace_schema::{
    Guid, Schema,
    client::{self, Client, Registered},
    framing::SchemaRef,
};
use moka::future::Cache;

use crate::{Error, Plan, Result};

/// Schemas of one pipeline that are kept compiled at once.
const MAX_PLANS: u64 = 256;
/// How long the registry may hold a request up that could go on with what was the latest version before.
const LATEST_TIMEOUT: Duration = Duration::from_millis(250);

/// The pipelines that this gateway serves, by name.
pub(crate) struct Routes(HashMap<String, Arc<Route>>);

/// One pipeline, as far as the gateway knows it.
pub(crate) struct Route {
    name: Arc<str>,
    topic: Arc<str>,
    events: Events,
    registry: Client,
    plans: Cache<SchemaName, Arc<Plan>>,
    /// What `latest` was when the registry last said so.
    latest: Mutex<Option<Arc<Plan>>>,
}

/// How a client names the schema of its events.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SchemaName {
    /// Not at all: the latest version.
    Latest,
    /// By version under the pipeline's subject.
    Version(u32),
    /// By the registry's id.
    Id(u32),
    /// By its content's GUID.
    Guid(Guid),
}

impl std::fmt::Display for SchemaName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Latest => f.write_str("a schema"),
            Self::Version(version) => write!(f, "version {version}"),
            Self::Id(id) => write!(f, "the schema with id {id}"),
            Self::Guid(guid) => write!(f, "the schema with GUID {guid}"),
        }
    }
}

impl Routes {
    /// For these documents.
    pub(crate) fn new(pipelines: Vec<Pipeline>, registry: &Client) -> Self {
        let route = |pipeline: Pipeline| {
            let route = Route {
                name: pipeline.name().into(),
                topic: pipeline.events_topic().into(),
                events: pipeline.spec.events,
                registry: registry.clone(),
                plans: Cache::new(MAX_PLANS),
                latest: Mutex::new(None),
            };
            (route.name.to_string(), Arc::new(route))
        };
        Self(pipelines.into_iter().map(route).collect())
    }

    /// The pipeline of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Route>> {
        self.0.get(name)
    }
}

impl Route {
    /// The pipeline's name.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The plan for events in a schema that the client named.
    pub(crate) async fn plan(&self, schema: SchemaName) -> Result<Arc<Plan>> {
        if schema == SchemaName::Latest {
            return self.latest().await;
        }
        let load = self.load(schema.clone());
        self.plans.try_get_with(schema, load).await.map_err(|error: Arc<Error>| (*error).clone())
    }

    /// The plan for events in a schema that the client sent along: it must be registered already.
    pub(crate) async fn plan_of(&self, writer: &Schema) -> Result<Arc<Plan>> {
        let load = async {
            let found = self.under_subject(writer).await?;
            let found = found.ok_or_else(|| self.unknown("the schema that the file was written with"))?;
            self.compile(&found).await
        };
        let name = SchemaName::Guid(writer.guid());
        self.plans.try_get_with(name, load).await.map_err(|error: Arc<Error>| (*error).clone())
    }

    /// The client caches the answer for a while; when the registry is away after that, or slow, the last one goes on.
    async fn latest(&self) -> Result<Arc<Plan>> {
        let last = self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let asked = self.ask_for_latest();
        let plan = match last {
            None => asked.await?,
            Some(last) => match tokio::time::timeout(LATEST_TIMEOUT, asked).await {
                Ok(Err(Error::Registry(_))) | Err(_) => return Ok(last),
                Ok(answered) => answered?,
            },
        };
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&plan));
        Ok(plan)
    }

    async fn ask_for_latest(&self) -> Result<Arc<Plan>> {
        let latest = self.registry.latest(&self.events.subject).await;
        let latest = latest.map_err(|error| self.error(error, &SchemaName::Latest))?;
        let plan = self.plans.try_get_with(SchemaName::Id(latest.id), self.compile(&latest)).await;
        plan.map_err(|error: Arc<Error>| (*error).clone())
    }

    async fn load(&self, name: SchemaName) -> Result<Arc<Plan>> {
        let found = match &name {
            SchemaName::Latest => self.registry.latest(&self.events.subject).await,
            SchemaName::Version(version) => self.registry.version(&self.events.subject, *version).await,
            SchemaName::Id(id) => self.registry.by_ref(SchemaRef::Id(*id)).await,
            SchemaName::Guid(guid) => self.registry.by_ref(SchemaRef::Guid(*guid)).await,
        };
        let found = found.map_err(|error| self.error(error, &name))?;
        // An id or a GUID may name a schema of any subject: what goes into this topic must be one of this subject's.
        let found = match name {
            SchemaName::Latest | SchemaName::Version(_) => found,
            SchemaName::Id(_) | SchemaName::Guid(_) => {
                self.under_subject(&found.schema).await?.ok_or_else(|| self.unknown(&name.to_string()))?
            }
        };
        self.compile(&found).await
    }

    async fn under_subject(&self, schema: &Schema) -> Result<Option<Arc<Registered>>> {
        let found = self.registry.lookup(&self.events.subject, schema).await;
        found.map_err(|error| self.error(error, &SchemaName::Guid(schema.guid())))
    }

    async fn compile(&self, writer: &Registered) -> Result<Arc<Plan>> {
        let newest = self.registry.latest(&self.events.subject).await;
        let newest = newest.map_err(|error| self.error(error, &SchemaName::Latest))?;
        let plan = Plan::compile(Arc::clone(&self.topic), &self.events, writer, &newest.schema);
        plan.map(Arc::new).map_err(|reason| Error::SchemaUnusable { subject: self.events.subject.clone(), reason })
    }

    fn error(&self, error: client::Error, name: &SchemaName) -> Error {
        if error.is_retriable() {
            return Error::Registry(error);
        }
        match error.code() {
            millrace_core::Code::NotFound => self.unknown(&name.to_string()),
            _ => Error::SchemaUnusable { subject: self.events.subject.clone(), reason: error.to_string() },
        }
    }

    fn unknown(&self, what: &str) -> Error {
        Error::SchemaUnknown { what: what.to_owned(), subject: self.events.subject.clone() }
    }
}
