//! One message of the queue, from its receipt to its end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use millrace_aws::{Message, Queue};
use millrace_runtime::Shutdown;
use tokio::sync::Semaphore;

use super::{
    import::{Failure, Import, Outcome},
    notice::{Change, Notice},
    route::Routes,
};
use crate::{
    error::{Error, Reject, Result},
    metrics::ObjectMetrics,
    patience::Waiting,
};

/// The longest that a message waits after a failure.
const LONGEST: Duration = Duration::from_mins(15);
/// How long a message waits whose object somebody else is at, or which changes faster than it is read.
const BUSY: Duration = Duration::from_secs(2);
/// For how long; then it is given back, for as long.
const BUSY_FOR: Duration = Duration::from_mins(2);
/// How often a message that is done is tried to be deleted; one that is not comes again and changes nothing.
const DELETES: usize = 3;
/// What a size is counted in, so that it fits a semaphore's number.
pub(crate) const UNIT: u64 = 1 << 10;

/// What all messages share.
pub(crate) struct Desk {
    pub(crate) queue: Queue,
    pub(crate) dead: Option<Queue>,
    pub(crate) routes: Routes,
    /// In the order of the routes.
    pub(crate) imports: Vec<Import>,
    /// Bytes of objects at once, in [`UNIT`]s.
    pub(crate) bytes: Arc<Semaphore>,
    pub(crate) all_bytes: u32,
    pub(crate) settings: Settings,
    pub(crate) waiting: Waiting,
    pub(crate) metrics: ObjectMetrics,
}

/// What a failure means to a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Receives before a message is a dead letter.
    pub(crate) receives: u32,
    /// The pause after the first failure; each is twice the one before it.
    pub(crate) pause: Duration,
    /// The queue's own visibility timeout.
    pub(crate) visibility: Duration,
}

/// What is to be done with a message.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// It is done.
    Delete,
    /// Somebody gets it again after so long.
    Again(Duration),
    /// It cannot be done, for this reason.
    Failed(Reject),
}

impl End {
    /// What two objects of one message come to together: what may go better comes again first.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Again(one), Self::Again(other)) => Self::Again(one.max(other)),
            (again @ Self::Again(_), _) | (_, again @ Self::Again(_)) => again,
            (failed @ Self::Failed(_), _) | (Self::Delete, failed) => failed,
        }
    }
}

impl Desk {
    /// Works on a message, keeps it hidden meanwhile, and ends it. An error is one that ends the process.
    pub(crate) async fn handle(&self, message: Message, shutdown: &Shutdown) -> Result<()> {
        let end = tokio::select! {
            end = self.work(&message, shutdown) => end?,
            never = self.keep_hidden(&message) => match never {},
        };
        self.finish(&message, end).await;
        Ok(())
    }

    async fn work(&self, message: &Message, shutdown: &Shutdown) -> Result<End> {
        let changes = match Notice::parse(&message.body) {
            Ok(Notice::Changes(changes)) => changes,
            Ok(Notice::Test) => {
                tracing::info!("S3's test event received: notifications arrive");
                return Ok(End::Delete);
            }
            Err(reject) => return Ok(End::Failed(reject)),
        };
        // All of them, whatever one of them comes to: what is in stays in.
        let mut end = End::Delete;
        for change in changes {
            end = end.and(self.change(&change, shutdown).await?);
        }
        Ok(end)
    }

    async fn change(&self, change: &Change, shutdown: &Shutdown) -> Result<End> {
        let import = match self.routes.find(&change.bucket, &change.key) {
            Ok(route) => &self.imports[route],
            Err(reject) => return Ok(End::Failed(reject)),
        };
        if !change.written {
            tracing::debug!(key = change.key, "an object was not written but something else: nothing to do");
            return Ok(End::Delete);
        }
        let weight = u32::try_from(change.size / UNIT).unwrap_or(u32::MAX).clamp(1, self.all_bytes);
        let room = tokio::select! {
            room = self.bytes.acquire_many(weight) => room,
            // It has not begun: somebody else may.
            () = shutdown.wait() => return Ok(End::Again(Duration::ZERO)),
        };
        let (mut patience, began) = (self.waiting.patience("import an object"), Instant::now());
        let outcome = loop {
            if shutdown.is_triggered() {
                return Ok(End::Again(Duration::ZERO));
            }
            match import.run(change).await {
                // Here, where it is no receive more: who is at it may have seen what was there before.
                Ok(Outcome::Busy) if began.elapsed() < BUSY_FOR => tokio::select! {
                    () = tokio::time::sleep(BUSY) => {}
                    () = shutdown.wait() => {}
                },
                Ok(outcome) => break outcome,
                Err(Failure::Object(reject)) => return Ok(End::Failed(reject.about(&change.bucket, &change.key))),
                // It changes faster than it is read: who has changed it last will be heard.
                Err(Failure::Changed | Failure::Reshaped) => return Ok(End::Again(BUSY)),
                // It is refused for something else than its records, or its table is none that it could be stored in.
                Err(Failure::Away(error))
                    if error.is_data() || matches!(error, Error::Table { .. } | Error::Aggregate { .. }) =>
                {
                    let reject = Reject::new(error.code(), error.to_string());
                    return Ok(End::Failed(reject.about(&change.bucket, &change.key)));
                }
                Err(Failure::Away(error)) => {
                    if !patience.after(error).await? {
                        return Ok(End::Again(Duration::ZERO));
                    }
                }
            }
        };
        patience.done();
        drop(room);
        self.metrics.object(outcome.as_str());
        Ok(match outcome {
            Outcome::Busy => End::Again(BUSY_FOR),
            Outcome::Gone => {
                tracing::warn!(bucket = change.bucket, key = change.key, "object is not there any more, its rows stay");
                End::Delete
            }
            Outcome::Imported | Outcome::Already => End::Delete,
        })
    }

