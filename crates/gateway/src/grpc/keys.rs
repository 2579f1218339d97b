//! `KeyService`, behind the admin token.

use std::sync::Arc;

use millrace_proto::gateway::v1::{
    CreateKeyRequest, CreateKeyResponse, Key, ListKeysRequest, ListKeysResponse, RevokeKeyRequest, RevokeKeyResponse,
    key_service_server::KeyService,
};
use millrace_runtime::{Secret, grpc};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tonic::{Request, Response, Status, metadata::MetadataMap};
use tracing::info;

use crate::{
    Error, Result,
    keys::{ALL_PIPELINES, Keys, Record, bearer},
};

/// Longest name of a key, in bytes.
const MAX_NAME: usize = 200;
/// Pipelines of one key.
const MAX_PIPELINES: usize = 100;

/// Makes, lists and revokes keys.
pub(super) struct KeyAdministration {
    keys: Arc<Keys>,
    token: Secret,
}

impl KeyAdministration {
    pub(super) fn new(keys: Arc<Keys>, token: Secret) -> Self {
        Self { keys, token }
    }

    /// Compares hashes, in constant time: neither the token nor its length shows.
    fn authorize(&self, metadata: &MetadataMap) -> std::result::Result<(), Status> {
        let header = metadata.get("authorization").and_then(|value| value.to_str().ok());
        let sent = header
            .and_then(|header| header.parse().ok())
            .as_ref()
            .and_then(|header| bearer(Some(header)).map(Sha256::digest));
        let expected = Sha256::digest(self.token.expose().as_bytes());
        match sent {
            Some(sent) if sent.ct_eq(&expected).into() => Ok(()),
            _ => Err(status(&Error::NotAdmin)),
        }
    }
}

fn status(error: &Error) -> Status {
    grpc::status(error.code(), error.to_string())
}

#[tonic::async_trait]
impl KeyService for KeyAdministration {
    async fn create_key(
        &self,
        request: Request<CreateKeyRequest>,
    ) -> std::result::Result<Response<CreateKeyResponse>, Status> {
        self.authorize(request.metadata())?;
        let CreateKeyRequest { name, pipelines } = request.into_inner();
        check(&name, &pipelines).map_err(|error| status(&error))?;
        let (token, record) = self.keys.create(&name, &pipelines).await.map_err(|error| status(&error))?;
        info!(key = %record.id, name, ?pipelines, "API key made");
        Ok(Response::new(CreateKeyResponse { key: Some(record.into()), secret: token.to_string() }))
    }

    async fn list_keys(
        &self,
        request: Request<ListKeysRequest>,
    ) -> std::result::Result<Response<ListKeysResponse>, Status> {
        self.authorize(request.metadata())?;
        let records = self.keys.list(request.into_inner().include_revoked).await.map_err(|error| status(&error))?;
        Ok(Response::new(ListKeysResponse { keys: records.into_iter().map(Key::from).collect() }))
    }

    async fn revoke_key(
        &self,
        request: Request<RevokeKeyRequest>,
    ) -> std::result::Result<Response<RevokeKeyResponse>, Status> {
        self.authorize(request.metadata())?;
        let id = request.into_inner().id;
        let unknown = || Error::NotFound(format!("no API key with id {id:?}"));
        let id = id.parse().map_err(|_| status(&unknown()))?;
        let record = self.keys.revoke(id).await.map_err(|error| status(&error))?;
        info!(key = %record.id, name = record.name, "API key revoked");
        Ok(Response::new(RevokeKeyResponse { key: Some(record.into()) }))
    }
}

fn check(name: &str, pipelines: &[String]) -> Result<()> {
    let fault = if name.trim().is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        format!("name: expected 1 to {MAX_NAME} bytes without control characters")
    } else if pipelines.is_empty() || pipelines.len() > MAX_PIPELINES {
        format!("pipelines: expected 1 to {MAX_PIPELINES} names, or `{ALL_PIPELINES}` for all")
    } else if let Some(bad) = pipelines.iter().find(|name| *name != ALL_PIPELINES && !is_pipeline_name(name)) {
        format!("pipelines: {bad:?} cannot be the name of a pipeline")
    } else {
        return Ok(());
    };
    Err(Error::Malformed(fault))
}

/// Lower-case letters, digits and dashes, as pipeline documents have it.
fn is_pipeline_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= 63
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

impl From<Record> for Key {
    fn from(record: Record) -> Self {
        let Record { id, name, pipelines, created_at, revoked_at } = record;
        Self {
            id: id.to_string(),
            name,
            pipelines,
            created_at: Some(timestamp(created_at)),
            revoked_at: revoked_at.map(timestamp),
        }
    }
}

fn timestamp(at: jiff::Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() }
}
