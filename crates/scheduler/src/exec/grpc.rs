mod message;
mod reflection;

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use prost::Message as _;
use prost_reflect::MethodDescriptor;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status, metadata::MetadataMap, transport::Channel};

use self::reflection::Services;
use super::{
    Attempt, Begin, Channels, End, Ended, Secrets,
    calls::{self, Said},
    rpc::{self, Lane, Raw},
    values,
};
use crate::document;

/// How long a check may take: somebody waits for it.
const CHECK: Duration = Duration::from_secs(10);

/// Calls unary methods of servers that describe themselves.
///
/// ```text
/// endpoint, service -> server reflection -> descriptors, kept for a while
///                                                |
/// request (JSON) ------------------------------> message -> call, at most once -> message -> output (JSON)
/// ```
///
/// The output is ProtoJSON, but for what expressions over it need: a number of 64 bits is a number, and a field that is zero
/// or empty is there. In the metadata are `millrace-attempt-name`, `-token`, `-dag`, `-run`, `-task`,
/// `-item` and `-attempt`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Grpc {
    channels: Channels,
    services: Services,
    secrets: Secrets,
}

/// Why a call cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Checked {
    /// The endpoint is none.
    #[error("{0}")]
    Endpoint(String),
    /// The method is not written as one.
    #[error("method `{0}`: expected package.Service/Method")]
    Method(String),
    /// Nobody there serves it.
    #[error("{endpoint} has no service `{service}`{}", listed("; it has", known))]
    NoService {
        /// Who was asked.
        endpoint: String,
        /// What for.
        service: String,
        /// The services that are there, where the server says.
        known: Vec<String>,
    },
    /// The service has no such method.
    #[error("service `{service}` has no method `{method}`{}", listed("; it has", known))]
    NoMethod {
        /// The service.
        service: String,
        /// What was looked for.
        method: String,
        /// The methods that there are.
        known: Vec<String>,
    },
    /// The method is not unary.
    #[error("`{0}` streams: only a method with one request and one answer can be a task")]
    Streaming(String),
    /// The request is not the method's.
    #[error("the request is no {message}: {}: {problem}", at(pointer))]
    Request {
        /// The type of the method's requests.
        message: String,
        /// The JSON pointer, from the request.
        pointer: String,
        /// What is wrong there.
        problem: String,
    },
    /// The endpoint could not be asked, so that nothing is known of the call.
    #[error("{endpoint} cannot be asked what it serves: {}: {problem}", rpc::name(*code))]
    Unasked {
        /// Who was asked.
        endpoint: String,
        /// The status of asking.
        code: Code,
        /// What went wrong.
        problem: String,
    },
}

impl Checked {
    /// Whether it is the document that has to change; otherwise the endpoint could not be asked.
    pub fn is_fault(&self) -> bool {
        !matches!(self, Self::Unasked { .. })
    }

    /// Whether a server that has changed since it was asked could be the reason.
    fn may_be_stale(&self) -> bool {
        matches!(self, Self::NoMethod { .. } | Self::Streaming(_) | Self::Request { .. })
    }

    /// As the end of an attempt.
    fn ended(self) -> Ended {
        let code = match &self {
            Self::Unasked { code, .. } => *code,
            Self::NoService { .. } | Self::NoMethod { .. } | Self::Streaming(_) => Code::Unimplemented,
            Self::Endpoint(_) | Self::Method(_) | Self::Request { .. } => Code::InvalidArgument,
        };
        rpc::failure(self.to_string(), code)
    }
}

fn listed(what: &str, names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("{what}: {}", names.join(", ")) }
}

fn at(pointer: &str) -> String {
    if pointer.is_empty() { "as a whole".to_owned() } else { format!("field `{pointer}`") }
}

/// A method of a server.
#[derive(Clone, Copy)]
struct Target<'a> {
    endpoint: &'a str,
    service: &'a str,
    method: &'a str,
}

impl<'a> Target<'a> {
    fn new(endpoint: &'a str, method: &'a str) -> Result<Self, Checked> {
        let (service, method) = method.split_once('/').ok_or_else(|| Checked::Method(method.to_owned()))?;
        Ok(Self { endpoint, service, method })
    }
}

impl Grpc {
    /// With connections that are shared, and the secrets that documents name.
    pub fn new(channels: Channels, secrets: Secrets) -> Self {
        Self { channels, services: Services::default(), secrets }
    }

