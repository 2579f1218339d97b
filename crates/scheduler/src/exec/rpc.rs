//! gRPC, as the executors use it: connections, messages as they are on the wire, and what a status means.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use bytes::{Buf as _, BufMut as _, Bytes};
use moka::sync::Cache;
use tonic::{
    Code, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    transport::{Channel, ClientTlsConfig, Endpoint},
};

use super::{
    End, Ended, Failure, MAX_OUTPUT,
    calls::{self, CONNECT},
};

/// Connections that are kept.
const MAX_CHANNELS: u64 = 1024;
/// How long a connection is kept that nobody asks for.
const IDLE: Duration = Duration::from_mins(10);
/// How often a connection with calls on it is asked whether it is alive. Servers in Go and C++ end connections that ask more
/// often than every five minutes, unless they are set up otherwise.
const KEEPALIVE: Duration = Duration::from_secs(310);
/// How often the kernel asks; nobody minds.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);
/// How long an answer to that may take.
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(20);
/// Connections to one endpoint for streams that go on as long as a task does.
const WATCHES: u64 = 8;

/// The largest answer, on the wire. What is at most [`MAX_OUTPUT`] as JSON is at most this: `0,` may be a double.
pub(super) const MAX_ANSWER: usize = 8 * MAX_OUTPUT;

/// Connections to gRPC endpoints, shared by all calls; made when they are first used, and kept. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Channels(Cache<(String, Lane), Channel>);

/// Which of the connections to an endpoint. A server allows so many streams on each: those that go on for hours must not
/// keep the call from getting through that is to end one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    Calls,
    Watch(u64),
}

impl Lane {
    /// For the stream of an attempt.
    pub(super) fn watch(name: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        Self::Watch(hasher.finish() % WATCHES)
    }
}

impl Default for Channels {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(MAX_CHANNELS).time_to_idle(IDLE).build())
    }
}

impl Channels {
    /// None so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// The connection to an endpoint, which may have to be made; or what is wrong with the endpoint.
    pub(super) fn get(&self, endpoint: &str, lane: Lane) -> Result<Channel, String> {
        let made = self.0.try_get_with((endpoint.to_owned(), lane), || make(endpoint));
        made.map_err(|problem| problem.as_ref().clone())
    }
}

fn make(endpoint: &str) -> Result<Channel, String> {
    let url = calls::address(endpoint)?;
    let shown = calls::shown(&url);
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!(
            "address `{shown}`: a user or a password is no part of it; there are secrets for metadata"
        ));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(format!("address `{shown}`: expected a host and a port, and nothing after them"));
    }
    let problem = |error: tonic::transport::Error| format!("address `{shown}`: {}", calls::causes(&error));
    let mut endpoint = Endpoint::from_shared(url.to_string())
        .map_err(problem)?
        .connect_timeout(CONNECT)
        .tcp_keepalive(Some(TCP_KEEPALIVE))
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_ANSWER);
    if url.scheme() == "https" {
        let tls = ClientTlsConfig::new().with_native_roots().timeout(CONNECT);
        endpoint = endpoint.tls_config(tls).map_err(problem)?;
    }
    Ok(endpoint.connect_lazy())
}

/// A client on a connection.
pub(super) async fn ready(channel: Channel) -> Result<Grpc<Channel>, Status> {
    let mut grpc = Grpc::new(channel).max_decoding_message_size(MAX_ANSWER);
    grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
    Ok(grpc)
}

/// `package.Service/Method`, where it is called.
pub(super) fn path(service: &str, method: &str) -> Result<PathAndQuery, Status> {
    PathAndQuery::try_from(format!("/{service}/{method}"))
        .map_err(|_| Status::invalid_argument(format!("`{service}/{method}` is no method")))
}

/// Messages as they are on the wire. What is wrong with an answer is so told apart from what goes wrong with the call: the
/// one stays as it is, the other may be better next time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// What a failed call means to the attempt that made it.
pub(super) fn failed(what: &str, status: &Status) -> Ended {
    failure(format!("{what}: {}: {}", name(status.code()), told(status)), status.code())
}

/// A failure with a code.
pub(super) fn failure(message: String, code: Code) -> Ended {
    let (permanent, code) = (is_permanent(code), name(code).to_owned());
    Ended::new(End::Failed(Failure { message, code, exit_code: None, permanent }))
}

/// What a status says, with what it comes from; without the layer that has only this to say.
pub(super) fn told(status: &Status) -> String {
    calls::short(calls::causes(&Bare(status)).replace("transport error: ", ""))
}

/// A status without the wrappings of its `Display`.
#[derive(Debug)]
struct Bare<'a>(&'a Status);

impl std::fmt::Display for Bare<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.message())
    }
}

impl std::error::Error for Bare<'_> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(self.0)
    }
}

/// Whether the same call would end in the same way. <https://grpc.io/docs/guides/status-codes/> has what each code is for.
pub(super) fn is_permanent(code: Code) -> bool {
    match code {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => true,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => false,
    }
}

/// A code by the name that its specification gives it.
pub(super) fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
