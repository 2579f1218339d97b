//! What a server says of itself: gRPC server reflection, version 1, or the alpha of it that came before and is the same but
//! for its name (<https://grpc.io/docs/guides/reflection/>).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use moka::future::Cache;
use prost::Message as _;
use prost_reflect::{DescriptorPool, MethodDescriptor, ReflectMessage as _, ServiceDescriptor};
use prost_types::FileDescriptorProto;
use tokio::sync::mpsc;
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::{Code, Request, Status, Streaming, transport::Channel};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, ServerReflectionResponse, server_reflection_request::MessageRequest as Question,
    server_reflection_response::MessageResponse as Answer,
};

use super::{Checked, Target, rpc};

/// Services that are remembered.
const MAX_SERVICES: u64 = 256;
/// How long, after they were described.
const KEEP: Duration = Duration::from_mins(10);
/// How long it is taken for granted that a server is still the one that was asked.
const FRESH: Duration = Duration::from_secs(5);
/// Files that describe one service.
const MAX_FILES: usize = 1_000;
/// Their bytes.
const MAX_BYTES: usize = 32 << 20;

/// The versions, newest first, by their names.
const VERSIONS: [&str; 2] = ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];

/// Services of servers, as the servers describe them. Those who ask for one at the same time wait for one answer.
#[derive(Clone, Debug)]
pub(super) struct Services {
    known: Cache<Key, Arc<Known>>,
    /// A server that was asked so long ago is asked again before it is said that something is not there.
    pub(super) fresh: Duration,
}

/// An endpoint and a service.
type Key = (String, String);

/// A service, as its server described it.
#[derive(Debug)]
pub(super) struct Known {
    service: ServiceDescriptor,
    since: Instant,
}

impl Default for Services {
    fn default() -> Self {
        let known = Cache::builder().max_capacity(MAX_SERVICES).time_to_live(KEEP).build();
        Self { known, fresh: FRESH }
    }
}

impl Services {
    pub(super) async fn get(&self, channel: &Channel, target: Target<'_>) -> Result<Arc<Known>, Checked> {
        let described = async {
            let service = describe(channel, target).await?;
            Ok(Arc::new(Known { service, since: Instant::now() }))
        };
        self.known.try_get_with(key(target), described).await.map_err(|problem: Arc<Checked>| problem.as_ref().clone())
    }

    /// Forgets a description that may not be true any more, and says whether it did; or whether somebody else has.
    pub(super) async fn forget(&self, target: Target<'_>, old: &Arc<Known>) -> bool {
        if old.since.elapsed() <= self.fresh {
            return false;
        }
        let key = key(target);
        if self.known.get(&key).await.is_some_and(|it| Arc::ptr_eq(&it, old)) {
            self.known.invalidate(&key).await;
        }
        true
    }
}

fn key(target: Target<'_>) -> Key {
    (target.endpoint.to_owned(), target.service.to_owned())
}

impl Known {
    /// A unary method.
    pub(super) fn method(&self, target: Target<'_>) -> Result<MethodDescriptor, Checked> {
        let found = self.service.methods().find(|method| method.name() == target.method);
        let found = found.ok_or_else(|| Checked::NoMethod {
            service: target.service.to_owned(),
            method: target.method.to_owned(),
            known: self.service.methods().map(|method| method.name().to_owned()).collect(),
        })?;
        if found.is_client_streaming() || found.is_server_streaming() {
            return Err(Checked::Streaming(format!("{}/{}", target.service, target.method)));
        }
        Ok(found)
    }
}

async fn describe(channel: &Channel, target: Target<'_>) -> Result<ServiceDescriptor, Checked> {
    let unasked = |status: Status| Checked::Unasked {
        endpoint: target.endpoint.to_owned(),
        code: status.code(),
        problem: match status.code() {
            Code::Unimplemented => "it has no server reflection".to_owned(),
            _ => rpc::told(&status),
        },
    };
    let mut last = Status::unimplemented("");
    for version in VERSIONS {
        match files(channel, version, target.service).await {
            Ok(files) => return service(files, target.service).map_err(unasked),
            Err(status) if status.code() == Code::NotFound => {
                // Who is told that something is not there wants to know what is; without that it is true as well.
                let known = services(channel, version).await.unwrap_or_default();
                let (endpoint, service) = (target.endpoint.to_owned(), target.service.to_owned());
                return Err(Checked::NoService { endpoint, service, known });
            }
            Err(status) if status.code() == Code::Unimplemented => last = status,
            Err(status) => return Err(unasked(status)),
        }
    }
    Err(unasked(last))
}

fn service(files: Vec<FileDescriptorProto>, name: &str) -> Result<ServiceDescriptor, Status> {
    let mut pool = DescriptorPool::new();
    pool.add_file_descriptor_protos(files)
        .map_err(|error| Status::internal(format!("it describes `{name}` in a way that is not understood: {error}")))?;
    pool.get_service_by_name(name)
        .ok_or_else(|| Status::internal(format!("it answers for `{name}` with files that do not have it")))
}

