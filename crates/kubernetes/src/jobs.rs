use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::{
    batch::v1::Job as Manifest,
    core::v1::{ConfigMap, Event, Pod as PodManifest},
};
use kube::{
    Api, Client, Resource,
    api::{ListParams, LogParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::{
    error::{Error, Result},
    job::{self, Job, Key, Pod, State},
    log,
    watch::{Following, JOB_OF_POD, Watch},
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pods that are asked for at once.
const PAGE: u32 = 250;
/// Lines that the end of a log is looked for in.
const LINES: i64 = 4096;

/// Jobs of a cluster. Cheap to clone; the watches end with the last one.
#[derive(Clone)]
pub struct Jobs {
    client: Client,
    watches: Arc<Mutex<HashMap<String, Arc<Watch>>>>,
}

impl Jobs {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, watches: Arc::default() }
    }

    /// Has what becomes of a Job seen from now on. Before it is made, so that nothing is missed.
    pub fn follow(&self, key: &Key) -> Following {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        let watch = watches.entry(key.namespace.clone()).or_insert_with(|| Watch::start(&self.client, &key.namespace));
        watch.follow(key)
    }

    /// Makes a Job, or finds the one that is there under its name: however often, and by however many, it is there once.
    pub async fn create(&self, job: &Job) -> Result<State> {
        let (api, manifest) = (self.api::<Manifest>(&job.key), job::manifest(job));
        match within(api.create(&PostParams::default(), &manifest)).await {
            Ok(made) => Ok(State::from(&made)),
            Err(error) if error.is_there() => {
                let there = self.get(job).await?;
                // It has ended, and its time is over, between the two.
                there.ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// The Job that is there under the name of this one; an error if it is another.
    pub async fn get(&self, job: &Job) -> Result<Option<State>> {
        let Some(there) = within(self.api::<Manifest>(&job.key).get_opt(&job.key.name)).await? else { return Ok(None) };
        let state = State::from(&there);
        if state.is(job) {
            return Ok(Some(state));
        }
        let Key { namespace, name } = job.key.clone();
        Err(Error::Foreign { namespace, name })
    }

    /// Gives the shards of a Job their items, unless they have them: until then its pods wait.
    pub async fn give_items(&self, job: &Job, uid: &str) -> Result<()> {
        let Some(items) = job::config_map(job, uid) else { return Ok(()) };
        match within(self.api::<ConfigMap>(&job.key).create(&PostParams::default(), &items)).await {
            Err(error) if !error.is_there() => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Ends the pods of a Job, by letting its time be over, and has `annotations` say why. The Job itself stays for as long
    /// as it is kept: whoever was late to make it finds it. It has ended when [`State::finish`] says so, and that it does
    /// when its pods have. Nothing where there is none.
    pub async fn stop(&self, key: &Key, annotations: &[(&str, &str)]) -> Result<()> {
        let annotations: HashMap<_, _> = annotations.iter().copied().collect();
        let over = json!({"metadata": {"annotations": annotations}, "spec": {"activeDeadlineSeconds": 1}});
        let patch = Patch::Merge(over);
        match within(self.api::<Manifest>(key).patch(&key.name, &PatchParams::default(), &patch)).await {
            Err(error) if !error.is(404) => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// The pods of a Job, a page at a time, for as long as `more` wants them.
    pub async fn pods(&self, key: &Key, mut more: impl FnMut(Pod) -> bool) -> Result<()> {
        let api = self.api::<PodManifest>(key);
        let mut page = ListParams::default().labels(&format!("{JOB_OF_POD}={}", key.name)).limit(PAGE);
        loop {
            let pods = within(api.list(&page)).await?;
            for pod in &pods.items {
                if !more(Pod::from(pod)) {
                    return Ok(());
                }
            }
            match pods.metadata.continue_.filter(|it| !it.is_empty()) {
                Some(next) => page = page.continue_token(&next),
                None => return Ok(()),
            }
        }
    }

    /// What Kubernetes has warned of last, of the Job itself: that its pods cannot be made, and why.
    pub async fn last_warning(&self, key: &Key) -> Result<Option<String>> {
        let of_it = format!("involvedObject.kind=Job,involvedObject.name={},type=Warning", key.name);
        let events = within(self.api::<Event>(key).list(&ListParams::default().fields(&of_it).limit(PAGE))).await?;
        let last = events.items.into_iter().max_by_key(|event| event.last_timestamp.as_ref().map(|it| it.0));
        Ok(last.and_then(|event| event.message))
    }

    /// The end of a pod's log, at most so many bytes; empty where there is none any more.
    pub async fn tail(&self, key: &Key, pod: &str, most: usize) -> Result<String> {
        let api = self.api::<PodManifest>(key);
        let wanted =
            LogParams { container: Some(job::CONTAINER.to_owned()), tail_lines: Some(LINES), ..LogParams::default() };
        let read = async {
            let stream = api.log_stream(pod, &wanted).await?;
            log::end_of(stream, most).await.map_err(kube::Error::ReadEvents)
        };
        match within(read).await {
            Err(error) if error.is(404) || error.is(400) => Ok(String::new()),
            other => other,
        }
    }

    fn api<K>(&self, key: &Key) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &key.namespace)
    }
}

async fn within<T>(answer: impl Future<Output = kube::Result<T>>) -> Result<T> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Error::Silent(PATIENCE)),
    }
}
