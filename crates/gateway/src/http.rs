//! HTTP: `POST /v1/pipelines/{pipeline}/events`.
//!
//! | header | meaning |
//! |---|---|
//! | `Authorization` | `Bearer mr_...` |
//! | `Content-Type` | `application/json` (an object or an array), `application/x-ndjson`, `application/avro` (a container file) |
//! | `Content-Encoding` | `gzip`, or none |
//! | `Millrace-Schema-Version` | of JSON and NDJSON: a version under the pipeline's subject; else `latest` |
//! | `Event-Id` | the id of the one event of the body |
//! | `Correlation-Id` | of all events of the body, and of the answer |
//! | `traceparent` | W3C trace context |
//!
//! 200 whenever the body can be read, with a result for each event, also if every one is rejected. 503 when the fate of
//! some is unknown: the results are there all the same, and sending the same again with the same ids is safe.

mod answer;
mod body;
mod inflate;
mod parse;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::Response,
    routing::post,
};
use tokio::time::Instant;
use tracing::info;

use self::parse::Format;
use crate::{
    Answer, Error, Result,
    gateway::{Batch, Gateway, Writer},
    keys::Keys,
    metrics::Protocol,
    routes::SchemaName,
    trace,
};

/// Names the version of the schema that a body's events are written in.
pub const SCHEMA_VERSION: HeaderName = HeaderName::from_static("millrace-schema-version");
/// The id of the one event of a body.
pub const EVENT_ID: HeaderName = HeaderName::from_static(millrace_core::header::EVENT_ID);
/// The correlation id of all events of a body.
pub const CORRELATION_ID: HeaderName = HeaderName::from_static(millrace_core::header::CORRELATION_ID);

#[derive(Clone)]
struct Front {
    gateway: Arc<Gateway>,
    keys: Arc<Keys>,
}

/// The routes, for [`millrace_runtime::http::serve`].
pub(crate) fn router(gateway: Arc<Gateway>, keys: Arc<Keys>) -> Router {
    Router::new()
        .route("/v1/pipelines/{pipeline}/events", post(publish))
        .fallback(|| async { answer::refused(&Error::NotFound("no such resource".to_owned()), &mint()) })
        .with_state(Front { gateway, keys })
}

fn mint() -> String {
    millrace_core::id::mint().to_string()
}

/// The outermost layer: whatever happens, there is an answer, a metric and, when it was refused, a line in the log.
async fn publish(State(front): State<Front>, Path(pipeline): Path<String>, request: Request) -> Response {
    let begun = Instant::now();
    let metrics = &front.gateway.metrics;
    let _in_flight = metrics.begin(Protocol::Http);
    let correlation_id = text(request.headers(), &CORRELATION_ID).map_or_else(mint, str::to_owned);
    let (response, outcome) = match front.handle(&pipeline, request).await {
        Ok(answers) => answer::results(&answers),
        Err(error) => {
            let (code, reason) = (error.code(), error.tag());
            info!(pipeline, correlation_id, %code, reason, detail = %error, "request refused");
            metrics.refused(Protocol::Http, &error);
            (answer::refused(&error, &correlation_id), "refused")
        }
    };
    metrics.took(Protocol::Http, outcome, begun.elapsed());
    response
}

impl Front {
    async fn handle(&self, pipeline: &str, request: Request) -> Result<Vec<Answer>> {
        let gateway = &self.gateway;
        let (head, body) = request.into_parts();
        let headers = head.headers;
        let key = self.keys.check_bearer(headers.get(header::AUTHORIZATION)).await?;
        let _pass = gateway.admission.enter(key.id)?;
        gateway.route(&key, pipeline)?; // before the body is read
        let format = Format::of(text(&headers, &header::CONTENT_TYPE))?;
        let schema = schema_version(&headers)?;
        let mut held = gateway.admission.hold(0)?;
        let reading = body::read(body, &headers, gateway, &mut held);
        let timeout = Duration::from(gateway.limits.body_timeout);
        let body = tokio::time::timeout(timeout, reading).await;
        let body = body.map_err(|_| Error::Deadline("the body did not arrive in time"))??;
        let (writer, mut events) = match format {
            Format::Json => (Writer::Named(schema), parse::json(&body, &gateway.limits)?),
            Format::Ndjson => (Writer::Named(schema), parse::ndjson(&body, &gateway.limits)?),
            Format::Avro => {
                let (schema, events) =
                    parse::avro(&body, &gateway.limits, |bytes| gateway.admission.grow(&mut held, bytes))?;
                (Writer::Sent(schema), events)
            }
        };
        gateway.admission.spend(key.id, events.len())?;
        if let Some(id) = checked_text(&headers, &EVENT_ID)? {
            let [event] = &mut events[..] else {
                return Err(Error::Malformed(format!(
                    "Event-Id is for one event, and the body holds {}",
                    events.len()
                )));
            };
            id.clone_into(&mut event.event_id);
        }
        if let Some(id) = checked_text(&headers, &CORRELATION_ID)? {
            for event in &mut events {
                id.clone_into(&mut event.correlation_id);
            }
        }
        let traceparent = trace::traceparent(text(&headers, &trace::TRACEPARENT));
        let batch = Batch { pipeline: pipeline.to_owned(), writer, events, traceparent };
        let sealed = gateway.prepare(&key, batch).await?;
        Ok(gateway.publish(sealed, gateway.deadline(None)).await)
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// As [`text`], for what must not be passed over: an id that we cannot read is not the same as none.
fn checked_text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>> {
    let value = headers.get(name).map(HeaderValue::to_str).transpose();
    value.map_err(|_| Error::Malformed(format!("header {name}: expected visible ASCII")))
}

fn schema_version(headers: &HeaderMap) -> Result<SchemaName> {
    match checked_text(headers, &SCHEMA_VERSION)?.map(str::trim) {
        None | Some("latest") => Ok(SchemaName::Latest),
        Some(text) => match text.parse() {
            Ok(version) if version > 0 => Ok(SchemaName::Version(version)),
            _ => Err(Error::Malformed(format!("Millrace-Schema-Version is a number from 1 or `latest`, not {text:?}"))),
        },
    }
}
