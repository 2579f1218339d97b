//! What Kubernetes says of a Job and of its pods, as far as anybody here wants to know.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        batch::v1::Job as Manifest,
        core::v1::{ContainerStateTerminated, Pod as PodManifest, PodCondition, PodStatus},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{
    Job,
    manifest::{CONTAINER, INDEX},
};

/// What a message of Kubernetes may have, in bytes: it is told to people.
const MAX_SAID: usize = 2048;

/// A Job as it stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// What Kubernetes calls it.
    pub uid: String,
    /// How it ended, when it has and none of its pods runs any more.
    pub finish: Option<Finish>,
    /// Pods that it has or has had, as far as Kubernetes has counted.
    pub pods: i32,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// The shards that have failed for good, as `1,3-5`.
    pub failed_shards: String,
}

/// How a Job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Its pod has succeeded, or those of all shards.
    Complete,
    /// It has not.
    Failed {
        /// `BackoffLimitExceeded`, `DeadlineExceeded`, `PodFailurePolicy`, `FailedIndexes`, ...
        reason: String,
        /// For a person.
        message: String,
    },
}

/// A pod of a Job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// The number of its shard.
    pub shard: Option<u32>,
    /// Whether it has succeeded, or failed.
    pub succeeded: Option<bool>,
    /// How its container ended.
    pub exit: Option<Exit>,
    /// What has ended it that is not its fault: a drain, an eviction, a preemption, a node that is gone.
    pub disturbed: Option<String>,
    /// Somebody has deleted it.
    pub deleted: bool,
    /// What Kubernetes says of it as a whole: `Evicted`, `OutOfcpu`.
    pub reason: String,
    /// Why it does not run.
    pub problem: Option<Problem>,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code; 128 and the signal's number where it was ended by one.
    pub code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, `ContainerStatusUnknown`.
    pub reason: String,
    /// What it has left at [`super::MESSAGE`].
    pub message: String,
}

/// Why a pod does not run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problem {
    /// `ImagePullBackOff`, `CreateContainerConfigError`, `Unschedulable`.
    pub reason: String,
    /// For a person.
    pub message: String,
}

impl State {
    /// Whether it is the Job that is wanted, and not another of the same name.
    pub fn is(&self, job: &Job) -> bool {
        job.annotations.iter().all(|(name, value)| self.annotations.get(name) == Some(value))
    }
}

impl From<&Manifest> for State {
    fn from(job: &Manifest) -> Self {
        let status = job.status.as_ref();
        let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let finish = conditions.iter().filter(|it| it.status == "True").find_map(|it| match it.type_.as_str() {
            "Complete" => Some(Finish::Complete),
            "Failed" => Some(Finish::Failed { reason: text(it.reason.as_ref()), message: text(it.message.as_ref()) }),
            _ => None,
        });
        Self {
            uid: job.metadata.uid.clone().unwrap_or_default(),
            finish,
            pods: status.map_or(0, |status| {
                let counts = [status.active, status.terminating, status.succeeded, status.failed];
                counts.into_iter().flatten().sum()
            }),
            annotations: job.metadata.annotations.clone().unwrap_or_default(),
            failed_shards: text(status.and_then(|status| status.failed_indexes.as_ref())),
        }
    }
}

impl From<&PodManifest> for Pod {
    fn from(pod: &PodManifest) -> Self {
        let status = pod.status.as_ref();
        // There may be others that somebody adds to every pod.
        let containers = status.and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
        let container = containers.iter().find(|it| it.name == CONTAINER);
        let state = container.and_then(|it| it.state.as_ref());
        let waiting = state
            .and_then(|state| state.waiting.as_ref())
            .map(|waiting| Problem { reason: text(waiting.reason.as_ref()), message: text(waiting.message.as_ref()) });
        Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            shard: shard(&pod.metadata),
            succeeded: match status.and_then(|status| status.phase.as_deref()) {
                Some("Succeeded") => Some(true),
                Some("Failed") => Some(false),
                _ => None,
            },
            exit: state.and_then(|state| state.terminated.as_ref()).map(Exit::from),
            disturbed: condition(status, "DisruptionTarget", "True").map(told),
            deleted: pod.metadata.deletion_timestamp.is_some(),
            reason: text(status.and_then(|status| status.reason.as_ref())),
            problem: waiting.filter(|it| it.reason != "ContainerCreating" && it.reason != "PodInitializing").or_else(
                || {
                    let unscheduled = condition(status, "PodScheduled", "False")?;
                    let (reason, message) = (text(unscheduled.reason.as_ref()), text(unscheduled.message.as_ref()));
                    Some(Problem { reason, message })
                },
            ),
        }
    }
}

