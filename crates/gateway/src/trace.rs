//! Which trace a record belongs to.

use axum::http::HeaderName;
use bytes::Bytes;
use millrace_kafka::trace;
use opentelemetry::trace::TraceContextExt;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The header, on HTTP and gRPC alike.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static(millrace_core::header::TRACEPARENT);

/// The `traceparent` of a request's records: our own span where traces are exported, else the caller's unchanged, else
/// a new trace, so that every record has one.
pub(crate) fn traceparent(sent: Option<&str>) -> Bytes {
    let context = tracing::Span::current().context();
    let ours = context.span().span_context().clone();
    let span = if ours.is_valid() { ours } else { sent.and_then(trace::parse).unwrap_or_else(trace::mint) };
    Bytes::from(trace::format(&span))
}
