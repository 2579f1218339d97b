//! A span per request, inside the caller's trace when it sent one.

use axum::http::HeaderMap;
use opentelemetry::{
    propagation::{Extractor, TextMapPropagator as _},
    trace::TraceContextExt as _,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}

/// Puts a span into the trace that `traceparent` names.
fn continue_trace(span: &Span, headers: &HeaderMap) {
    if !headers.contains_key("traceparent") {
        return;
    }
    let context = TraceContextPropagator::new().extract(&Headers(headers));
    if context.span().span_context().is_valid() {
        let _ = span.set_parent(context); // fails only when no traces are recorded
    }
}

/// For gRPC: the path is `/package.Service/Method`.
pub(crate) fn grpc(request: &axum::http::Request<()>) -> Span {
    let method = request.uri().path().trim_start_matches('/');
    let span =
        tracing::info_span!("grpc", otel.name = method, otel.kind = "server", rpc.system = "grpc", rpc.method = method);
    continue_trace(&span, request.headers());
    span
}

/// For HTTP.
pub(crate) fn http<B>(request: &axum::http::Request<B>) -> Span {
    let (method, path) = (request.method().as_str(), request.uri().path());
    let span = tracing::info_span!(
        "http",
        otel.name = method,
        otel.kind = "server",
        http.request.method = method,
        url.path = path
    );
    continue_trace(&span, request.headers());
    span
}
