//! Waits for something to be there. They begin nothing, so that another process just goes on waiting; only a message is
//! taken, and that is kept before it is (see `message`).
//!
//! | what | how it is looked for |
//! |---|---|
//! | an object | `HEAD`, or a listing; together with all who wait for the same |
//! | a message | one long poll for all who wait for messages of the queue; each message is one wait's |
//! | a topic | where the moment is in each partition; together with all who wait for the same |
//! | a run | in the database |
//!
//! What waiting does not mend (no access, no bucket) is waited out for [`PATIENCE`]: rights and buckets are made by others
//! at the same time. What may pass by itself (throttling, nobody answers) is waited for until the task's timeout.

mod looks;
mod message;
mod object;
mod queues;
mod run;
mod topic;
mod trouble;

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

pub use self::topic::NO_KAFKA;
use self::{object::Objects, queues::Queues, run::Runs, topic::Topics};
use super::{Attempt, Begin, End, Ended};
use crate::{
    document::{Wait, WaitMessage, WaitObject, WaitRun, WaitTopic},
    store::Store,
};

/// How long something may be wrong that waiting does not mend.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one keeps what only another replica can look at.
const AWAY: Duration = Duration::from_secs(10);

/// What is waited for.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "as the fields of a wait")]
pub enum Want {
    Object(WaitObject),
    Message(WaitMessage),
    Topic(WaitTopic),
    Run(WaitRun),
}

impl Want {
    /// The one thing that a document says.
    pub fn of(wait: Wait) -> Option<Self> {
        let Wait { object, message, topic, run } = wait;
        let object = object.map(Self::Object);
        object.or(message.map(Self::Message)).or(topic.map(Self::Topic)).or(run.map(Self::Run))
    }
}

/// Everything that can be waited for. Cheap to clone.
#[derive(Clone)]
pub(super) struct Waits {
    store: Store,
    runs: Runs,
    objects: Objects,
    queues: Queues,
    topics: Option<Topics>,
}

impl Waits {
    /// For runs, and for what AWS has. For topics there is nothing yet.
    pub(super) fn new(store: Store, aws: &millrace_aws::Client) -> Self {
        let runs = Runs::new(store.clone());
        Self { store, runs, objects: Objects::new(aws), queues: Queues::new(aws), topics: None }
    }

    /// For what that client reaches.
    pub(super) fn with_aws(self, aws: &millrace_aws::Client) -> Self {
        Self { objects: Objects::new(aws), queues: Queues::new(aws), ..self }
    }

    /// With topics.
    pub(super) fn with_kafka(self, admin: millrace_kafka::Admin) -> Self {
        Self { topics: Some(Topics::new(admin)), ..self }
    }

    /// Waits. `logical_at` is the moment that the attempt's run is about.
    pub(super) async fn run(
        &self,
        attempt: &Attempt,
        want: &Want,
        logical_at: Option<Timestamp>,
        begin: Begin,
        cancel: &CancellationToken,
    ) -> Ended {
        let waited = async {
            match want {
                Want::Object(spec) => self.objects.wait(spec).await,
                Want::Topic(spec) => {
                    if let Some(topics) = &self.topics {
                        topics.wait(spec).await
                    } else {
                        // Another replica may have it: this one was not to claim it.
                        sleep(AWAY).await;
                        Ended::new(End::Interrupted(NO_KAFKA.to_owned()))
                    }
                }
                Want::Run(spec) => self.runs.wait(spec, logical_at).await,
                // It has to end in order: see there.
                Want::Message(_) => std::future::pending().await,
            }
        };
        match want {
            Want::Message(spec) => message::wait(&self.store, &self.queues, attempt, spec, begin, cancel).await,
            Want::Object(_) | Want::Topic(_) | Want::Run(_) => tokio::select! {
                ended = waited => ended,
                () = cancel.cancelled() => Ended::new(End::Cancelled),
            },
        }
    }

    /// What is not there yet, by a look of now.
    pub(super) async fn unmet(&self, want: &Want, logical_at: Option<Timestamp>) -> String {
        match want {
            Want::Object(spec) => self.objects.unmet(spec).await,
            Want::Message(spec) => self.queues.unmet(spec).await,
            Want::Topic(spec) => match &self.topics {
                Some(topics) => topics.unmet(spec).await,
                None => NO_KAFKA.to_owned(),
            },
            Want::Run(spec) => run::unmet(&self.store, spec, logical_at).await,
        }
    }
}
