//! `PublishStream`: batch after batch, one answer per batch, in order.
//!
//! ```text
//! batches --one at a time--> key still valid? rate? prepare --+--> publish, at most `window` at once --in order--> answers
//!                                                             '--> refused: answers to what came before, then the status
//! ```
//!
//! A batch is read only when there is room in the window: HTTP/2 flow control then holds the client back.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use futures::{Stream, StreamExt, future::Either};
use millrace_core::Code;
use millrace_proto::gateway::v1::{PublishStreamRequest, PublishStreamResponse};
use millrace_runtime::{Shutdown, grpc};
use tokio::time::Instant;
use tonic::{Status, Streaming};

use super::{answer, auth::Caller, events};
use crate::{
    Error, Result,
    admission::Held,
    gateway::{Gateway, Sealed},
    keys::Keys,
    metrics::Protocol,
};

/// The answers; dropping them ends the stream, and the batches that are under way go to Kafka all the same.
pub(super) type Answers = Pin<Box<dyn Stream<Item = std::result::Result<PublishStreamResponse, Status>> + Send>>;

/// One stream of one client.
pub(super) struct Session {
    pub(super) gateway: Arc<Gateway>,
    pub(super) keys: Arc<Keys>,
    pub(super) shutdown: Shutdown,
    pub(super) caller: Caller,
    pub(super) traceparent: Bytes,
}

/// A batch on its way to Kafka.
struct Ready {
    sealed: Sealed,
    held: Held,
    begun: Instant,
}

impl Session {
    pub(super) fn answer(self, requests: Streaming<PublishStreamRequest>) -> Answers {
        let gateway = Arc::clone(&self.gateway);
        let window = usize::from(gateway.limits.stream_window);
        let under_way = gateway.metrics.begin(Protocol::Stream);
        let batches = futures::stream::unfold(Some((self, requests)), |state| async {
            let (session, mut requests) = state?;
            match session.next(&mut requests).await {
                Ok(Some(ready)) => Some((Ok(ready), Some((session, requests)))),
                Ok(None) => None,
                Err(status) => Some((Err(status), None)), // the last item: nothing is read after it
            }
        });
        let answers = batches.map(move |batch| match batch {
            Ok(ready) => Either::Left(publish(Arc::clone(&gateway), ready)),
            Err(status) => Either::Right(std::future::ready(Err(status))),
        });
        Box::pin(answers.buffered(window).inspect(move |_| {
            let _ = &under_way; // lives as long as the stream
        }))
    }

    /// The next batch, ready to be published; `None` when the client has no more.
    async fn next(&self, requests: &mut Streaming<PublishStreamRequest>) -> std::result::Result<Option<Ready>, Status> {
        let request = tokio::select! {
            biased;
            () = self.shutdown.wait() => {
                return Err(grpc::status(Code::Unavailable, "the gateway is stopping: go on with a new stream"));
            }
            request = requests.message() => request?,
        };
        let Some(request) = request else { return Ok(None) };
        let ready = self.prepare(request).await;
        ready.map(Some).map_err(|error| answer::refused(&self.gateway.metrics, Protocol::Stream, &error))
    }

    async fn prepare(&self, request: PublishStreamRequest) -> Result<Ready> {
        let begun = Instant::now();
        let key = self.keys.check_again(&self.caller.key).await?;
        let request = request.batch.ok_or_else(|| Error::Malformed("the request holds no batch".to_owned()))?;
        let batch = events::batch(request, self.traceparent.clone(), &self.gateway.limits)?;
        let held = self.gateway.admission.hold(batch.bytes())?;
        self.gateway.admission.spend_slowly(key.id, batch.events.len()).await;
        let sealed = self.gateway.prepare(&key, batch).await?;
        Ok(Ready { sealed, held, begun })
    }
}

async fn publish(gateway: Arc<Gateway>, ready: Ready) -> std::result::Result<PublishStreamResponse, Status> {
    let Ready { sealed, held, begun } = ready;
    let answers = gateway.publish(sealed, gateway.deadline(None)).await;
    drop(held);
    let outcome = if answers.iter().any(|answer| answer.outcome.is_unknown()) { "unknown" } else { "answered" };
    gateway.metrics.took(Protocol::Stream, outcome, begun.elapsed());
    Ok(PublishStreamResponse { results: answer::results(answers) })
}