impl From<&ContainerStateTerminated> for Exit {
    fn from(ended: &ContainerStateTerminated) -> Self {
        Self {
            code: ended.exit_code,
            reason: text(ended.reason.as_ref()),
            message: ended.message.clone().unwrap_or_default(),
        }
    }
}

fn shard(metadata: &ObjectMeta) -> Option<u32> {
    metadata.annotations.as_ref()?.get(INDEX)?.parse().ok()
}

fn condition<'a>(status: Option<&'a PodStatus>, kind: &str, is: &str) -> Option<&'a PodCondition> {
    status?.conditions.as_ref()?.iter().find(|it| it.type_ == kind && it.status == is)
}

/// `EvictionByEvictionAPI: Eviction API: evicting`.
fn told(condition: &PodCondition) -> String {
    let (reason, message) = (text(condition.reason.as_ref()), text(condition.message.as_ref()));
    if message.is_empty() { reason } else { format!("{reason}: {message}") }
}

fn text(text: Option<&String>) -> String {
    let mut text = text.cloned().unwrap_or_default();
    text.truncate(text.floor_char_boundary(MAX_SAID));
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: &serde_json::Value) -> Pod {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "annotations": {INDEX: "3"}}, "status": status});
        Pod::from(&serde_json::from_value::<PodManifest>(pod).unwrap())
    }

    #[test]
    fn a_job_has_ended_when_its_pods_have() {
        let state = |conditions| {
            let status = json!({"conditions": conditions, "failedIndexes": "1,3-5"});
            let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"uid": "u"}, "status": status});
            State::from(&serde_json::from_value::<Manifest>(job).unwrap())
        };
        let condition = |kind, status| json!({"type": kind, "status": status, "reason": "r", "message": "m"});
        assert_eq!(state(json!([condition("FailureTarget", "True")])).finish, None, "pods are still ending");
        assert_eq!(state(json!([condition("Failed", "False")])).finish, None);
        let failed = state(json!([condition("FailureTarget", "True"), condition("Failed", "True")]));
        assert_eq!(failed.finish, Some(Finish::Failed { reason: "r".to_owned(), message: "m".to_owned() }));
        assert_eq!((failed.uid.as_str(), failed.failed_shards.as_str()), ("u", "1,3-5"));
        let complete = json!([condition("SuccessCriteriaMet", "True"), condition("Complete", "True")]);
        assert_eq!(state(complete).finish, Some(Finish::Complete));
    }

    #[test]
    fn a_pod_says_how_it_ended_or_why_it_does_not_run() {
        let ended = json!({"exitCode": 137, "reason": "OOMKilled", "message": "{}"});
        let ended = pod(
            &json!({"phase": "Failed", "containerStatuses": [{"name": "task", "image": "", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"terminated": ended}}]}),
        );
        let exit = Exit { code: 137, reason: "OOMKilled".to_owned(), message: "{}".to_owned() };
        assert_eq!((ended.succeeded, ended.shard, ended.exit), (Some(false), Some(3), Some(exit)));

        let waiting = |reason| {
            pod(
                &json!({"phase": "Pending", "containerStatuses": [{"name": "task", "image": "", "imageID": "", "ready": false,
                "restartCount": 0, "state": {"waiting": {"reason": reason, "message": "why"}}}]}),
            )
        };
        assert_eq!(waiting("ContainerCreating").problem, None);
        let problem = waiting("ImagePullBackOff").problem.unwrap();
        assert_eq!((problem.reason.as_str(), problem.message.as_str()), ("ImagePullBackOff", "why"));

        let condition =
            |kind, status, reason| json!({"type": kind, "status": status, "reason": reason, "message": "why"});
        let pending =
            pod(&json!({"phase": "Pending", "conditions": [condition("PodScheduled", "False", "Unschedulable")]}));
        assert_eq!(pending.problem.unwrap().reason, "Unschedulable");
        let drained = pod(
            &json!({"phase": "Failed", "conditions": [condition("DisruptionTarget", "True", "EvictionByEvictionAPI")]}),
        );
        assert_eq!(drained.disturbed.unwrap(), "EvictionByEvictionAPI: why");
    }
}
