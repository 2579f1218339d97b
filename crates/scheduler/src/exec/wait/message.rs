//! Waits for a message of SQS, which then is the task's output.
//!
//! ```text
//! receive --> keep it in the database, for the attempt's token --> delete it from the queue --> succeeded with it
//!    |                             |                                       |
//!  killed here: it is visible    killed here: whoever takes over finds it there, deletes it, and gives the attempt
//!  again, nobody has had it      the same message
//! ```
//!
//! What SQS itself delivers twice may be given to two waits: it delivers at least once.

use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable as _};
use millrace_aws::{Message, Queue};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    PATIENCE,
    object::wrong,
    queues::{Queues, Wrong, give_back},
};
use crate::{
    document::{WaitMessage, place::wrong_queue},
    exec::{Attempt, Begin, End, Ended, MAX_OUTPUT, over},
    store::{Keep, Kept, Store},
};

/// Between two tries while Postgres is away.
const PAUSE: Duration = Duration::from_millis(500);
/// For how long a message is nobody else's while it cannot be kept.
const HELD: Duration = Duration::from_secs(30);

/// Waits for a message. Where another process was to, what it has kept is the message.
pub(super) async fn wait(
    store: &Store,
    queues: &Queues,
    attempt: &Attempt,
    spec: &WaitMessage,
    begin: Begin,
    cancel: &CancellationToken,
) -> Ended {
    if let Some(problem) = wrong_queue(&spec.queue) {
        return Ended::hopeless(format!("wait.message.queue `{}`: {problem}", spec.queue));
    }
    let queue = queues.queue(&spec.queue);
    if begin == Begin::Again
        && let Some(kept) = kept(store, attempt.token).await
    {
        return done(&queue, kept).await;
    }
    loop {
        let received = tokio::select! {
            biased;
            () = cancel.cancelled() => return Ended::new(End::Cancelled),
            received = queues.wait(&spec.queue).message() => received,
        };
        let message = match received {
            Ok(message) => message,
            Err(Wrong { code: "", message }) => return Ended::new(End::Interrupted(message)),
            Err(Wrong { code, message }) => return wrong(code, &message),
        };
        if let Some(ended) = take(store, &queue, attempt, message).await {
            return ended;
        }
    }
}

/// Takes a message for good. None: it was given back, and another is to be waited for.
async fn take(store: &Store, queue: &Queue, attempt: &Attempt, message: Message) -> Option<Ended> {
    let output = output(queue, &message);
    let size = output.to_string().len();
    if size > MAX_OUTPUT {
        give_back(queue, &message).await;
        return Some(Ended::hopeless(format!("message {}, which stays in its queue: {}", message.id, over(size))));
    }
    let kept = Kept { output, receipt: message.receipt.clone() };
    // Tried again with the same message: whether the first try was heard is not known while nobody answers.
    let keep = loop {
        match store.keep(attempt.token, &kept).await {
            Err(error) if error.is_retriable() => {
                tracing::warn!(%error, message = message.id, "cannot keep a message, trying again");
                // Ours for as long as nobody knows whether it is kept.
                if let Err(error) = queue.hide(&message.receipt, HELD).await {
                    tracing::debug!(%error, message = message.id, "message may come to another as well");
                }
                tokio::time::sleep(PAUSE).await;
            }
            keep => break keep,
        }
    };
    match keep {
        Ok(Keep::Kept) => Some(done(queue, kept).await),
        // The same message, received again: the newer receipt is the one that counts.
        Ok(Keep::Other(other)) if other.output["id"] == kept.output["id"] => Some(done(queue, kept).await),
        Ok(Keep::Other(other)) => {
            give_back(queue, &message).await;
            Some(done(queue, other).await)
        }
        Ok(Keep::Gone) => {
            give_back(queue, &message).await;
            Some(Ended::new(End::Interrupted("the attempt was taken over by another scheduler".to_owned())))
        }
        Err(error) => {
            give_back(queue, &message).await;
            Some(Ended::failed(format!("keep message {}: {error}", message.id)))
        }
    }
}

/// What another process has kept for an attempt. It must be known before anything is received.
async fn kept(store: &Store, token: i64) -> Option<Kept> {
    loop {
        match store.kept(token).await {
            Ok(kept) => return kept,
            Err(error) => tracing::warn!(%error, token, "cannot look for a message that was kept, trying again"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Deletes a message that is kept, and is done: told to end or not, nobody else can have it any more.
async fn done(queue: &Queue, kept: Kept) -> Ended {
    let begin = Instant::now();
    let pauses = ExponentialBuilder::new().with_min_delay(PAUSE).with_max_delay(Duration::from_secs(5)).with_jitter();
    let delete = || queue.delete(&kept.receipt);
    let deleted =
        delete.retry(pauses.without_max_times()).when(|error| error.is_retriable() && begin.elapsed() < PATIENCE).await;
    if let Err(error) = deleted {
        // It comes again, and somebody gets it a second time.
        tracing::warn!(%error, "message cannot be deleted from its queue");
    }
    Ended::succeeded(Some(kept.output))
}

/// A message as an output. A body that is JSON is taken as such.
fn output(queue: &Queue, message: &Message) -> Value {
    let Message { id, receipt: _, body, attributes, system } = message;
    let body = serde_json::from_str(body).unwrap_or_else(|_| Value::from(body.as_str()));
    json!({"id": id, "queue": queue.url(), "body": body, "attributes": attributes, "system": system})
}
