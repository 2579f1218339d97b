//! What clients get: results as JSON, or why there are none.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Response, StatusCode, header},
};
use millrace_core::Code;
use serde::Serialize;

use crate::{Answer, Error, Outcome, error::RETRY_AFTER};

/// All six are always there.
#[derive(Serialize)]
struct EventResult<'a> {
    status: &'static str,
    event_id: Option<&'a str>,
    correlation_id: &'a str,
    code: Option<&'static str>,
    path: Option<&'a str>,
    message: Option<&'a str>,
}

#[derive(Serialize)]
struct Answered<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'static str>,
    results: Vec<EventResult<'a>>,
}

#[derive(Serialize)]
struct Refused<'a> {
    code: &'static str,
    message: String,
    correlation_id: &'a str,
}

impl<'a> From<&'a Answer> for EventResult<'a> {
    fn from(answer: &'a Answer) -> Self {
        let Answer { event_id, correlation_id, outcome } = answer;
        let (code, path, message) = match outcome {
            Outcome::Accepted => (None, None, None),
            Outcome::Rejected(why) => (Some(why.code), Some(why.path.as_str()), Some(why.message.as_str())),
            Outcome::Unknown(message) => (Some(Code::Unavailable), None, Some(message.as_str())),
        };
        Self {
            status: outcome.status(),
            event_id: some(event_id),
            correlation_id,
            code: code.map(Code::as_str),
            path: path.and_then(some),
            message,
        }
    }
}

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// A result for each event, and the label of the whole for metrics.
pub(super) fn results(answers: &[Answer]) -> (Response<Body>, &'static str) {
    let results = answers.iter().map(EventResult::from).collect();
    if answers.iter().any(|answer| answer.outcome.is_unknown()) {
        let message = "Kafka did not acknowledge all events: send the unknown ones again with the same ids";
        let code = Code::Unavailable;
        let body = Answered { code: Some(code.as_str()), message: Some(message), results };
        return (respond(code.http(), Some(RETRY_AFTER), &body), "unknown");
    }
    let accepted = answers.iter().all(|answer| answer.outcome == Outcome::Accepted);
    let outcome = if accepted { "accepted" } else { "rejected" };
    (respond(200, None, &Answered { code: None, message: None, results }), outcome)
}

/// Why the request as a whole was refused.
pub(super) fn refused(error: &Error, correlation_id: &str) -> Response<Body> {
    let body = Refused { code: error.code().as_str(), message: error.to_string(), correlation_id };
    let mut response = respond(error.code().http(), error.retry_after(), &body);
    if error.code() == Code::Unauthenticated {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
    }
    response
}

fn respond(status: u16, retry_after: Option<Duration>, body: &impl Serialize) -> Response<Body> {
    let body = serde_json::to_vec(body).expect("strings and lists of strings are JSON");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).expect("the table of codes holds HTTP statuses");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    if let Some(wait) = retry_after {
        // Whole seconds, rounded up: a client that comes too early is refused again.
        headers.insert(header::RETRY_AFTER, (wait.as_millis().div_ceil(1000).max(1) as u64).into());
    }
    response
}
