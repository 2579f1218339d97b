//! The registry's models, as a person who trains and promotes has them.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use millrace_proto::registry::v1::{
    Assignment, GetAssignmentRequest, ListPromotionsRequest, ModelRef, Piece, PromoteModelRequest, Promotion,
    PushModelRequest, RollbackModelRequest, Stage,
    model_service_client::ModelServiceClient,
    push_model_request::{Begin, Part},
};
use serde_json::Value;
use tonic::transport::Channel;

use crate::World;

/// Bytes of a piece.
const PIECE: usize = 256 << 10;

/// The models of the demo's pipeline.
#[derive(Clone)]
pub struct Models {
    client: ModelServiceClient<Channel>,
}

impl Models {
    /// In the world's registry, which must run when it is asked.
    pub fn of(world: &World) -> anyhow::Result<Self> {
        let address = world.env("MILLRACE_REGISTRY_GRPC");
        let url = if address.contains("://") { address } else { format!("http://{address}") };
        let channel = Channel::from_shared(url)?.connect_timeout(Duration::from_secs(5)).connect_lazy();
        Ok(Self { client: ModelServiceClient::new(channel) })
    }

    /// Stores a bundle: a folder as `millrace-scorer train` makes it.
    pub async fn push(&mut self, bundle: &Path) -> anyhow::Result<ModelRef> {
        let text = std::fs::read_to_string(bundle.join("manifest.json")).context("read the bundle's manifest")?;
        let manifest: Value = serde_json::from_str(&text)?;
        let begin = Begin { manifest: text, by: "test".to_owned() };
        let mut parts = vec![PushModelRequest { part: Some(Part::Begin(begin)) }];
        for (key, entry) in manifest["files"].as_object().context("the manifest has no files")? {
            let bytes = std::fs::read(bundle.join(entry["file"].as_str().unwrap_or_default()))?;
            parts.extend(bytes.chunks(PIECE).map(|bytes| {
                let piece = Piece { file: key.clone(), bytes: bytes.to_vec() };
                PushModelRequest { part: Some(Part::Piece(piece)) }
            }));
        }
        let answer = self.client.push_model(tokio_stream::iter(parts)).await?.into_inner();
        answer.model.context("the registry does not say what it stored")
    }

    /// Makes it the champion.
    pub async fn promote(&mut self, model: &ModelRef) -> anyhow::Result<Assignment> {
        let request = PromoteModelRequest {
            pipeline: millrace_demo::NAME.to_owned(),
            model: Some(model.clone()),
            stage: Stage::Champion.into(),
            conditions: Vec::new(),
            if_revision: 0,
            by: "test".to_owned(),
            reason: String::new(),
        };
        let answer = self.client.promote_model(request).await?.into_inner();
        answer.assignment.context("the registry does not say who scores")
    }

    /// Makes the champion before the present one the champion again.
    pub async fn roll_back(&mut self) -> anyhow::Result<Assignment> {
        let pipeline = millrace_demo::NAME.to_owned();
        let request = RollbackModelRequest { pipeline, if_revision: 0, by: "test".to_owned(), reason: String::new() };
        let answer = self.client.rollback_model(request).await?.into_inner();
        answer.assignment.context("the registry does not say who scores")
    }

    /// Who scores now.
    pub async fn assignment(&mut self) -> anyhow::Result<Assignment> {
        let request = GetAssignmentRequest { pipeline: millrace_demo::NAME.to_owned() };
        let answer = self.client.get_assignment(request).await?.into_inner();
        answer.assignment.context("the registry does not say who scores")
    }

    /// All that was promoted, newest first.
    pub async fn promotions(&mut self) -> anyhow::Result<Vec<Promotion>> {
        let request = ListPromotionsRequest { pipeline: millrace_demo::NAME.to_owned(), limit: 10_000 };
        Ok(self.client.list_promotions(request).await?.into_inner().promotions)
    }
}
