//! One attempt: sign, send, and read what the receiver says.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use millrace_runtime::ConfigError;
use reqwest::{Response, header, redirect::Policy};
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook};

use super::{
    guard::Resolver,
    schedule::{Answer, retry_after},
};
use crate::receivers::Receiver;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// What is kept of a refusal's body.
const MOST_BODY: usize = 512;

/// Sends webhooks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Client(reqwest::Client);

/// What came of an attempt.
pub(super) struct Attempt {
    pub(super) answer: Answer,
    /// Why it was not taken.
    pub(super) error: Option<String>,
    pub(super) began: Instant,
    pub(super) took: Duration,
}

impl Client {
    /// `private`: whether addresses that are not of the public Internet may be called.
    pub(crate) fn new(private: bool) -> Result<Self, ConfigError> {
        reqwest::Client::builder()
            .user_agent(concat!("millrace-alerter/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            // What the guard allows is called itself; a proxy would resolve names by its own lights.
            .no_proxy()
            .dns_resolver(Arc::new(Resolver { private }))
            .build()
            .map(Self)
            .map_err(|error| ConfigError::new(format!("make the client for webhooks: {error}")))
    }

    /// Makes one attempt.
    pub(super) async fn post(&self, receiver: &Receiver, id: &str, payload: &str, timeout: Duration) -> Attempt {
        let began = Instant::now();
        let (answer, error) = match self.request(receiver, id, payload) {
            Ok(request) => read(request.timeout(timeout).send().await).await,
            Err(error) => (Answer::Unusable, Some(error)),
        };
        Attempt { answer, error, began, took: began.elapsed() }
    }

    fn request(&self, receiver: &Receiver, id: &str, payload: &str) -> Result<reqwest::RequestBuilder, String> {
        let url = receiver.url()?;
        let now = Timestamp::now().as_second();
        Ok(self
            .0
            .post(url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(HEADER_WEBHOOK_ID, id)
            .header(HEADER_WEBHOOK_TIMESTAMP, now)
            .header(HEADER_WEBHOOK_SIGNATURE, sign(&receiver.keys()?, id, now, payload)?)
            .body(payload.to_owned()))
    }
}

/// A signature by each key, between spaces.
fn sign(keys: &[Vec<u8>], id: &str, now: i64, payload: &str) -> Result<String, String> {
    let signatures = keys.iter().map(|key| {
        Webhook::from_bytes(key.clone())
            .and_then(|webhook| webhook.sign(id, now, payload.as_bytes()))
            .map_err(|error| format!("sign: {error}"))
    });
    Ok(signatures.collect::<Result<Vec<_>, _>>()?.join(" "))
}

async fn read(sent: reqwest::Result<Response>) -> (Answer, Option<String>) {
    let response = match sent {
        Ok(response) => response,
        Err(error) => return (Answer::Nothing, Some(describe(error))),
    };
    let status = response.status();
    let after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = after.and_then(|text| retry_after(text, Timestamp::now()));
    let answer = Answer::Status { status: status.as_u16(), retry_after };
    if status.is_success() {
        return (answer, None);
    }
    (answer, Some(format!("{status}: {}", beginning(response).await)))
}

/// The beginning of a body: what a person reads in the log.
async fn beginning(mut response: Response) -> String {
    let mut body = Vec::new();
    while body.len() < MOST_BODY {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk[..chunk.len().min(MOST_BODY - body.len())]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&body).replace(char::is_control, " ")
}

/// The error and its causes, without the address: it may hold a secret.
fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_specification() {
        // The vector of the reference implementations.
        let key =
            base64::Engine::decode(&base64::engine::general_purpose::STANDARD, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signed = sign(&[key.unwrap()], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn several_keys_give_several_signatures() {
        let signed = sign(&[vec![1; 24], vec![2; 24]], "msg_1", 1, "{}").unwrap();
        assert_eq!(signed.split(' ').filter(|it| it.starts_with("v1,")).count(), 2);
    }
}
