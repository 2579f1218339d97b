//! Confluent's REST API: what stock clients need to produce and consume Avro.

mod answer;
mod ask;
mod compatibility;
mod config;
mod schemas;
mod subjects;

use std::time::Instant;

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde_json::json;

use self::answer::{Failure, Json, MEDIA_TYPE};
use crate::{registry::Shared, serve::Options};

/// Media types of requests; none at all is taken as JSON too.
const ACCEPTED: [&str; 4] =
    [MEDIA_TYPE, "application/vnd.schemaregistry+json", "application/json", "application/octet-stream"];

/// What handlers share.
#[derive(Clone)]
struct App {
    registry: Shared,
    options: Options,
}

pub(crate) fn router(registry: Shared, options: Options) -> Router {
    let app = App { registry, options };
    Router::new()
        .route("/", get(async || Json(json!({}))).post(async || Json(json!({}))))
        .route("/subjects", get(subjects::list))
        .route("/subjects/{subject}", post(subjects::look_up).delete(subjects::delete))
        .route("/subjects/{subject}/versions", get(subjects::versions).post(subjects::register))
        .route("/subjects/{subject}/versions/{version}", get(subjects::version).delete(subjects::delete_version))
        .route("/subjects/{subject}/versions/{version}/schema", get(subjects::text))
        .route("/subjects/{subject}/versions/{version}/referencedby", get(subjects::referenced_by))
        .route("/schemas/ids/{id}", get(schemas::by_id))
        .route("/schemas/ids/{id}/schema", get(schemas::text))
        .route("/schemas/ids/{id}/subjects", get(schemas::subjects))
        .route("/schemas/ids/{id}/versions", get(schemas::versions))
        .route("/schemas/guids/{guid}", get(schemas::by_guid))
        .route("/schemas/guids/{guid}/ids", get(schemas::ids))
        .route("/schemas/types", get(async || Json(json!(["AVRO"]))))
        .route("/compatibility/subjects/{subject}/versions", post(compatibility::with_level))
        .route("/compatibility/subjects/{subject}/versions/{version}", post(compatibility::with_version))
        .route("/config", get(config::default).put(config::set_default).delete(config::unset_default))
        .route("/config/{subject}", get(config::of).put(config::set).delete(config::unset))
        .route("/mode", get(config::mode))
        .route("/mode/{subject}", get(config::mode))
        .route("/contexts", get(async || Json(json!(["."]))))
        // The newest serializers ask here before the first record; "nothing" makes them name subjects by topic, as ever.
        .route("/associations/{*what}", get(async || Json(json!([]))))
        .fallback(async || Failure::status(StatusCode::NOT_FOUND))
        .method_not_allowed_fallback(async || Failure::status(StatusCode::METHOD_NOT_ALLOWED))
        .layer(middleware::from_fn_with_state(app.clone(), envelope))
        .with_state(app)
}

/// What is common to all requests: media types, the code of incompatibility, the measure.
async fn envelope(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let plain = wants_plain_json(request.headers());
    let readable = request.method() == Method::GET || is_accepted(request.headers());
    let mut response = if readable {
        next.run(request).await
    } else {
        Failure::status(StatusCode::UNSUPPORTED_MEDIA_TYPE).into_response()
    };
    if let Some(failure) = response.extensions_mut().remove::<Failure>() {
        response = failure.render(app.options.incompatible_code);
    }
    if plain && response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == MEDIA_TYPE) {
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    }
    app.registry.metrics.request(&route, response.status().as_u16(), began.elapsed().as_secs_f64());
    response
}

fn is_accepted(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return true };
    let kind = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    kind.is_empty() || ACCEPTED.iter().any(|accepted| kind.eq_ignore_ascii_case(accepted))
}

/// A client that names JSON and none of the registry's own types gets JSON.
fn wants_plain_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.contains("application/json") && !accept.contains("vnd.schemaregistry")
}
