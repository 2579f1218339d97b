use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    Error,
    model::{Content, Version},
};

/// The media type of answers.
pub(super) const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// The result of a handler.
pub(super) type Answer<T = Json> = Result<T, Failure>;

/// A body in the registry's media type.
pub(super) struct Json<T = Value>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))], body).into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(), // our own types serialize
        }
    }
}

/// An answer that will never be another one.
pub(super) struct Immutable<T>(pub(super) T);

impl<T: IntoResponse> IntoResponse for Immutable<T> {
    fn into_response(self) -> Response {
        let mut response = self.0.into_response();
        let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
        response.headers_mut().insert(header::CACHE_CONTROL, forever);
        response
    }
}

/// An error on its way out.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    code: u32,
    message: String,
}

impl Failure {
    /// One without a code of the registry.
    pub(super) fn status(status: StatusCode) -> Self {
        Self { code: status.as_u16().into(), message: format!("HTTP {status}") }
    }

    /// `error_code` and its HTTP status, the code's first three digits.
    pub(super) fn render(&self, incompatible_code: u32) -> Response {
        let code = if self.code == 409 { incompatible_code } else { self.code };
        let status = if code < 1000 { code } else { code / 100 };
        let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
        let body = Json(json!({"error_code": code, "message": self.message}));
        (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body).into_response()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if matches!(error, Error::Store(_)) {
            tracing::warn!(%error, "request failed");
        }
        Self { code: error.rest(), message: error.to_string() }
    }
}

/// Travels as an extension: the envelope renders it, which knows the options.
impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response.extensions_mut().insert(self);
        response
    }
}

/// A content without its place: what an id or a GUID is answered with.
pub(super) fn content(content: &Content) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("guid".to_owned(), json!(content.guid));
    if !content.references.is_empty() {
        map.insert("references".to_owned(), json!(content.references));
    }
    map.insert("schema".to_owned(), json!(content.text));
    map
}

/// A version, whole.
pub(super) fn version(version: &Version) -> Json {
    let mut map = Map::new();
    map.insert("subject".to_owned(), json!(version.subject));
    map.insert("version".to_owned(), json!(version.number));
    map.insert("id".to_owned(), json!(version.content.id));
    map.append(&mut content(&version.content));
    if version.deleted {
        map.insert("deleted".to_owned(), json!(true));
    }
    Json(Value::Object(map))
}
