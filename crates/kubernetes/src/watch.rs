//! What becomes of Jobs, from one watch for all of a namespace: a thousand Jobs are not a thousand watches.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{Stream, StreamExt as _, future::join, pin_mut};
use k8s_openapi::api::{batch::v1::Job as Manifest, core::v1::Pod as PodManifest};
use kube::{
    Api, Client, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use tokio::{sync::watch, time::Instant};
use tokio_util::task::AbortOnDropHandle;

use crate::job::{Key, MANAGED_BY, Pod, Problem, State};

/// What Kubernetes calls the Job of a pod.
pub(crate) const JOB_OF_POD: &str = "batch.kubernetes.io/job-name";

/// What has been seen of a Job since it is followed.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// As it stood last; none: nothing was seen of it.
    pub job: Option<State>,
    /// It was deleted, or may have been: to be looked at.
    pub missed: bool,
    /// Why pods do not run, by their names, and since when that was seen.
    pub problems: BTreeMap<String, (Problem, Instant)>,
    /// The last of its pods that ended or was deleted.
    pub last: Option<Pod>,
}

/// The watch of one namespace, while anybody holds it.
pub(crate) struct Watch {
    followed: Arc<Followed>,
    _running: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Followed(Mutex<HashMap<String, watch::Sender<Seen>>>);

/// A Job that is followed, for as long as this is held.
pub struct Following {
    watch: Arc<Watch>,
    name: String,
    seen: watch::Receiver<Seen>,
}

impl Following {
    /// What was seen of it.
    pub fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Ends when something else is seen of it than when this was last asked.
    pub async fn changed(&mut self) {
        // The sender is in the watch that this holds.
        let _ = self.seen.changed().await;
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut followed = self.watch.followed.lock();
        // This one is counted too.
        if followed.get(&self.name).is_some_and(|sender| sender.receiver_count() <= 1) {
            followed.remove(&self.name);
        }
    }
}

impl Watch {
    pub(crate) fn start(client: &Client, namespace: &str) -> Arc<Self> {
        let followed = Arc::new(Followed::default());
        let (jobs, pods) =
            (Api::<Manifest>::namespaced(client.clone(), namespace), Api::namespaced(client.clone(), namespace));
        let running = tokio::spawn({
            let (followed, namespace) = (Arc::clone(&followed), namespace.to_owned());
            async move {
                let of_ours = || watcher::Config::default().labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1));
                let jobs = followed.jobs(watcher(jobs, of_ours()).default_backoff(), &namespace);
                let pods = followed.pods(watcher(pods, of_ours()).default_backoff(), &namespace);
                join(jobs, pods).await;
            }
        });
        Arc::new(Self { followed, _running: AbortOnDropHandle::new(running) })
    }

    pub(crate) fn follow(self: &Arc<Self>, key: &Key) -> Following {
        let mut followed = self.followed.lock();
        let sender = followed.entry(key.name.clone()).or_insert_with(|| watch::Sender::new(Seen::default()));
        Following { watch: Arc::clone(self), name: key.name.clone(), seen: sender.subscribe() }
    }
}

impl Followed {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Seen>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, name: &str, what: impl FnOnce(&mut Seen) -> bool) {
        if let Some(sender) = self.lock().get(name) {
            sender.send_if_modified(what);
        }
    }

    async fn jobs(&self, events: impl Stream<Item = watcher::Result<Event<Manifest>>>, namespace: &str) {
        pin_mut!(events);
        let mut listed = HashSet::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Apply(job)) => self.job(&job),
                Ok(Event::InitApply(job)) => {
                    self.job(&job);
                    listed.insert(job.name_any());
                }
                Ok(Event::Delete(job)) => self.tell(&job.name_any(), |seen| !std::mem::replace(&mut seen.missed, true)),
                Ok(Event::Init) => listed.clear(),
                // One that was made since is not in the list either.
                Ok(Event::InitDone) => {
                    for (_, sender) in self.lock().iter().filter(|(name, _)| !listed.contains(*name)) {
                        sender.send_if_modified(|seen| !std::mem::replace(&mut seen.missed, true));
                    }
                    listed = HashSet::new();
                }
                Err(error) => tracing::warn!(namespace, %error, "cannot watch jobs, trying again"),
            }
        }
    }

    fn job(&self, job: &Manifest) {
        self.tell(&job.name_any(), |seen| {
            let state = State::from(job);
            let news = seen.missed || seen.job.as_ref() != Some(&state);
            (seen.job, seen.missed) = (Some(state), false);
            news
        });
    }

    async fn pods(&self, events: impl Stream<Item = watcher::Result<Event<PodManifest>>>, namespace: &str) {
        pin_mut!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Apply(pod) | Event::InitApply(pod)) => self.pod(&pod, false),
                Ok(Event::Delete(pod)) => self.pod(&pod, true),
                Ok(Event::Init | Event::InitDone) => {}
                Err(error) => tracing::warn!(namespace, %error, "cannot watch pods, trying again"),
            }
        }
    }

    fn pod(&self, pod: &PodManifest, gone: bool) {
        let Some(job) = pod.labels().get(JOB_OF_POD) else { return };
        self.tell(job, |seen| seen.pod(Pod::from(pod), gone));
    }
}

impl Seen {
    /// Whether anything has changed that somebody waits for.
    fn pod(&mut self, pod: Pod, gone: bool) -> bool {
        let problem = pod.problem.clone().filter(|_| !gone);
        let news = match (self.problems.get_mut(&pod.name), problem) {
            (None, None) => false,
            (Some(_), None) => self.problems.remove(&pod.name).is_some(),
            (None, Some(problem)) => self.problems.insert(pod.name.clone(), (problem, Instant::now())).is_none(),
            // An image that is tried again (`ErrImagePull`, `ImagePullBackOff`) is still the same problem.
            (Some((known, _)), Some(problem)) => std::mem::replace(known, problem.clone()) != problem,
        };
        if gone || pod.deleted || pod.succeeded.is_some() {
            self.last = Some(Pod { deleted: gone || pod.deleted, ..pod });
        }
        news
    }
}
