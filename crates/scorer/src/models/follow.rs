//! Follows the champion of a pipeline: what the registry says is fetched, opened and tried, and then takes its place.
//!
//! The registry tells of changes by itself; a lane that got partitions has it asked as well, so that one which hears late does
//! not score with what others have left behind. While the registry is away, what is in use goes on. A bundle that must not be
//! used leaves the one in use where it is, and a signal says so until a good one is in use.

use std::{sync::Arc, time::Duration};

use millrace_proto::registry::v1::model_service_client::ModelServiceClient;
use millrace_runtime::Shutdown;
use millrace_schema::FieldPath;
use millrace_scoring::Bundle;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tonic::transport::Channel;

use super::{
    InUse, Model,
    cache::{Cache, Memory},
    decide::{Champion, Ref, Step, decide},
    listen::{ask, listen, pause},
    open::open_next,
    pull::{Failure, pull},
    signals::Alarm,
};
use crate::{metrics::ModelMetrics, scorer::now};

/// A bundle that was refused may be mended where it is stored.
const REFUSED: Duration = Duration::from_mins(1);

/// One pipeline's champion, and what it is followed with.
pub(crate) struct Follower {
    pub(crate) pipeline: String,
    /// The model's name in the pipeline's document.
    pub(crate) expected: String,
    /// Fields that must not be features.
    pub(crate) never: Vec<FieldPath>,
    pub(crate) client: ModelServiceClient<Channel>,
    pub(crate) cache: Cache,
    pub(crate) model: Arc<Model>,
    pub(crate) alarm: Alarm,
    pub(crate) metrics: ModelMetrics,
    /// Told when there is a model.
    pub(crate) ready: Box<dyn Fn(bool) + Send + Sync>,
}

/// A follower at work.
struct Following {
    to: Follower,
    in_use: Option<(Ref, InUse)>,
    memory: Memory,
    /// What was said and is not in use: to be tried again.
    open: Option<Open>,
    /// The last revision of which there was something to complain: it is said once.
    told: Option<u64>,
}

struct Open {
    said: Champion,
    at: Instant,
    failures: usize,
}

/// What came of what was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It is in use, or something later is.
    Settled,
    /// There is no champion.
    Nobody,
    /// It is not in use.
    Unsettled,
}

impl Follower {
    /// Follows until the shutdown.
    pub(crate) async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        tokio::select! {
            () = self.follow() => {}
            () = shutdown.wait() => {}
        }
        Ok(())
    }

    async fn follow(self) {
        let (sender, mut heard) = watch::channel(None);
        let listening = listen(self.client.clone(), self.pipeline.clone(), sender);
        let (memory, model) = (self.cache.recall(&self.pipeline), Arc::clone(&self.model));
        let mut following = Following { to: self, in_use: None, memory, open: None, told: None };
        let acting = async {
            following.begin().await;
            loop {
                let again = following.open.as_ref().map(|open| open.at);
                tokio::select! {
                    Ok(()) = heard.changed() => {
                        let said = heard.borrow_and_update().clone();
                        if let Some(said) = said {
                            following.apply(said).await;
                        }
                    }
                    question = model.question() => {
                        following.find_out().await;
                        model.answer(question);
                    }
                    () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {
                        following.try_again().await;
                    }
                }
            }
        };
        tokio::join!(listening, acting);
    }
}

impl Following {
    /// With the champion of now; where that cannot be had, with the last one that was in use here.
    async fn begin(&mut self) {
        if self.find_out().await != Outcome::Unsettled {
            return;
        }
        let Some(said) = self.memory.champion.clone() else { return };
        let Step::Load(model) = decide(None, &said, &self.to.expected) else { return };
        let (pipeline, revision) = (self.to.pipeline.clone(), said.revision);
        match self.open(&model).await {
            Ok(bundle) => {
                tracing::warn!(pipeline, %model, revision, "the champion of now cannot be had, starting with the last one that was in use here");
                self.put(model, InUse { bundle, revision });
            }
            Err(reason) => tracing::warn!(pipeline, %model, reason, "the champion that was in use last cannot be used"),
        }
    }

    /// Asks the registry, and does what it says.
    async fn find_out(&mut self) -> Outcome {
        match ask(&mut self.to.client, &self.to.pipeline).await {
            Ok(said) => self.apply(said).await,
            Err(status) => {
                self.to.metrics.unanswered(&self.to.pipeline);
                tracing::warn!(pipeline = self.to.pipeline, %status, "the registry does not say who the champion is");
                Outcome::Unsettled
            }
        }
    }

    async fn try_again(&mut self) {
        if let Some(Open { said, .. }) = &self.open {
            self.apply(said.clone()).await;
        }
    }

