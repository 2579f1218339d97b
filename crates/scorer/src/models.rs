//! The model that a pipeline's lanes score with, and how another one takes its place.
//!
//! ```text
//! folder:    DIR/<model>/ --looked at--> open -----------------------+
//! registry:  WatchAssignment --> Follower --> Cache --pull, open ----+--> Model (one per pipeline) --> its lanes,
//!                                   ^  refused: the old one stays, a signal                        between two batches
//!                                   +---------------- questions of lanes that got partitions ------+
//! ```
//!
//! Whoever scores has a whole bundle: one is opened, tried and only then put in the place of another, by one pointer. The
//! revision of its promotion goes with it and only grows.

pub(crate) mod args;
mod cache;
mod decide;
mod folder;
pub(crate) mod follow;
mod listen;
mod open;
mod pull;
pub(crate) mod signals;

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use millrace_runtime::Shutdown;
use millrace_schema::{Guid, Schema};
use millrace_scoring::Bundle;
use tokio::sync::Notify;

pub(crate) use self::open::{forbidden_fields, load};

/// Schemas of events that another bundle is tried on: those that came last.
const WRITERS: usize = 64;
/// How often a thread that waits looks whether it is to end.
const LOOK: Duration = Duration::from_millis(200);

/// A bundle in use, and by which promotion.
#[derive(Clone, Debug)]
pub struct InUse {
    /// The bundle.
    pub bundle: Arc<Bundle>,
    /// The pipeline's revision in the registry, from 1; 0 where the bundle came from a folder.
    pub revision: u64,
}

/// A pipeline's model, shared by the lanes that score with it.
#[derive(Debug)]
pub struct Model {
    state: Mutex<State>,
    changed: Condvar,
    questions: Notify,
    /// Somebody can say what is the champion now.
    is_followed: bool,
}

#[derive(Debug, Default)]
struct State {
    /// None before anything was promoted.
    in_use: Option<InUse>,
    asked: u64,
    answered: u64,
    /// Schemas of the events that are scored.
    writers: Vec<(Guid, Schema)>,
}

/// A question for the champion of now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Question(u64);

impl Model {
    /// A bundle that nobody promotes: from a folder, or in memory already.
    pub fn fixed(bundle: Arc<Bundle>) -> Self {
        Self::new(Some(InUse { bundle, revision: 0 }), false)
    }

    /// One that is to come from the registry.
    pub(crate) fn followed() -> Self {
        Self::new(None, true)
    }

    fn new(in_use: Option<InUse>, is_followed: bool) -> Self {
        let state = Mutex::new(State { in_use, ..State::default() });
        Self { state, changed: Condvar::new(), questions: Notify::new(), is_followed }
    }

    /// What is in use, if anything is.
    pub fn current(&self) -> Option<InUse> {
        self.state().in_use.clone()
    }

    /// Waits on the caller's thread until there is a model; false where the shutdown comes first.
    pub(crate) fn wait(&self, shutdown: &Shutdown) -> bool {
        let mut state = self.state();
        while state.in_use.is_none() && !shutdown.is_triggered() {
            state = self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.in_use.is_some()
    }

    /// Puts a bundle in the place of the one in use. An older revision than that is none of a champion any more.
    pub(crate) fn replace(&self, next: InUse) {
        let mut state = self.state();
        if state.in_use.as_ref().is_none_or(|old| old.revision <= next.revision) {
            state.in_use = Some(next);
            self.changed.notify_all();
        }
    }

    /// Events of that schema are scored.
    pub(crate) fn reads(&self, guid: Guid, schema: &Schema) {
        let mut state = self.state();
        state.writers.retain(|(known, _)| *known != guid);
        if state.writers.len() == WRITERS {
            state.writers.remove(0);
        }
        state.writers.push((guid, schema.clone()));
    }

    /// The schemas of the events that are scored.
    pub(crate) fn writers(&self) -> Vec<(Guid, Schema)> {
        self.state().writers.clone()
    }

    /// Asks who is the champion now.
    pub(crate) fn ask(&self) -> Question {
        let mut state = self.state();
        if self.is_followed {
            state.asked += 1;
            self.questions.notify_one();
        }
        Question(state.asked)
    }

    /// Whether the champion of then is in use, or was refused, or could not be learned.
    pub(crate) fn has_answered(&self, question: Question) -> bool {
        self.state().answered >= question.0
    }

    /// Waits on the caller's thread for the answer and a revision, at most so long.
    pub(crate) fn wait_for(&self, question: Question, revision: u64, time: Duration) {
        let deadline = Instant::now() + time;
        let mut state = self.state();
        while state.answered < question.0 || state.in_use.as_ref().is_none_or(|it| it.revision < revision) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The newest of the questions that have no answer. Cancel safe: until it is answered it comes again.
    pub(crate) async fn question(&self) -> Question {
        loop {
            // Before the look: a question behind it leaves a permit.
            let asked = self.questions.notified();
            if let Some(question) = self.unanswered() {
                return question;
            }
            asked.await;
        }
    }

    /// All questions up to this one have their answer.
    pub(crate) fn answer(&self, question: Question) {
        let mut state = self.state();
        state.answered = state.answered.max(question.0);
        self.changed.notify_all();
    }

    fn unanswered(&self) -> Option<Question> {
        let state = self.state();
        (state.asked > state.answered).then_some(Question(state.asked))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_is_open_until_it_is_answered_and_newer_ones_after_it() {
        let model = Model::followed();
        let first = model.ask();
        assert!(!model.has_answered(first));
        assert_eq!(model.question().await, first);
        assert_eq!(model.question().await, first, "it was not answered");
        let second = model.ask();
        model.answer(first);
        assert!(model.has_answered(first) && !model.has_answered(second));
        assert_eq!(model.question().await, second);
        model.answer(second);
        let none = tokio::time::timeout(Duration::from_millis(20), model.question()).await;
        assert!(none.is_err(), "{none:?}");
        let began = Instant::now();
        model.wait_for(second, 1, Duration::from_millis(20));
        assert!(began.elapsed() >= Duration::from_millis(20), "nothing is in use yet");
    }
}
