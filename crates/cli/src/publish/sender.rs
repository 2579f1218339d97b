//! Batches over one stream, in order; sent again after a failure, with the same ids, until they are answered.

use std::{collections::VecDeque, time::Duration};

use anyhow::bail;
use millrace_proto::gateway::v1::{
    EventResult, EventStatus, PublishRequest, PublishStreamRequest, SchemaRef, event_service_client::EventServiceClient,
};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{
    input::Batch,
    tally::{Summary, Tally},
};
use crate::connect::{Authorized, explain, is_retriable};

/// The first wait after a failure; doubled each time up to [`MAX_WAIT`].
const MIN_WAIT: Duration = Duration::from_millis(100);
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Sends what an input reads.
pub(super) struct Sender {
    pub channel: Authorized,
    pub pipeline: String,
    pub schema: Option<SchemaRef>,
    pub in_flight: usize,
    pub rate: Option<f64>,
    pub patience: Duration,
}

/// An open stream.
struct Stream {
    requests: mpsc::Sender<PublishStreamRequest>,
    answers: Streaming<millrace_proto::gateway::v1::PublishStreamResponse>,
}

/// Why a stream ended.
enum End {
    /// Everything is answered.
    Done,
    /// Worth another try.
    Broken(Status),
}

impl Sender {
    pub(super) async fn run(
        self,
        mut input: mpsc::Receiver<anyhow::Result<Batch>>,
        mut tally: Tally,
    ) -> anyhow::Result<Summary> {
        let mut pending = VecDeque::new();
        let mut pace = Pace::new(self.rate);
        let mut wait = MIN_WAIT;
        let mut settled = (tally.settled(), Instant::now());
        loop {
            let broken = match self.stream(&mut input, &mut pending, &mut pace, &mut tally).await {
                Ok(End::Done) => return tally.finish(),
                Ok(End::Broken(status)) => status,
                Err(error) => {
                    // What is under way may have been accepted, or not.
                    tally.give_up(pending.iter())?;
                    return Err(error);
                }
            };
            if tally.settled() > settled.0 {
                settled = (tally.settled(), Instant::now());
                wait = MIN_WAIT;
            }
            if !is_retriable(&broken) {
                tally.give_up(pending.iter())?;
                return Err(explain(&broken));
            }
            if settled.1.elapsed() > self.patience {
                tally.give_up(pending.iter())?;
                bail!("{}; gave up after {} s without progress", explain(&broken), self.patience.as_secs());
            }
            tally.remark(&format!("{}; trying again", explain(&broken)));
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(MAX_WAIT);
        }
    }

    async fn open(&self) -> Result<Stream, Status> {
        let (requests, receiver) = mpsc::channel(self.in_flight);
        let mut client = EventServiceClient::new(self.channel.clone()).max_decoding_message_size(64 << 20);
        let answers = client.publish_stream(ReceiverStream::new(receiver)).await?.into_inner();
        Ok(Stream { requests, answers })
    }

    /// Sends until the input ends or the stream breaks; what is not answered stays in `pending`, in order.
    async fn stream(
        &self,
        input: &mut mpsc::Receiver<anyhow::Result<Batch>>,
        pending: &mut VecDeque<Batch>,
        pace: &mut Pace,
        tally: &mut Tally,
    ) -> anyhow::Result<End> {
        let mut stream = match self.open().await {
            Ok(stream) => stream,
            Err(status) => return Ok(End::Broken(status)),
        };
        for batch in pending.iter() {
            if stream.requests.send(self.request(batch)).await.is_err() {
                return Ok(End::Broken(Status::unavailable("the stream was closed")));
            }
        }
        let mut more = true;
        while more || !pending.is_empty() {
            tokio::select! {
                answer = stream.answers.message(), if !pending.is_empty() => match answer {
                    Ok(Some(answer)) => {
                        let Some(batch) = pending.pop_front() else { bail!("the gateway answered more than was asked") };
                        if let Some(again) = settle(batch, answer.results, tally)? {
                            // Unknown outcomes go again with the ids of the answer, after what is under way.
                            let busy = End::Broken(Status::unavailable(again.1));
                            pending.push_back(again.0);
                            return Ok(busy);
                        }
                    }
                    Ok(None) => return Ok(End::Broken(Status::unavailable("the gateway closed the stream"))),
                    Err(status) => return Ok(End::Broken(status)),
                },
                batch = pace.next(input), if more && pending.len() < self.in_flight => match batch {
                    Some(batch) => {
                        let batch = batch?;
                        let request = self.request(&batch);
                        pending.push_back(batch);
                        if stream.requests.send(request).await.is_err() {
                            return Ok(End::Broken(Status::unavailable("the stream was closed")));
                        }
                    }
                    None => more = false,
                },
            }
        }
        Ok(End::Done)
    }

    fn request(&self, batch: &Batch) -> PublishStreamRequest {
        let request = PublishRequest {
            pipeline: self.pipeline.clone(),
            schema: self.schema.clone(),
            events: batch.events.clone(),
        };
        PublishStreamRequest { batch: Some(request) }
    }
}

/// Counts the answered events; those whose outcome is unknown come back, with the ids that the gateway gave them.
fn settle(batch: Batch, results: Vec<EventResult>, tally: &mut Tally) -> anyhow::Result<Option<(Batch, String)>> {
    if results.len() != batch.events.len() {
        bail!("the gateway answered {} results for {} events", results.len(), batch.events.len());
    }
    let mut again = Batch { first: batch.first, position: batch.position, events: Vec::new() };
    let mut reason = String::new();
    for (i, (mut event, result)) in batch.events.into_iter().zip(results).enumerate() {
        if result.status == EventStatus::Unknown as i32 {
            event.event_id = result.event_id;
            event.correlation_id = result.correlation_id;
            again.events.push(event);
            reason = result.message;
        } else {
            tally.settle(batch.first + i as u64, &event, &result)?;
        }
    }
    tally.reached(batch.position);
    Ok((!again.events.is_empty()).then_some((again, reason)))
}

/// Not faster than so many events per second.
struct Pace {
    gap: Option<Duration>,
    next: Instant,
}

impl Pace {
    fn new(rate: Option<f64>) -> Self {
        let gap = rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
        Self { gap, next: Instant::now() }
    }

    /// The next batch when it is its time. Cancelled without losing one: the wait comes before the read.
    async fn next(&mut self, input: &mut mpsc::Receiver<anyhow::Result<Batch>>) -> Option<anyhow::Result<Batch>> {
        if self.gap.is_some() {
            tokio::time::sleep_until(self.next).await;
        }
        let batch = input.recv().await;
        if let (Some(gap), Some(Ok(batch))) = (self.gap, &batch) {
            // A pause is not made up for by a burst.
            self.next = self.next.max(Instant::now() - gap) + gap * batch.events.len() as u32;
        }
        batch
    }
}