    async fn apply(&mut self, said: Champion) -> Outcome {
        let in_use = self.in_use.as_ref().map(|(model, in_use)| (model, in_use.revision));
        let step = decide(in_use, &said, &self.to.expected);
        let (pipeline, revision) = (self.to.pipeline.clone(), said.revision);
        match step {
            Step::Stay => {}
            Step::Older => {
                if self.is_news(revision) {
                    tracing::warn!(
                        pipeline,
                        revision,
                        "the registry says an older revision than the one in use, which stays"
                    );
                }
            }
            Step::Wait => {
                if self.is_news(revision) {
                    tracing::info!(pipeline, "no model was promoted to champion yet: nothing is scored before");
                }
                return Outcome::Nobody;
            }
            Step::Renew => {
                let renewed = self.in_use.take();
                if let Some((model, in_use)) = renewed {
                    self.put(model, InUse { revision, ..in_use });
                    self.settle();
                }
            }
            // Whoever asks in between is no reason to try before it is time.
            Step::Load(_) if self.is_postponed(&said) => return Outcome::Unsettled,
            Step::Load(model) => match self.fetch(&model).await {
                Ok(bundle) => {
                    self.put(model, InUse { bundle, revision });
                    self.settle();
                }
                Err(Failure::Away(reason)) => {
                    tracing::warn!(pipeline, %model, revision, reason, "the champion cannot be fetched yet, trying again");
                    self.postpone(said, None);
                    return Outcome::Unsettled;
                }
                Err(Failure::Refused(reason)) => return self.refuse(said, &model, &reason),
            },
            Step::Refuse(reason) => {
                let model = said.model.clone().unwrap_or_default();
                return self.refuse(said, &model, &reason);
            }
        }
        Outcome::Settled
    }

    /// From the disk, where it is there and whole, else from the registry.
    async fn fetch(&mut self, model: &Ref) -> Result<Arc<Bundle>, Failure> {
        if self.to.cache.place(model).is_dir() {
            match self.open(model).await {
                Ok(bundle) => return Ok(bundle),
                Err(reason) => {
                    tracing::warn!(%model, reason, "bundle in the cache is not usable, fetching it again");
                    self.to.cache.remove(model).map_err(|error| Failure::Away(format!("remove it: {error}")))?;
                }
            }
        }
        pull(&mut self.to.client, model, &self.to.cache).await?;
        let opened = self.open(model).await;
        if opened.is_err() {
            // The next try asks the registry again.
            self.to.cache.remove(model).ok();
        }
        opened.map_err(Failure::Refused)
    }

    /// Opens what is on the disk, beside what else the process does.
    async fn open(&self, model: &Ref) -> Result<Arc<Bundle>, String> {
        let (dir, never, writers) = (self.to.cache.place(model), self.to.never.clone(), self.to.model.writers());
        tokio::task::spawn_blocking(move || open_next(&dir, &never, &writers))
            .await
            .map_err(|error| error.to_string())?
    }

    /// Puts a bundle that was tried in the place of the one in use.
    fn put(&mut self, model: Ref, next: InUse) {
        let (pipeline, revision) = (&self.to.pipeline, next.revision);
        let from = self.to.model.current();
        let is_other = from.as_ref().is_none_or(|from| !Arc::ptr_eq(&from.bundle, &next.bundle));
        let from = from.map(|from| (from.bundle.version().to_owned(), from.revision));
        tracing::info!(pipeline, %model, revision, from = ?from, "champion in use");
        if let Some((version, _)) = from.filter(|_| is_other) {
            self.to.metrics.in_use(&model.name, &version, false);
        }
        self.to.metrics.in_use(&model.name, &model.version, true);
        self.to.metrics.revision(pipeline, revision);
        self.to.model.replace(next.clone());
        if self.in_use.is_none() {
            (self.to.ready)(true);
        }
        self.memory.champion = Some(Champion { model: Some(model.clone()), revision });
        if let Err(error) = self.to.cache.used(&model) {
            tracing::warn!(%error, "cannot look after the cache of models");
        }
        self.in_use = Some((model, next));
        self.remember();
    }

    /// What is in use is what the registry said last.
    fn settle(&mut self) {
        self.open = None;
        let Some((model, in_use)) = &self.in_use else { return };
        if let Some(since) = self.memory.refused_since.take() {
            self.to.alarm.resolved(&self.to.pipeline, model, in_use.revision, since);
            self.remember();
        }
    }

    fn refuse(&mut self, said: Champion, model: &Ref, reason: &str) -> Outcome {
        let (pipeline, revision) = (self.to.pipeline.clone(), said.revision);
        if self.is_news(revision) {
            let keeps = self.in_use.as_ref().map(|(model, _)| model.to_string());
            tracing::error!(pipeline, %model, revision, keeps, reason, "champion refused");
            self.to.metrics.refused(&model.name);
            let since = *self.memory.refused_since.get_or_insert_with(now);
            self.to.alarm.refused(&pipeline, model, revision, since, reason);
            self.remember();
        }
        self.postpone(said, Some(REFUSED));
        Outcome::Unsettled
    }

    /// To be tried again after that time, or after a little longer each time.
    fn postpone(&mut self, said: Champion, time: Option<Duration>) {
        let before = self.open.take().filter(|open| open.said == said);
        let failures = before.map_or(0, |open| open.failures + 1);
        let at = Instant::now() + time.unwrap_or_else(|| pause(failures));
        self.open = Some(Open { said, at, failures });
    }

    fn is_postponed(&self, said: &Champion) -> bool {
        self.open.as_ref().is_some_and(|open| open.said == *said && Instant::now() < open.at)
    }

    fn remember(&self) {
        if let Err(error) = self.to.cache.remember(&self.to.pipeline, &self.memory) {
            tracing::warn!(%error, "cannot remember the champion for the next start");
        }
    }

    fn is_news(&mut self, revision: u64) -> bool {
        self.told.replace(revision) != Some(revision)
    }
}
