//! gRPC: `millrace.registry.v1.ModelService`.

use std::{pin::Pin, time::Duration};

use millrace_proto::registry::v1::{
    self as pb,
    model_service_server::{ModelService, ModelServiceServer},
    pull_model_response,
    push_model_request::Part,
};
use millrace_runtime::{Shutdown, grpc};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use super::{
    assign::{Ref, Stage},
    condition::Condition,
    manifest::{self, Manifest},
    shelf::Shelf,
    store::{Asked, Assignment, Promotion, Stored},
};
use crate::{Error, Result, registry::Shared, watch::Bell};

/// Bytes of a file that are sent at once.
const PIECE: usize = 256 << 10;
/// Bytes of a request: pieces of others may be larger than ours.
const MAX_REQUEST: usize = 4 << 20;
/// Pieces that wait for the client.
const AHEAD: usize = 8;
/// How long a stream goes without looking when it hears nothing.
const POLL: Duration = Duration::from_secs(5);
/// The pause after the database could not be read.
const PAUSE: Duration = Duration::from_millis(500);
/// Promotions of an answer, where none are asked for.
const PROMOTIONS: u32 = 100;
/// The longest word for who and why.
const MAX_WORDS: usize = 1_000;

pub(crate) struct Service {
    registry: Shared,
    shelf: Option<Shelf>,
    bell: Bell,
    shutdown: Shutdown,
}

type Answer<T> = std::result::Result<Response<T>, Status>;
type Answers<T> = Pin<Box<dyn Stream<Item = std::result::Result<T, Status>> + Send>>;

impl Service {
    pub(crate) fn new(registry: Shared, shelf: Option<Shelf>, bell: Bell, shutdown: Shutdown) -> Self {
        Self { registry, shelf, bell, shutdown }
    }

    pub(crate) fn server(self) -> ModelServiceServer<Self> {
        ModelServiceServer::new(self).max_decoding_message_size(MAX_REQUEST)
    }

    fn shelf(&self) -> Result<&Shelf> {
        self.shelf.as_ref().ok_or(Error::NoShelf)
    }

    async fn push(&self, mut parts: Streaming<pb::PushModelRequest>) -> Result<pb::PushModelResponse, Status> {
        let shelf = self.shelf()?;
        let Some(Part::Begin(pb::push_model_request::Begin { manifest, by })) =
            parts.message().await?.and_then(|request| request.part)
        else {
            return Err(Error::BadRequest("a bundle begins with its manifest".to_owned()).into());
        };
        words("by", &by)?;
        let manifest = Manifest::parse(manifest)?;
        let model = Ref { name: manifest.name.clone(), version: manifest.version.clone() };
        let mut intake = shelf.receive(&manifest);
        while let Some(request) = parts.message().await? {
            let Some(Part::Piece(pb::Piece { file, bytes })) = request.part else {
                return Err(Error::BadRequest("expected pieces of files behind the manifest".to_owned()).into());
            };
            intake.take(&file, &bytes).await?;
        }
        intake.finish().await?;
        let added = self.registry.store.add_model(&manifest, &by).await?;
        tracing::info!(%model, added, bytes = manifest.bytes(), by, "model pushed");
        Ok(pb::PushModelResponse { model: Some(of_ref(model)), known: !added })
    }
}

#[tonic::async_trait]
impl ModelService for Service {
    type PullModelStream = Answers<pb::PullModelResponse>;
    type WatchAssignmentStream = Answers<pb::WatchAssignmentResponse>;

    async fn push_model(&self, request: Request<Streaming<pb::PushModelRequest>>) -> Answer<pb::PushModelResponse> {
        self.push(request.into_inner()).await.map(Response::new)
    }

