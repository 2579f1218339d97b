//! Answers and errors as gRPC knows them.

use bytes::Bytes;
use millrace_core::Code;
use millrace_proto::gateway::v1::{EventResult, EventStatus, PublishResponse};
use millrace_runtime::grpc;
use prost::Message;
use tonic::Status;
use tonic_types::pb;
use tracing::info;

use crate::{
    Answer, Error, Outcome,
    error::RETRY_AFTER,
    metrics::{Metrics, Protocol},
};

/// Bytes of details that a status may carry. They travel in the trailers, of which stock clients take 8 KiB in all, and
/// grow by a third on the way.
const MAX_DETAILS: usize = 5 * 1024;

impl From<Answer> for EventResult {
    fn from(answer: Answer) -> Self {
        let Answer { event_id, correlation_id, outcome } = answer;
        let (status, code, path, message) = match outcome {
            Outcome::Accepted => (EventStatus::Accepted, "", String::new(), String::new()),
            Outcome::Rejected(why) => (EventStatus::Rejected, why.code.as_str(), why.path, why.message),
            Outcome::Unknown(message) => (EventStatus::Unknown, Code::Unavailable.as_str(), String::new(), message),
        };
        Self { status: status.into(), event_id, correlation_id, code: code.to_owned(), path, message }
    }
}

/// One result for each event.
pub(super) fn results(answers: Vec<Answer>) -> Vec<EventResult> {
    answers.into_iter().map(EventResult::from).collect()
}

/// The answer to a single batch: its results. When the fate of some events is unknown, UNAVAILABLE with the results
/// among the details, so that any client tries again; but with results as any other where they do not fit, for without
/// the ids the client could not send the same again.
pub(super) fn single(answers: Vec<Answer>) -> Result<PublishResponse, Status> {
    let unknown = answers.iter().any(|answer| answer.outcome.is_unknown());
    let response = PublishResponse { results: results(answers) };
    if !unknown {
        return Ok(response);
    }
    let slim = PublishResponse { results: response.results.iter().map(slim).collect() };
    let details = any("millrace.gateway.v1.PublishResponse", &slim);
    if details.value.len() > MAX_DETAILS {
        return Ok(response);
    }
    let message = "Kafka did not acknowledge all events: send the unknown ones again with the same ids";
    Err(with_details(Code::Unavailable, message.to_owned(), vec![retry_info(RETRY_AFTER), details]))
}

/// What a client needs to send it again.
fn slim(result: &EventResult) -> EventResult {
    let EventResult { status, event_id, code, .. } = result;
    EventResult { status: *status, event_id: event_id.clone(), code: code.clone(), ..EventResult::default() }
}

/// Why a whole request was refused; it is logged and counted here.
pub(super) fn refused(metrics: &Metrics, protocol: Protocol, error: &Error) -> Status {
    let correlation_id = millrace_core::id::mint();
    info!(%correlation_id, code = %error.code(), reason = error.tag(), detail = %error, "request refused");
    metrics.refused(protocol, error);
    let mut status = match error.retry_after() {
        Some(wait) => with_details(error.code(), error.to_string(), vec![retry_info(wait)]),
        None => grpc::status(error.code(), error.to_string()),
    };
    if let Ok(id) = correlation_id.to_string().parse() {
        status.metadata_mut().insert(millrace_core::header::CORRELATION_ID, id);
    }
    status
}

fn with_details(code: Code, message: String, details: Vec<prost_types::Any>) -> Status {
    let plain = grpc::status(code, message.clone());
    let details = pb::Status { code: code.grpc(), message: message.clone(), details }.encode_to_vec();
    Status::with_details_and_metadata(plain.code(), message, Bytes::from(details), plain.metadata().clone())
}

fn retry_info(wait: std::time::Duration) -> prost_types::Any {
    let delay = prost_types::Duration { seconds: wait.as_secs() as i64, nanos: wait.subsec_nanos() as i32 };
    any("google.rpc.RetryInfo", &pb::RetryInfo { retry_delay: Some(delay) })
}

fn any(name: &str, message: &impl Message) -> prost_types::Any {
    prost_types::Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(events: usize) -> Vec<Answer> {
        let answer = || Answer {
            event_id: millrace_core::id::mint().to_string(),
            correlation_id: millrace_core::id::mint().to_string(),
            outcome: Outcome::Unknown("Kafka did not acknowledge it in time".to_owned()),
        };
        std::iter::repeat_with(answer).take(events).collect()
    }

    #[test]
    fn a_batch_of_a_hundred_minted_ids_fits_into_the_details() {
        let answers = unknown(90);
        let status = single(answers.clone()).unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unavailable);
        assert!(status.details().len() < 6 * 1024);
        let details = pb::Status::decode(status.details()).unwrap().details;
        assert_eq!(details[0].type_url, "type.googleapis.com/google.rpc.RetryInfo");
        let results = PublishResponse::decode(&details[1].value[..]).unwrap().results;
        assert!(results.iter().map(|result| &result.event_id).eq(answers.iter().map(|answer| &answer.event_id)));
    }

    #[test]
    fn ids_that_do_not_fit_into_the_details_come_as_results() {
        let response = single(unknown(1000)).unwrap();
        assert!(response.results.iter().all(|result| result.status() == EventStatus::Unknown));
        assert!(response.results.iter().all(|result| result.code == "UNAVAILABLE" && result.event_id.len() == 36));
    }
}