    /// Makes the call, unless another process was to: what became of that one nobody knows, and the attempt was
    /// interrupted.
    pub async fn run(
        &self,
        attempt: &Attempt,
        spec: &document::Grpc,
        begin: Begin,
        cancel: &CancellationToken,
    ) -> Ended {
        let call = async {
            match begin {
                Begin::Again => calls::forgotten(),
                Begin::New => self.call(attempt, spec).await.unwrap_or_else(|ended| ended),
            }
        };
        tokio::select! {
            biased;
            () = cancel.cancelled() => Ended::new(End::Cancelled),
            ended = call => ended,
        }
    }

    /// Whether a call could be made, by what the endpoint says of itself. Of a request with templates in it, everything but
    /// them is checked.
    pub async fn check(&self, endpoint: &str, method: &str, request: &Value) -> Result<(), Checked> {
        let target = Target::new(endpoint, method)?;
        let channel = self.channels.get(endpoint, Lane::Calls).map_err(Checked::Endpoint)?;
        let look = |method: &MethodDescriptor| message::check(&method.input(), &or_empty(request));
        tokio::time::timeout(CHECK, self.look(&channel, target, look)).await.unwrap_or_else(|_| {
            let problem = format!("no answer within {} s", CHECK.as_secs());
            Err(Checked::Unasked { endpoint: endpoint.to_owned(), code: Code::DeadlineExceeded, problem })
        })
    }

    async fn call(&self, attempt: &Attempt, spec: &document::Grpc) -> Result<Ended, Ended> {
        let document::Grpc { endpoint, method, request, metadata, secrets } = spec;
        let mut headers = calls::headers(attempt, Said { headers: metadata, secrets, store: &self.secrets, reserved })?;
        headers.insert("millrace-attempt-name", calls::value("millrace-attempt-name", &attempt.name)?);

        let target = Target::new(endpoint, method).map_err(Checked::ended)?;
        let channel = self.channels.get(endpoint, Lane::Calls).map_err(|problem| Checked::Endpoint(problem).ended())?;
        let look =
            |method: &MethodDescriptor| Ok((message::read(&method.input(), &or_empty(request))?, method.output()));
        let (message, output) = self.look(&channel, target, look).await.map_err(Checked::ended)?;

        let mut request = Request::new(Bytes::from(message.encode_to_vec()));
        *request.metadata_mut() = MetadataMap::from_headers(headers);
        let answer = invoke(channel, target, request)
            .await
            .map_err(|status| rpc::failed(&format!("`{method}` of {endpoint}"), &status))?;
        let output = message::write(output, answer)
            .map_err(|problem| Ended::hopeless(format!("`{method}` of {endpoint} has answered, but {problem}")))?;
        Ok(Ended::succeeded(Some(output)))
    }

    /// Looks at a method. A server that was asked before may have been replaced: it is asked again before it is said that
    /// something is not there.
    async fn look<T>(
        &self,
        channel: &Channel,
        target: Target<'_>,
        look: impl Fn(&MethodDescriptor) -> Result<T, Checked>,
    ) -> Result<T, Checked> {
        let known = self.services.get(channel, target).await?;
        let looked = known.method(target).and_then(|method| look(&method));
        let stale = looked.as_ref().is_err_and(Checked::may_be_stale);
        if !stale || !self.services.forget(target, &known).await {
            return looked;
        }
        let known = self.services.get(channel, target).await?;
        known.method(target).and_then(|method| look(&method))
    }
}

/// A document that says no request sends an empty message.
fn or_empty(request: &Value) -> Cow<'_, Value> {
    match request {
        Value::Null => Cow::Owned(Value::Object(Map::new())),
        request => Cow::Borrowed(request),
    }
}

/// What gRPC itself says, and binary metadata, which no text is.
fn reserved(name: &str) -> bool {
    name.starts_with("grpc-") || name.ends_with("-bin") || matches!(name, "te" | "content-type" | "connection")
}

async fn invoke(channel: Channel, target: Target<'_>, request: Request<Bytes>) -> Result<Bytes, Status> {
    let path = rpc::path(target.service, target.method)?;
    Ok(rpc::ready(channel).await?.unary(request, path, Raw).await?.into_inner())
}

#[cfg(test)]
mod tests;