    /// Hides the message again and again, well before others see it.
    async fn keep_hidden(&self, message: &Message) -> std::convert::Infallible {
        let Settings { visibility, .. } = self.settings;
        loop {
            tokio::time::sleep(visibility / 3).await;
            if let Err(error) = self.queue.hide(&message.receipt, visibility).await {
                // Who gets it meanwhile finds the object's row locked.
                tracing::warn!(id = message.id, %error, "message may be seen by others while it is worked on");
            }
        }
    }

    async fn finish(&self, message: &Message, end: End) {
        match end {
            End::Delete => self.delete(message).await,
            End::Again(pause) => self.give_back(message, pause).await,
            End::Failed(reject) => {
                let receives = receives(message);
                let code = reject.code.as_str();
                if receives < self.settings.receives {
                    let pause = self.settings.after(receives);
                    tracing::warn!(id = message.id, receives, code, %reject, ?pause, "message failed, comes again");
                    self.metrics.failed();
                    return self.give_back(message, pause).await;
                }
                self.bury(message, &reject, receives).await;
            }
        }
    }

    /// To the queue of dead letters, with the reason; without one, later again.
    async fn bury(&self, message: &Message, reject: &Reject, receives: u32) {
        let Some(dead) = &self.dead else {
            tracing::error!(id = message.id, receives, %reject, "message cannot be done and there is no --dead-queue-url: it comes again");
            return self.give_back(message, LONGEST).await;
        };
        let (receives, reason) = (receives.to_string(), storable(&reject.reason));
        let attributes = [
            ("dead-stage", crate::dead::STAGE),
            ("dead-code", reject.code.as_str()),
            ("dead-reason", reason.as_str()),
            ("dead-receives", receives.as_str()),
            ("dead-message", message.id.as_str()),
        ];
        match dead.send_with(&message.body, attributes).await {
            Ok(()) => {
                tracing::error!(id = message.id, code = reject.code.as_str(), %reject, "message dead-lettered");
                self.metrics.buried(reject.code);
                self.delete(message).await;
            }
            Err(error) => {
                tracing::error!(id = message.id, %error, "message cannot be dead-lettered, comes again");
                self.give_back(message, self.settings.pause).await;
            }
        }
    }

    async fn delete(&self, message: &Message) {
        for _ in 0..DELETES {
            match self.queue.delete(&message.receipt).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(id = message.id, %error, "message that is done cannot be deleted"),
            }
        }
    }

    /// Lets somebody have it after so long.
    pub(crate) async fn give_back(&self, message: &Message, pause: Duration) {
        if let Err(error) = self.queue.hide(&message.receipt, pause).await {
            tracing::warn!(id = message.id, %error, "message comes again after its visibility timeout and not before");
        }
    }
}

impl Settings {
    /// How long a message waits that has failed so often.
    fn after(&self, receives: u32) -> Duration {
        self.pause.saturating_mul(1 << receives.saturating_sub(1).min(16)).min(LONGEST)
    }
}

/// How often a message was received.
fn receives(message: &Message) -> u32 {
    message.system.get("ApproximateReceiveCount").and_then(|count| count.parse().ok()).unwrap_or(1)
}

/// What an attribute of SQS may hold: some text, and not too much of it.
fn storable(reason: &str) -> String {
    const MOST: usize = 2_000;
    let kept = reason.chars().filter(|char| !char.is_control() || matches!(char, '\n' | '\t'));
    kept.take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let settings = Settings { receives: 5, pause: Duration::from_secs(30), visibility: Duration::from_secs(30) };
        let seconds: Vec<u64> = [1, 2, 3, 9, 4_000_000_000].map(|n| settings.after(n).as_secs()).to_vec();
        assert_eq!(seconds, [30, 60, 120, 900, 900]);
    }

    #[test]
    fn of_two_objects_the_one_that_may_go_better_decides() {
        let failed = || End::Failed(Reject::corrupt("x"));
        let again = || End::Again(BUSY);
        assert_eq!(End::Delete.and(failed()).and(End::Delete), failed());
        assert_eq!(failed().and(again()).and(End::Delete), again());
        assert_eq!(End::Delete.and(End::Delete), End::Delete);
    }

    #[test]
    fn a_reason_is_fit_for_an_attribute() {
        assert_eq!(storable("a\0b\nc\u{1b}"), "ab\nc");
        assert_eq!(storable(&"ä".repeat(5_000)).chars().count(), 2_000);
    }
}
