//! `EventService`.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use millrace_proto::gateway::v1::{
    Event, PublishRequest, PublishResponse, PublishStreamRequest, SchemaRef, event::Payload as Sent,
    event_service_server::EventService, schema_ref::Ref,
};
use millrace_runtime::Shutdown;
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};

use super::{answer, auth::Caller, stream};
use crate::{
    Error, Incoming, Limits, Payload, Result,
    gateway::{Batch, Gateway, Writer},
    keys::Keys,
    metrics::Protocol,
    routes::SchemaName,
    trace,
};

/// Takes events in.
pub(super) struct Events {
    gateway: Arc<Gateway>,
    keys: Arc<Keys>,
    shutdown: Shutdown,
}

impl Events {
    pub(super) fn new(gateway: Arc<Gateway>, keys: Arc<Keys>, shutdown: Shutdown) -> Self {
        Self { gateway, keys, shutdown }
    }
}

#[tonic::async_trait]
impl EventService for Events {
    async fn publish(
        &self,
        request: Request<PublishRequest>,
    ) -> std::result::Result<Response<PublishResponse>, Status> {
        let begun = Instant::now();
        let metrics = &self.gateway.metrics;
        let _in_flight = metrics.begin(Protocol::Grpc);
        let deadline = self.gateway.deadline(patience(request.metadata()));
        let (result, outcome) = match self.publish_one(request, deadline).await {
            Ok(answers) => {
                let result = answer::single(answers);
                let outcome = if result.is_ok() { "answered" } else { "unknown" };
                (result, outcome)
            }
            Err(error) => (Err(answer::refused(metrics, Protocol::Grpc, &error)), "refused"),
        };
        metrics.took(Protocol::Grpc, outcome, begun.elapsed());
        result.map(Response::new)
    }

    type PublishStreamStream = stream::Answers;

    async fn publish_stream(
        &self,
        request: Request<Streaming<PublishStreamRequest>>,
    ) -> std::result::Result<Response<stream::Answers>, Status> {
        let caller = Caller::of(request.extensions())
            .map_err(|error| answer::refused(&self.gateway.metrics, Protocol::Stream, &error))?;
        let session = stream::Session {
            gateway: Arc::clone(&self.gateway),
            keys: Arc::clone(&self.keys),
            shutdown: self.shutdown.clone(),
            caller,
            traceparent: traceparent(request.metadata()),
        };
        Ok(Response::new(session.answer(request.into_inner())))
    }
}

impl Events {
    async fn publish_one(&self, request: Request<PublishRequest>, deadline: Instant) -> Result<Vec<crate::Answer>> {
        let gateway = &self.gateway;
        let caller = Caller::of(request.extensions())?;
        let traceparent = traceparent(request.metadata());
        let batch = batch(request.into_inner(), traceparent, &gateway.limits)?;
        let _held = gateway.admission.hold(batch.bytes())?;
        gateway.admission.spend(caller.key.id, batch.events.len())?;
        let sealed = tokio::time::timeout_at(deadline, gateway.prepare(&caller.key, batch)).await;
        let sealed = sealed.map_err(|_| Error::Deadline("the deadline passed before anything was published"))??;
        Ok(gateway.publish(sealed, deadline).await)
    }
}

/// A batch as the gateway knows it, unless it has too many events. Their bytes are slices of the message.
pub(super) fn batch(request: PublishRequest, traceparent: Bytes, limits: &Limits) -> Result<Batch> {
    let PublishRequest { pipeline, schema, events } = request;
    limits.check_batch(events.len())?;
    let name = schema_name(schema)?;
    if name == SchemaName::Latest && events.iter().any(|event| matches!(event.payload, Some(Sent::Avro(_)))) {
        return Err(Error::Malformed(
            "Avro values need `schema`: the id, the GUID or the version they were written with".to_owned(),
        ));
    }
    let events = events.into_iter().map(Incoming::from).collect();
    Ok(Batch { pipeline, writer: Writer::Named(name), events, traceparent })
}

impl From<Event> for Incoming {
    fn from(event: Event) -> Self {
        let Event { event_id, correlation_id, payload } = event;
        let payload = match payload {
            Some(Sent::Avro(datum)) => Payload::Avro(datum),
            Some(Sent::Json(text)) => Payload::Json(text),
            None => Payload::Missing,
        };
        Self { event_id, correlation_id, payload }
    }
}

fn schema_name(schema: Option<SchemaRef>) -> Result<SchemaName> {
    Ok(match schema.and_then(|schema| schema.r#ref) {
        None => SchemaName::Latest,
        Some(Ref::Id(id)) => SchemaName::Id(id),
        Some(Ref::Version(version)) => SchemaName::Version(version),
        Some(Ref::Guid(text)) => {
            SchemaName::Guid(text.parse().map_err(|_| Error::Malformed(format!("schema GUID {text:?} is no UUID")))?)
        }
    })
}

pub(super) fn traceparent(metadata: &MetadataMap) -> Bytes {
    trace::traceparent(metadata.get(trace::TRACEPARENT.as_str()).and_then(|value| value.to_str().ok()))
}

/// What the client's `grpc-timeout` allows: digits and a unit, of the specification.
fn patience(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number.saturating_mul(3600)),
        "M" => Duration::from_secs(number.saturating_mul(60)),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_read_from_the_header() {
        let read = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            patience(&metadata)
        };
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("3S"), Some(Duration::from_secs(3)));
        assert_eq!(read("99999999H"), Some(Duration::from_hours(99_999_999)));
        assert_eq!((read("S"), read("3"), read("3x")), (None, None, None));
        assert_eq!(patience(&MetadataMap::new()), None);
    }
}
