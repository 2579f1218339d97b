//! Messages of queues, each for one of those who wait: one long poll a queue, whoever waits.
//!
//! ```text
//! wait(url) -> Ticket --+
//! wait(url) -> Ticket --+--> line of the queue <-- one task: receive as many as wait, hand each to the first in the line
//!                                                  nobody left: given back, and the task ends
//! ```
//!
//! Messages that nobody here waits for are never asked for. One that was received and could not be handed over is given back
//! at once; one whose process ends is visible again when the queue's visibility timeout has passed.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use millrace_aws::{Client, Kind, Message, Queue};
use tokio::sync::{Semaphore, oneshot, watch};

use super::{PATIENCE, trouble::Trouble};
use crate::document::WaitMessage;

/// How long a poll waits for a message.
const LONG: Duration = Duration::from_secs(20);
/// The same where other queues wait for their turn.
const SHORT: Duration = Duration::from_secs(1);
/// How many polls there are at once.
const AT_ONCE: usize = 256;
/// Between two polls of a queue that fail.
const PAUSE: Duration = Duration::from_secs(2);

/// Lines of all queues. Cheap to clone.
#[derive(Clone)]
pub(super) struct Queues(Arc<Shared>);

struct Shared {
    aws: Client,
    polls: Semaphore,
    /// A queue is here for as long as its task goes on.
    lines: Mutex<HashMap<String, Line>>,
}

struct Line {
    waiting: VecDeque<oneshot::Sender<Message>>,
    wrong: watch::Sender<Option<Wrong>>,
}

/// Why messages of a queue cannot be received, and waiting does not mend it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wrong {
    pub(super) code: &'static str,
    pub(super) message: String,
}

/// A place in the line of a queue. Dropping it leaves the line.
pub(super) struct Ticket {
    message: oneshot::Receiver<Message>,
    wrong: watch::Receiver<Option<Wrong>>,
}

impl Queues {
    pub(super) fn new(aws: &Client) -> Self {
        Self(Arc::new(Shared { aws: aws.clone(), polls: Semaphore::new(AT_ONCE), lines: Mutex::default() }))
    }

    pub(super) fn queue(&self, url: &str) -> Queue {
        self.0.aws.queue(url)
    }

    /// Joins the line of a queue.
    pub(super) fn wait(&self, url: &str) -> Ticket {
        let (hand, message) = oneshot::channel();
        let mut lines = self.0.lines();
        if let Some(line) = lines.get_mut(url) {
            line.waiting.push_back(hand);
            return Ticket { message, wrong: line.wrong.subscribe() };
        }
        let (tell, wrong) = watch::channel(None);
        lines.insert(url.to_owned(), Line { waiting: [hand].into(), wrong: tell });
        tokio::spawn(Arc::clone(&self.0).serve(self.queue(url)));
        Ticket { message, wrong }
    }

    /// What is in the queue, by a look of now.
    pub(super) async fn unmet(&self, spec: &WaitMessage) -> String {
        let url = &spec.queue;
        match self.queue(url).depth().await {
            Ok(depth) => format!(
                "queue {url} has no message for it yet: about {} can be received, {} are with somebody",
                depth.visible, depth.in_flight
            ),
            Err(error) => error.to_string(),
        }
    }
}

impl Shared {
    fn lines(&self) -> std::sync::MutexGuard<'_, HashMap<String, Line>> {
        // A panic elsewhere leaves a line whole: each change of it is one step.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves the line of a queue until it is empty.
    async fn serve(self: Arc<Self>, queue: Queue) {
        while let Some(many) = self.waiting(queue.url()) {
            // Closed never: nobody closes it.
            let Ok(poll) = self.polls.acquire().await else { return };
            let wait = if self.polls.available_permits() == 0 { SHORT } else { LONG };
            let received = queue.receive(many, wait).await;
            drop(poll);
            match received {
                Ok(messages) => {
                    self.tell(queue.url(), None);
                    for message in messages {
                        self.hand(&queue, message).await;
                    }
                }
                Err(error) => {
                    let code = match error.kind() {
                        Kind::Denied => Some("AccessDenied"),
                        Kind::Nowhere | Kind::Missing => Some("NoSuchQueue"),
                        Kind::Credentials => Some("NoCredentials"),
                        Kind::Changed | Kind::Refused => Some("Refused"),
                        Kind::Throttled | Kind::Unavailable => None,
                    };
                    if code.is_none() {
                        tracing::warn!(%error, "cannot receive messages, trying again");
                    }
                    self.tell(queue.url(), code.map(|code| Wrong { code, message: error.to_string() }));
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// How many wait; none where nobody does, and then the line is gone.
    fn waiting(&self, url: &str) -> Option<usize> {
        let mut lines = self.lines();
        let line = lines.get_mut(url)?;
        line.waiting.retain(|hand| !hand.is_closed());
        let many = line.waiting.len();
        if many == 0 {
            lines.remove(url);
            return None;
        }
        Some(many)
    }

    fn tell(&self, url: &str, wrong: Option<Wrong>) {
        if let Some(line) = self.lines().get(url) {
            line.wrong.send_replace(wrong);
        }
    }

    /// Hands a message to the first who still wants one, or gives it back.
    async fn hand(&self, queue: &Queue, mut message: Message) {
        let next = || self.lines().get_mut(queue.url())?.waiting.pop_front();
        while let Some(hand) = next() {
            match hand.send(message) {
                Ok(()) => return,
                Err(back) => message = back,
            }
        }
        give_back(queue, &message).await;
    }
}

/// Lets others have a message. Where that fails it is visible again by itself, later.
pub(super) async fn give_back(queue: &Queue, message: &Message) {
    if let Err(error) = queue.hide(&message.receipt, Duration::ZERO).await {
        tracing::debug!(%error, message = message.id, "message is given back by its visibility timeout only");
    }
}

impl Ticket {
    /// The message, or what has been wrong for too long.
    pub(super) async fn message(mut self) -> Result<Message, Wrong> {
        let mut trouble = Trouble::default();
        loop {
            let wrong = self.wrong.borrow_and_update().clone();
            if let Some(wrong) = wrong.clone().filter(|_| trouble.lasts(true, Instant::now(), PATIENCE)) {
                return Err(wrong);
            }
            if wrong.is_none() {
                trouble = Trouble::default();
            }
            tokio::select! {
                // The line is gone only when nobody waits in it.
                message = &mut self.message => return message.map_err(|_| lost()),
                changed = self.wrong.changed() => if changed.is_err() {
                    return (&mut self.message).await.map_err(|_| lost());
                }
            }
        }
    }
}

fn lost() -> Wrong {
    Wrong { code: "", message: "nobody receives messages of the queue any more".to_owned() }
}
