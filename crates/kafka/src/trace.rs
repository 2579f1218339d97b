//! W3C trace context in record headers (`traceparent`, version 00).
//!
//! The gateway's span is what a record's header names. Later stages work on many records at once: each batch has a span
//! that is linked to theirs, and the header travels on unchanged.

use millrace_core::header;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use uuid::Uuid;

use crate::headers::Headers;

/// Spans that one span is linked to at the most.
const LINKS: usize = 32;

/// A span for the work on records that were read together, by OpenTelemetry's conventions for messaging. It is linked to
/// the spans that the records name (`parents`), the first [`LINKS`] that are sampled; nobody looks at them where no
/// traces are exported.
pub fn process_span<'a>(
    topic: &str,
    group: &str,
    records: usize,
    parents: impl Iterator<Item = Option<&'a str>>,
) -> Span {
    // Without a parent: that of a lane lives as long as the process, and so would its trace.
    let span = tracing::info_span!(
        parent: None,
        "process",
        otel.name = format!("process {topic}"),
        otel.kind = "consumer",
        "messaging.system" = "kafka",
        "messaging.operation.type" = "process",
        "messaging.destination.name" = topic,
        "messaging.consumer.group.name" = group,
        "messaging.batch.message_count" = records,
    );
    if span.context().span().span_context().is_valid() {
        let parents = parents.filter_map(|parent| parse(parent?)).filter(SpanContext::is_sampled);
        parents.take(LINKS).for_each(|parent| span.add_link(parent));
    }
    span
}

/// The span that a record's headers name.
pub fn extract(headers: &Headers) -> Option<SpanContext> {
    headers.text(header::TRACEPARENT).and_then(parse)
}

/// Writes a span into a record's headers. One that is not valid is left out.
pub fn inject(span: &SpanContext, headers: &mut Headers) {
    if span.is_valid() {
        headers.set(header::TRACEPARENT, format(span));
    }
}

/// A new trace for a record that came without one: not sampled, so that only its id travels.
pub fn mint() -> SpanContext {
    let span = Uuid::new_v4().as_u64_pair().0;
    SpanContext::new(
        TraceId::from(Uuid::new_v4().as_u128()),
        SpanId::from(span),
        TraceFlags::default(),
        true,
        TraceState::NONE,
    )
}

/// `00-<trace>-<span>-<flags>`.
pub fn format(span: &SpanContext) -> String {
    format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8())
}

/// Reads a `traceparent`; nothing when it is malformed or names no span.
pub fn parse(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lower_hex = |part: &str, len| part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let well_formed =
        lower_hex(version, 2) && lower_hex(trace, 32) && lower_hex(span, 16) && lower_hex(flags, 2) && version != "ff";
    // A later version may add parts, version 00 has four.
    if !well_formed || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::NONE,
    );
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_injected_is_extracted() {
        let mut headers = Headers::new();
        inject(&parse(EXAMPLE).unwrap(), &mut headers);
        assert_eq!(headers.text("traceparent"), Some(EXAMPLE));
        assert!(extract(&headers).unwrap().is_sampled());
        assert!(mint().is_valid() && !mint().is_sampled());
    }

    #[test]
    fn malformed_contexts_are_none() {
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
        assert!(parse("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x").is_some());
    }
}
