use millrace_runtime::ConfigError;
use reqwest::{
    Method, Request, Response, StatusCode, Url,
    header::{self, HeaderValue},
    redirect::Policy,
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    Attempt, Begin, End, Ended, Failure, MAX_OUTPUT, Secrets,
    calls::{self, CONNECT, Said},
    over,
};
use crate::document;

/// How much of the body of a refusal is told: 1 KiB.
const MAX_REFUSAL: usize = 1 << 10;
/// Connections to one host that are kept though nobody uses them.
const IDLE: usize = 32;

/// Sends requests.
///
/// ```text
/// document, attempt -> request, at most once --> 2xx: the body is the output
///                                            --> 408, 429, 5xx, no answer: may be tried again
///                                            --> 3xx, any other 4xx: may not
/// ```
///
/// `Idempotency-Key` is the attempt's name, unless the document says another; `Millrace-Token`, `-Dag`, `-Run`, `-Task`,
/// `-Item` and `-Attempt` say the rest. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
    secrets: Secrets,
}

impl Http {
    /// With the secrets that documents name.
    pub fn new(secrets: Secrets) -> Result<Self, ConfigError> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("millrace-scheduler/", env!("CARGO_PKG_VERSION")))
            // A redirect leads a body and its secrets to where no document sends them.
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .pool_max_idle_per_host(IDLE)
            .build()
            .map_err(|error| ConfigError::new(format!("make the client for HTTP tasks: {}", calls::causes(&error))))?;
        Ok(Self { client, secrets })
    }

    /// Sends the request, unless another process was to: what became of that one nobody knows, and the attempt was
    /// interrupted.
    pub async fn run(
        &self,
        attempt: &Attempt,
        spec: &document::Http,
        begin: Begin,
        cancel: &CancellationToken,
    ) -> Ended {
        let call = async {
            match begin {
                Begin::Again => calls::forgotten(),
                Begin::New => match self.request(attempt, spec) {
                    Ok(request) => self.send(request).await,
                    Err(ended) => ended,
                },
            }
        };
        tokio::select! {
            biased;
            () = cancel.cancelled() => Ended::new(End::Cancelled),
            ended = call => ended,
        }
    }

    fn request(&self, attempt: &Attempt, spec: &document::Http) -> Result<Request, Ended> {
        let document::Http { method, url, headers, secrets, body } = spec;
        let url = calls::address(url).map_err(Ended::hopeless)?;
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| Ended::hopeless(format!("method `{method}`: that is none of HTTP")))?;
        let mut headers = calls::headers(attempt, Said { headers, secrets, store: &self.secrets, reserved })?;
        let key = "idempotency-key";
        if !headers.contains_key(key) {
            headers.insert(key, calls::value(key, &attempt.name)?);
        }
        if body.is_some() && !headers.contains_key(header::CONTENT_TYPE) {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let mut request = self.client.request(method, url).headers(headers);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        request.build().map_err(|error| Ended::hopeless(format!("make the request: {}", told(error))))
    }

    async fn send(&self, request: Request) -> Ended {
        let what = format!("{} {}", request.method(), calls::shown(request.url()));
        let url = request.url().clone();
        match self.client.execute(request).await {
            Ok(response) if response.status().is_success() => success(&what, response).await,
            Ok(response) => refusal(&what, &url, response).await,
            Err(error) => unanswered(&what, error),
        }
    }
}

/// What the client itself says of a connection and of a body.
fn reserved(name: &str) -> bool {
    matches!(name, "connection" | "content-length" | "transfer-encoding" | "upgrade")
}

async fn success(what: &str, mut response: Response) -> Ended {
    let status = response.status();
    let body = match whole(&mut response).await {
        Ok(body) => body,
        Err(Unread::TooLarge(size)) => return Ended::hopeless(format!("{what} answered {status}: {}", over(size))),
        Err(Unread::Broken(error)) => return unanswered(&format!("{what} answered {status} and broke off"), error),
    };
    if body.is_empty() || !is_json(&response) {
        return Ended::succeeded(Some(json!({"status": status.as_u16(), "body": String::from_utf8_lossy(&body)})));
    }
    match serde_json::from_slice(&body) {
        Ok(output) => Ended::succeeded(Some(output)),
        Err(error) => Ended::failed(format!("{what} answered {status} with what it calls JSON and is none: {error}")),
    }
}

/// `application/json`, or anything that says `+json`.
fn is_json(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind.ends_with("+json")
}

/// Why a body was not read.
enum Unread {
    /// It has this many bytes.
    TooLarge(String),
    Broken(reqwest::Error),
}

/// A body of at most [`MAX_OUTPUT`]; of a longer one no more is read than shows that.
async fn whole(response: &mut Response) -> Result<Vec<u8>, Unread> {
    if let Some(size) = response.content_length().filter(|size| *size > MAX_OUTPUT as u64) {
        return Err(Unread::TooLarge(size.to_string()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Unread::Broken)? {
        if body.len() + chunk.len() > MAX_OUTPUT {
            return Err(Unread::TooLarge(format!("more than {MAX_OUTPUT}")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

async fn refusal(what: &str, url: &Url, mut response: Response) -> Ended {
    let status = response.status();
    let mut message = format!("{what} answered {status}");
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    if let Some(location) = location.filter(|_| status.is_redirection()) {
        let location = url.join(location).map_or_else(|_| "nowhere".to_owned(), |url| calls::shown(&url));
        message.push_str(&format!(", which leads to {location}: redirects are not followed, say where it is"));
    }
    let said = beginning(&mut response).await;
    if !said.is_empty() {
        message.push_str(": ");
        message.push_str(&said);
    }
    let again =
        status.is_server_error() || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status);
    let code = status.as_str().to_owned();
    Ended::new(End::Failed(Failure { message, code, exit_code: None, permanent: !again }))
}

/// The beginning of a body, for a person.
async fn beginning(response: &mut Response) -> String {
    let mut body = Vec::new();
    while body.len() < MAX_REFUSAL {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk[..chunk.len().min(MAX_REFUSAL - body.len())]),
            // What there is of it is enough.
            Ok(None) | Err(_) => break,
        }
    }
    String::from_utf8_lossy(&body).replace(char::is_control, " ").trim().to_owned()
}

/// Nobody has answered, or not to the end: whether the request was received is not known.
fn unanswered(what: &str, error: reqwest::Error) -> Ended {
    let message = format!("{what}: {}", told(error));
    Ended::new(End::Failed(Failure { message, code: "UNAVAILABLE".to_owned(), exit_code: None, permanent: false }))
}

/// The error and its causes, without the address: it may hold a secret.
fn told(error: reqwest::Error) -> String {
    calls::causes(&error.without_url())
}

#[cfg(test)]
mod tests;
