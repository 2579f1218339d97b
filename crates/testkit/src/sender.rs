//! A client that keeps every answer.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Context;
use millrace_proto::gateway::v1::{
    Event, EventResult, EventStatus, PublishRequest, SchemaRef, event::Payload,
    event_service_client::EventServiceClient, schema_ref::Ref,
};
use tonic::{Code, Request, metadata::AsciiMetadataValue, transport::Channel};

use crate::World;

/// How long events may be without an answer for good, whatever was ended meanwhile: Kafka's half minute away, and what
/// its start takes on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_mins(5);

/// What became of the events that were sent, by id.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Every id that was sent.
    pub sent: BTreeSet<String>,
    /// Accepted at least once.
    pub accepted: BTreeSet<String>,
    /// Rejected: must not be anywhere.
    pub rejected: BTreeSet<String>,
}

/// Sends batches over gRPC; tries again, with the same ids, until each has an answer for good.
#[derive(Clone)]
pub struct Sender {
    client: EventServiceClient<Channel>,
    authorization: AsciiMetadataValue,
    /// The schema of the events, by version of the pipeline's subject.
    version: u32,
}

impl Sender {
    /// A client of the world's gateway with its key, that sends Avro of that version of the subject.
    pub fn new(world: &World, version: u32) -> anyhow::Result<Self> {
        let address = world.env("MILLRACE_GATEWAY_GRPC");
        let url = if address.contains("://") { address } else { format!("http://{address}") };
        let channel = Channel::from_shared(url)?.connect_timeout(Duration::from_secs(2)).connect_lazy();
        let authorization = format!("Bearer {}", world.env("MILLRACE_API_KEY")).parse()?;
        Ok(Self { client: EventServiceClient::new(channel), authorization, version })
    }

    /// Sends one batch of (id, Avro datum) until every event is accepted or rejected, for [`PATIENCE`] at most.
    pub async fn send(&mut self, batch: Vec<(String, Vec<u8>)>, outcome: &mut Outcome) -> anyhow::Result<()> {
        outcome.sent.extend(batch.iter().map(|(id, _)| id.clone()));
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut left = batch;
        let mut last = String::from("none");
        while !left.is_empty() {
            anyhow::ensure!(
                tokio::time::Instant::now() < deadline,
                "{} events were not accepted in {PATIENCE:?}; the last answer: {last}",
                left.len()
            );
            match self.publish(&left).await {
                Ok(results) => {
                    let unknown = results.iter().find(|result| result.status() == EventStatus::Unknown);
                    last = unknown.map_or_else(String::new, |result| result.message.clone());
                    left = settle(left, &results, outcome);
                }
                Err(status) if is_retriable(status.code()) => last = status.to_string(),
                Err(status) => return Err(status).context("publish"),
            }
            if !left.is_empty() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        Ok(())
    }

    async fn publish(&mut self, batch: &[(String, Vec<u8>)]) -> Result<Vec<EventResult>, tonic::Status> {
        let event = |(id, datum): &(String, Vec<u8>)| Event {
            event_id: id.clone(),
            correlation_id: String::new(),
            payload: Some(Payload::Avro(datum.clone().into())),
        };
        let request = PublishRequest {
            pipeline: millrace_demo::NAME.to_owned(),
            schema: Some(SchemaRef { r#ref: Some(Ref::Version(self.version)) }),
            events: batch.iter().map(event).collect(),
        };
        let mut request = Request::new(request);
        request.metadata_mut().insert("authorization", self.authorization.clone());
        request.set_timeout(Duration::from_secs(30));
        Ok(self.client.publish(request).await?.into_inner().results)
    }
}

/// Keeps what is decided and returns what is not.
fn settle(batch: Vec<(String, Vec<u8>)>, results: &[EventResult], outcome: &mut Outcome) -> Vec<(String, Vec<u8>)> {
    let mut left = Vec::new();
    for (event, result) in batch.into_iter().zip(results) {
        match result.status() {
            EventStatus::Accepted => {
                outcome.accepted.insert(event.0);
            }
            EventStatus::Rejected => {
                outcome.rejected.insert(event.0);
            }
            _ => left.push(event),
        }
    }
    left
}

/// A broken connection tells nothing about what was sent over it.
fn is_retriable(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::Unknown
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Internal
    )
}
