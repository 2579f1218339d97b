//! gRPC: `millrace.registry.v1.RegistryService`.

use std::pin::Pin;

use millrace_proto::registry::v1::{
    self as pb,
    get_schema_request::Key,
    registry_service_server::{RegistryService, RegistryServiceServer},
};
use millrace_runtime::{Shutdown, grpc};
use millrace_schema::{Guid, compatibility::Level};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};

use crate::{
    Error,
    model::{Change, Content, Offer, Page, Pick, Reference, Version, Visible, What},
    registry::Shared,
    subject::Subject,
    watch::{self, Bell, Wish},
};

/// Bytes of a request; a schema may have 1 MiB, as over REST.
const MAX_REQUEST: usize = 1024 * 1024 + 64 * 1024;
/// All of a list.
const EVERYTHING: Page = Page { offset: 0, limit: None };

pub(crate) struct Service {
    registry: Shared,
    bell: Bell,
    shutdown: Shutdown,
}

impl Service {
    pub(crate) fn new(registry: Shared, bell: Bell, shutdown: Shutdown) -> Self {
        Self { registry, bell, shutdown }
    }

    pub(crate) fn server(self) -> RegistryServiceServer<Self> {
        RegistryServiceServer::new(self).max_decoding_message_size(MAX_REQUEST)
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl RegistryService for Service {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::WatchResponse, Status>> + Send>>;

    async fn register(&self, request: Request<pb::RegisterRequest>) -> Answer<pb::RegisterResponse> {
        let pb::RegisterRequest { subject, schema, references, normalize: _ } = request.into_inner();
        let version = self.registry.register(&Subject::parse(&subject)?, &offer(schema, references)).await?;
        Ok(Response::new(pb::RegisterResponse { schema: Some(of_version(&version)) }))
    }

    async fn look_up(&self, request: Request<pb::LookUpRequest>) -> Answer<pb::LookUpResponse> {
        let pb::LookUpRequest { subject, schema, references, normalize: _ } = request.into_inner();
        let (subject, offer) = (Subject::parse(&subject)?, offer(schema, references));
        let version = self.registry.look_up(&subject, &offer, Visible::Live).await?;
        Ok(Response::new(pb::LookUpResponse { schema: Some(of_version(&version)) }))
    }

    async fn get_schema(&self, request: Request<pb::GetSchemaRequest>) -> Answer<pb::GetSchemaResponse> {
        let store = &self.registry.store;
        let schema = match request.into_inner().key {
            None => return Err(Error::BadRequest("key: expected id, guid or version".to_owned()).into()),
            Some(Key::Id(id)) => {
                let content = store.by_id(id).await?.ok_or_else(|| Error::SchemaIdNotFound(id.to_string()))?;
                of_content(&content)
            }
            Some(Key::Guid(text)) => {
                let guid: Guid = text.parse().map_err(|error| Error::BadRequest(format!("guid {text:?}: {error}")))?;
                of_content(&*store.by_guid(guid).await?.ok_or(Error::SchemaIdNotFound(text))?)
            }
            Some(Key::Version(pb::get_schema_request::SubjectVersion { subject, version })) => {
                let pick = if version == 0 { Pick::Latest } else { Pick::Number(version) };
                of_version(&self.registry.version(&Subject::parse(&subject)?, pick, Visible::Live).await?)
            }
        };
        Ok(Response::new(pb::GetSchemaResponse { schema: Some(schema) }))
    }

    async fn list_subjects(&self, request: Request<pb::ListSubjectsRequest>) -> Answer<pb::ListSubjectsResponse> {
        let prefix = request.into_inner().prefix;
        let subjects = self.registry.store.subjects(&prefix, Visible::Live, EVERYTHING).await?;
        Ok(Response::new(pb::ListSubjectsResponse { subjects }))
    }

    async fn list_versions(&self, request: Request<pb::ListVersionsRequest>) -> Answer<pb::ListVersionsResponse> {
        let subject = Subject::parse(&request.into_inner().subject)?;
        let versions = self.registry.store.numbers(&subject, Visible::Live, EVERYTHING).await?;
        if versions.is_empty() {
            return Err(Error::SubjectNotFound(subject.to_string()).into());
        }
        Ok(Response::new(pb::ListVersionsResponse { versions }))
    }

    async fn check_compatibility(
        &self,
        request: Request<pb::CheckCompatibilityRequest>,
    ) -> Answer<pb::CheckCompatibilityResponse> {
        let pb::CheckCompatibilityRequest { subject, schema, references } = request.into_inner();
        let conflicts = self.registry.check(&Subject::parse(&subject)?, None, &offer(schema, references)).await?;
        let compatible = conflicts.is_empty();
        let incompatibilities = conflicts
            .into_iter()
            .map(|found| pb::Incompatibility { path: found.path, message: found.message, version: found.version })
            .collect();
        Ok(Response::new(pb::CheckCompatibilityResponse { compatible, incompatibilities }))
    }

    async fn get_config(&self, request: Request<pb::GetConfigRequest>) -> Answer<pb::GetConfigResponse> {
        let subject = optional(&request.into_inner().subject)?;
        let client = self.registry.store.client().await?;
        let level = match &subject {
            Some(subject) => self.registry.store.level(&client, subject).await?,
            None => self.registry.store.default_level(&client).await?,
        };
        Ok(Response::new(pb::GetConfigResponse { compatibility: of_level(level).into() }))
    }

    async fn set_config(&self, request: Request<pb::SetConfigRequest>) -> Answer<pb::SetConfigResponse> {
        let request = request.into_inner();
        let level = to_level(request.compatibility())
            .ok_or_else(|| Error::InvalidLevel(request.compatibility().as_str_name().to_owned()))?;
        self.registry.store.set_level(optional(&request.subject)?.as_ref(), level).await?;
        Ok(Response::new(pb::SetConfigResponse { compatibility: request.compatibility }))
    }

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Answer<Self::WatchStream> {
        let pb::WatchRequest { after_revision, subject_prefix } = request.into_inner();
        let wish = Wish { after: after_revision, prefix: subject_prefix };
        let changes = watch::stream(self.registry.clone(), &self.bell, wish, self.shutdown.clone()).await?;
        let answers = ReceiverStream::new(changes).map(|change| change.map(of_change));
        Ok(Response::new(Box::pin(answers)))
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        if matches!(error, Error::Store(_)) {
            tracing::warn!(%error, "request failed");
        }
        grpc::status(error.code(), error.to_string())
    }
}

fn optional(subject: &str) -> Result<Option<Subject>, Error> {
    if subject.is_empty() { Ok(None) } else { Subject::parse(subject).map(Some) }
}

fn offer(text: String, references: Vec<pb::Reference>) -> Offer {
    let references = references
        .into_iter()
        .map(|pb::Reference { name, subject, version }| Reference { name, subject, version })
        .collect();
    Offer { text, references }
}

fn of_content(content: &Content) -> pb::Schema {
    let references = content.references.iter().cloned();
    pb::Schema {
        id: content.id,
        guid: content.guid.to_string(),
        subject: String::new(),
        version: 0,
        schema: content.text.clone(),
        references: references
            .map(|Reference { name, subject, version }| pb::Reference { name, subject, version })
            .collect(),
    }
}

fn of_version(version: &Version) -> pb::Schema {
    pb::Schema { subject: version.subject.clone(), version: version.number, ..of_content(&version.content) }
}

fn of_change(change: Change) -> pb::WatchResponse {
    let Change { revision, subject, what } = change;
    let (kind, schema, level) = match what {
        What::Registered { version, content } => {
            (pb::ChangeKind::Registered, pb::Schema { subject, version, ..of_content(&content) }, None)
        }
        What::Deleted { version, content } => {
            (pb::ChangeKind::Deleted, pb::Schema { subject, version, ..of_content(&content) }, None)
        }
        What::Configured { level } => {
            (pb::ChangeKind::Configured, pb::Schema { subject, ..pb::Schema::default() }, Some(level))
        }
    };
    let compatibility = level.map_or(pb::Compatibility::Unspecified, of_level);
    pb::WatchResponse { revision, kind: kind.into(), schema: Some(schema), compatibility: compatibility.into() }
}

fn of_level(level: Level) -> pb::Compatibility {
    match level {
        Level::None => pb::Compatibility::None,
        Level::Backward => pb::Compatibility::Backward,
        Level::BackwardTransitive => pb::Compatibility::BackwardTransitive,
        Level::Forward => pb::Compatibility::Forward,
        Level::ForwardTransitive => pb::Compatibility::ForwardTransitive,
        Level::Full => pb::Compatibility::Full,
        Level::FullTransitive => pb::Compatibility::FullTransitive,
    }
}

fn to_level(level: pb::Compatibility) -> Option<Level> {
    Some(match level {
        pb::Compatibility::Unspecified => return None,
        pb::Compatibility::None => Level::None,
        pb::Compatibility::Backward => Level::Backward,
        pb::Compatibility::BackwardTransitive => Level::BackwardTransitive,
        pb::Compatibility::Forward => Level::Forward,
        pb::Compatibility::ForwardTransitive => Level::ForwardTransitive,
        pb::Compatibility::Full => Level::Full,
        pb::Compatibility::FullTransitive => Level::FullTransitive,
    })
}