    async fn pull_model(&self, request: Request<pb::PullModelRequest>) -> Answer<Self::PullModelStream> {
        let shelf = self.shelf()?.clone();
        let stored = self.registry.store.model(&to_ref(request.into_inner().model)?).await?;
        let manifest = Manifest::parse(stored.manifest)?;
        let (sender, receiver) = mpsc::channel(AHEAD);
        tokio::spawn(async move {
            if let Err(error) = send_bundle(&shelf, manifest, &sender).await {
                // A client that is gone needs no word.
                sender.send(Err(error.into())).await.ok();
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn get_model(&self, request: Request<pb::GetModelRequest>) -> Answer<pb::GetModelResponse> {
        let stored = self.registry.store.model(&to_ref(request.into_inner().model)?).await?;
        Ok(Response::new(pb::GetModelResponse { model: Some(of_stored(stored)) }))
    }

    async fn list_models(&self, request: Request<pb::ListModelsRequest>) -> Answer<pb::ListModelsResponse> {
        let pb::ListModelsRequest { name, pipeline } = request.into_inner();
        let models = self.registry.store.models(&name, &pipeline).await?;
        Ok(Response::new(pb::ListModelsResponse { models: models.into_iter().map(of_stored).collect() }))
    }

    async fn promote_model(&self, request: Request<pb::PromoteModelRequest>) -> Answer<pb::PromoteModelResponse> {
        let request = request.into_inner();
        let to = to_stage(request.stage()).ok_or_else(|| Error::BadRequest("stage: expected one".to_owned()))?;
        let pb::PromoteModelRequest { pipeline, model, conditions, if_revision, by, reason, .. } = request;
        let conditions: Vec<Condition> = conditions.iter().map(|text| text.parse()).collect::<Result<_>>()?;
        let asked = asked(pipeline, if_revision, by, reason)?;
        let assignment = self.registry.store.promote(&asked, to_ref(model)?, to, &conditions).await?;
        Ok(Response::new(pb::PromoteModelResponse { assignment: Some(of_assignment(asked.pipeline, assignment)) }))
    }

    async fn rollback_model(&self, request: Request<pb::RollbackModelRequest>) -> Answer<pb::RollbackModelResponse> {
        let pb::RollbackModelRequest { pipeline, if_revision, by, reason } = request.into_inner();
        let asked = asked(pipeline, if_revision, by, reason)?;
        let assignment = self.registry.store.roll_back(&asked).await?;
        Ok(Response::new(pb::RollbackModelResponse { assignment: Some(of_assignment(asked.pipeline, assignment)) }))
    }

    async fn get_assignment(&self, request: Request<pb::GetAssignmentRequest>) -> Answer<pb::GetAssignmentResponse> {
        let pipeline = named(request.into_inner().pipeline)?;
        let assignment = self.registry.store.assignment(&pipeline).await?;
        Ok(Response::new(pb::GetAssignmentResponse { assignment: Some(of_assignment(pipeline, assignment)) }))
    }

    async fn list_promotions(&self, request: Request<pb::ListPromotionsRequest>) -> Answer<pb::ListPromotionsResponse> {
        let pb::ListPromotionsRequest { pipeline, limit } = request.into_inner();
        let limit = if limit == 0 { PROMOTIONS } else { limit };
        let promotions = self.registry.store.promotions(&named(pipeline)?, limit).await?;
        Ok(Response::new(pb::ListPromotionsResponse { promotions: promotions.into_iter().map(of_promotion).collect() }))
    }

    async fn watch_assignment(
        &self,
        request: Request<pb::WatchAssignmentRequest>,
    ) -> Answer<Self::WatchAssignmentStream> {
        let pipeline = named(request.into_inner().pipeline)?;
        let (registry, bell, shutdown) = (self.registry.clone(), self.bell.subscribe(), self.shutdown.clone());
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            let watching = registry.metrics.watcher();
            tokio::select! {
                () = watch(&registry, bell, pipeline, &sender) => {}
                () = sender.closed() => {}
                () = shutdown.wait() => {
                    let bye = grpc::status(millrace_core::Code::Unavailable, "registry is stopping, watch elsewhere");
                    sender.try_send(Err(bye)).ok();
                }
            }
            drop(watching);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

type Sender<T> = mpsc::Sender<std::result::Result<T, Status>>;

/// Sends the last word whenever it is another one.
async fn watch(
    registry: &Shared,
    mut bell: tokio::sync::watch::Receiver<()>,
    pipeline: String,
    sender: &Sender<pb::WatchAssignmentResponse>,
) {
    let mut told = None;
    loop {
        bell.mark_unchanged();
        match registry.store.assignment(&pipeline).await {
            Ok(assignment) if told == Some(assignment.revision) => {
                let _ = timeout(POLL, bell.changed()).await; // either way: look
            }
            Ok(assignment) => {
                told = Some(assignment.revision);
                let assignment = Some(of_assignment(pipeline.clone(), assignment));
                if sender.send(Ok(pb::WatchAssignmentResponse { assignment })).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, pipeline, "cannot read who scores a pipeline, trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn send_bundle(shelf: &Shelf, manifest: Manifest, sender: &Sender<pb::PullModelResponse>) -> Result<()> {
    let Manifest { text, files, .. } = manifest;
    let send = async |part| sender.send(Ok(pb::PullModelResponse { part: Some(part) })).await.is_ok();
    if !send(pull_model_response::Part::Manifest(text)).await {
        return Ok(());
    }
    for (key, file) in files {
        let mut body = shelf.read(&file).await?;
        // So that an empty file is there as well.
        if file.bytes == 0 && !send(piece(&key, &[])).await {
            return Ok(());
        }
        while let Some(bytes) = body.next().await? {
            for bytes in bytes.chunks(PIECE) {
                if !send(piece(&key, bytes)).await {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn piece(file: &str, bytes: &[u8]) -> pull_model_response::Part {
    pull_model_response::Part::Piece(pb::Piece { file: file.to_owned(), bytes: bytes.to_vec() })
}

fn asked(pipeline: String, if_revision: u64, by: String, reason: String) -> Result<Asked> {
    words("by", &by)?;
    words("reason", &reason)?;
    Ok(Asked { pipeline: named(pipeline)?, if_revision, by, reason })
}

fn named(pipeline: String) -> Result<String> {
    if pipeline.is_empty() { Err(Error::BadRequest("pipeline: expected its name".to_owned())) } else { Ok(pipeline) }
}

fn words<'a>(what: &str, text: &'a str) -> Result<&'a str> {
    if text.len() > MAX_WORDS || text.contains('\0') {
        return Err(Error::BadRequest(format!("{what}: expected at most {MAX_WORDS} bytes of text")));
    }
    Ok(text)
}

fn to_ref(model: Option<pb::ModelRef>) -> Result<Ref> {
    let pb::ModelRef { name, version } = model.unwrap_or_default();
    if name.is_empty() || version.is_empty() {
        return Err(Error::BadRequest("model: expected its name and its version".to_owned()));
    }
    Ok(Ref { name, version })
}

fn of_ref(model: Ref) -> pb::ModelRef {
    let Ref { name, version } = model;
    pb::ModelRef { name, version }
}

fn of_stored(stored: Stored) -> pb::Model {
    let Stored { model, manifest, bytes, pushed_at, pushed_by, stages } = stored;
    let stages = stages.into_iter().map(|(pipeline, stage, revision)| pb::StageOf {
        pipeline,
        stage: of_stage(stage).into(),
        revision,
    });
    pb::Model { model: Some(of_ref(model)), manifest, bytes, pushed_at, pushed_by, stages: stages.collect() }
}

fn of_assignment(pipeline: String, assignment: Assignment) -> pb::Assignment {
    let Assignment { revision, champion, shadows } = assignment;
    let (champion, shadows) = (champion.map(of_ref), shadows.into_iter().map(of_ref).collect());
    pb::Assignment { pipeline, revision, champion, shadows }
}

fn of_promotion(promotion: Promotion) -> pb::Promotion {
    let Promotion { revision, step, conditions, by, reason, at } = promotion;
    pb::Promotion {
        revision,
        model: Some(of_ref(step.model)),
        from: step.from.map_or(pb::Stage::Unspecified, of_stage).into(),
        to: of_stage(step.to).into(),
        before: step.before.map(of_ref),
        conditions,
        by,
        reason,
        at,
    }
}

fn of_stage(stage: Stage) -> pb::Stage {
    match stage {
        Stage::Candidate => pb::Stage::Candidate,
        Stage::Shadow => pb::Stage::Shadow,
        Stage::Champion => pb::Stage::Champion,
        Stage::Retired => pb::Stage::Retired,
    }
}

fn to_stage(stage: pb::Stage) -> Option<Stage> {
    match stage {
        pb::Stage::Unspecified => None,
        pb::Stage::Candidate => Some(Stage::Candidate),
        pb::Stage::Shadow => Some(Stage::Shadow),
        pb::Stage::Champion => Some(Stage::Champion),
        pb::Stage::Retired => Some(Stage::Retired),
    }
}

/// A manifest fits a request.
const _: () = assert!(manifest::MAX < MAX_REQUEST);