/// A conversation with a server's reflection.
struct Conversation {
    questions: mpsc::Sender<ServerReflectionRequest>,
    answers: Streaming<Bytes>,
}

impl Conversation {
    /// Begins with a question: some servers say nothing at all before they have one.
    async fn begin(channel: &Channel, version: &str, first: Question) -> Result<Self, Status> {
        let (questions, asked) = mpsc::channel(1);
        let mut grpc = rpc::ready(channel.clone()).await?;
        let path = rpc::path(version, "ServerReflectionInfo")?;
        Self::ask(&questions, first).await?;
        let asked = ReceiverStream::new(asked).map(|question| Bytes::from(question.encode_to_vec()));
        let answers = grpc.streaming(Request::new(asked), path, rpc::Raw).await?.into_inner();
        Ok(Self { questions, answers })
    }

    async fn ask(questions: &mpsc::Sender<ServerReflectionRequest>, question: Question) -> Result<(), Status> {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
        questions.send(request).await.map_err(|_| Status::unavailable("it hung up in the middle of reflection"))
    }

    async fn answer(&mut self) -> Result<Answer, Status> {
        let bytes = self.answers.message().await?;
        let bytes = bytes.ok_or_else(|| Status::unavailable("it hung up in the middle of reflection"))?;
        let response = ServerReflectionResponse::decode(bytes)
            .map_err(|error| Status::internal(format!("its answer is none of reflection: {error}")))?;
        match response.message_response {
            Some(Answer::ErrorResponse(error)) => Err(Status::new(Code::from(error.error_code), error.error_message)),
            Some(answer) => Ok(answer),
            None => Err(Status::internal("it answered nothing to a question of reflection")),
        }
    }
}

/// The files that describe a service, with everything that they import. Some servers send all at once, others one at a time.
async fn files(channel: &Channel, version: &str, service: &str) -> Result<Vec<FileDescriptorProto>, Status> {
    let mut files = Files::default();
    let question = Question::FileContainingSymbol(service.to_owned());
    let mut conversation = Conversation::begin(channel, version, question).await?;
    loop {
        match conversation.answer().await? {
            Answer::FileDescriptorResponse(found) => files.add(found.file_descriptor_proto)?,
            _ => return Err(Status::internal("it answered another question of reflection")),
        }
        let Some(name) = files.next() else { return Ok(files.found.into_values().collect()) };
        Conversation::ask(&conversation.questions, Question::FileByFilename(name?)).await?;
    }
}

/// The names of all services of a server.
async fn services(channel: &Channel, version: &str) -> Result<Vec<String>, Status> {
    let mut conversation = Conversation::begin(channel, version, Question::ListServices(String::new())).await?;
    match conversation.answer().await? {
        Answer::ListServicesResponse(list) => Ok(list.service.into_iter().map(|service| service.name).collect()),
        _ => Err(Status::internal("it answered another question of reflection")),
    }
}

/// Files, and what they import.
#[derive(Default)]
struct Files {
    found: BTreeMap<String, FileDescriptorProto>,
    asked: BTreeSet<String>,
    bytes: usize,
}

impl Files {
    fn add(&mut self, files: Vec<Vec<u8>>) -> Result<(), Status> {
        for bytes in files {
            self.bytes += bytes.len();
            let file = FileDescriptorProto::decode(bytes.as_slice())
                .map_err(|error| Status::internal(format!("a file of its descriptors cannot be read: {error}")))?;
            self.found.insert(file.name().to_owned(), file);
        }
        if self.found.len() > MAX_FILES || self.bytes > MAX_BYTES {
            let limit = format!("at most {MAX_FILES} files and {} MiB", MAX_BYTES >> 20);
            return Err(Status::resource_exhausted(format!("it describes the service in too many files: {limit}")));
        }
        Ok(())
    }

    /// The next file to be asked for, if one is missing; an error, if it was asked for and did not come.
    fn next(&mut self) -> Option<Result<String, Status>> {
        loop {
            let imports = self.found.values().flat_map(|file| &file.dependency);
            let name = imports.clone().find(|name| !self.found.contains_key(*name))?.clone();
            if let Some(file) = well_known(&name) {
                self.found.insert(name, file);
                continue;
            }
            if !self.asked.insert(name.clone()) {
                return Some(Err(Status::internal(format!("it does not send its file `{name}`"))));
            }
            return Some(Ok(name));
        }
    }
}

/// `google/protobuf/struct.proto` and so on: the same everywhere, and not sent by every server.
fn well_known(name: &str) -> Option<FileDescriptorProto> {
    let pool = prost_types::Any::default().descriptor().parent_pool().clone();
    pool.get_file_by_name(name).map(|file| file.file_descriptor_proto().clone())
}
