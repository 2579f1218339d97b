//! What Kubernetes is given for a Job.
//!
//! A pod is never replaced by Kubernetes where that would be a second launch: `backoffLimit: 0`, and a pod that is disturbed
//! (drained, evicted, preempted, its node gone) fails the Job, so that whoever launched it decides. Of a Job with shards
//! Kubernetes makes a disturbed one again, without counting, and a failed one as often as it is told; each only when the pod
//! before it has ended (`podReplacementPolicy: Failed`).

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        batch::v1::{
            Job as Manifest, JobSpec, PodFailurePolicy, PodFailurePolicyOnPodConditionsPattern as OnCondition,
            PodFailurePolicyRule as Rule,
        },
        core::v1::{
            Capabilities, ConfigMap, ConfigMapVolumeSource, Container, EnvVar, EnvVarSource, ObjectFieldSelector,
            PodSpec, PodTemplateSpec, ResourceRequirements, SeccompProfile, SecretKeySelector, SecurityContext, Volume,
            VolumeMount,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{ObjectMeta, OwnerReference},
    },
};

use super::{ITEM, ITEM_NUMBER, Job, MANY_SHARDS, MESSAGE, Shards};

/// What its only container is called.
pub(crate) const CONTAINER: &str = "task";
const ITEMS: &str = "items";
/// In which Kubernetes tells a pod of a Job its number.
pub(crate) const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// The label of everything here, and its value.
pub(crate) const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "millrace");

/// The Job, for Kubernetes.
pub fn manifest(job: &Job) -> Manifest {
    Manifest {
        metadata: ObjectMeta {
            name: Some(job.key.name.clone()),
            namespace: Some(job.key.namespace.clone()),
            labels: Some(labels(job)),
            annotations: Some(job.annotations.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(spec(job)),
        status: None,
    }
}

/// The items of a Job with shards, which go with it; `uid` is what Kubernetes calls the Job.
pub fn config_map(job: &Job, uid: &str) -> Option<ConfigMap> {
    let Shards { items, .. } = job.shards.as_ref()?;
    let owner = OwnerReference {
        api_version: "batch/v1".to_owned(),
        kind: "Job".to_owned(),
        name: job.key.name.clone(),
        uid: uid.to_owned(),
        ..OwnerReference::default()
    };
    Some(ConfigMap {
        metadata: ObjectMeta {
            name: Some(job.key.name.clone()),
            namespace: Some(job.key.namespace.clone()),
            labels: Some(labels(job)),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some(items.iter().enumerate().map(|(number, item)| (number.to_string(), item.clone())).collect()),
        immutable: Some(true),
        ..ConfigMap::default()
    })
}

fn labels(job: &Job) -> BTreeMap<String, String> {
    let ours = (MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
    job.labels.clone().into_iter().chain([ours]).collect()
}

fn spec(job: &Job) -> JobSpec {
    let whole = JobSpec {
        active_deadline_seconds: job.deadline.map(|it| it.as_secs().max(1) as i64),
        pod_failure_policy: Some(when_disturbed(if job.shards.is_some() { "Ignore" } else { "FailJob" })),
        pod_replacement_policy: Some("Failed".to_owned()),
        template: template(job),
        ttl_seconds_after_finished: Some(i32::try_from(job.keep.as_secs()).unwrap_or(i32::MAX)),
        ..JobSpec::default()
    };
    let Some(shards) = &job.shards else {
        return JobSpec { backoff_limit: Some(0), ..whole };
    };
    let many = shards.items.len() > MANY_SHARDS;
    let most = if many { MANY_SHARDS as u32 } else { u32::MAX };
    JobSpec {
        completion_mode: Some("Indexed".to_owned()),
        completions: Some(shards.items.len() as i32),
        parallelism: Some(shards.parallel.min(most).min(shards.items.len() as u32) as i32),
        backoff_limit_per_index: Some(shards.retries as i32),
        max_failed_indexes: many.then_some(MANY_SHARDS as i32),
        ..whole
    }
}

/// What is done with a Job whose pod is ended by something that is not its fault.
fn when_disturbed(action: &str) -> PodFailurePolicy {
    let disturbed = OnCondition { type_: "DisruptionTarget".to_owned(), status: "True".to_owned() };
    let rule = Rule { action: action.to_owned(), on_pod_conditions: Some(vec![disturbed]), ..Rule::default() };
    PodFailurePolicy { rules: vec![rule] }
}

fn template(job: &Job) -> PodTemplateSpec {
    let items = job.shards.as_ref().map(|_| Volume {
        name: ITEMS.to_owned(),
        config_map: Some(ConfigMapVolumeSource { name: job.key.name.clone(), ..ConfigMapVolumeSource::default() }),
        ..Volume::default()
    });
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels(job)),
            annotations: Some(may_be_moved(job.spot)),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            automount_service_account_token: Some(job.service_account.is_some()),
            containers: vec![container(job)],
            enable_service_links: Some(false),
            restart_policy: Some("Never".to_owned()),
            service_account_name: job.service_account.clone(),
            volumes: items.map(|items| vec![items]),
            ..PodSpec::default()
        }),
    }
}

/// What those look at who take nodes away to save money: the cluster autoscaler, Karpenter.
fn may_be_moved(spot: bool) -> BTreeMap<String, String> {
    let mut said = BTreeMap::from([("cluster-autoscaler.kubernetes.io/safe-to-evict".to_owned(), spot.to_string())]);
    if !spot {
        said.insert("karpenter.sh/do-not-disrupt".to_owned(), "true".to_owned());
    }
    said
}

fn container(job: &Job) -> Container {
    let some = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
    Container {
        name: CONTAINER.to_owned(),
        image: Some(job.image.clone()),
        command: some(&job.command),
        args: some(&job.args),
        env: Some(env(job)),
        resources: Some(resources(job)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), ..Capabilities::default() }),
            run_as_non_root: job.user.filter(|user| *user != 0).map(|_| true),
            run_as_user: job.user,
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }),
            ..SecurityContext::default()
        }),
        termination_message_path: Some(MESSAGE.to_owned()),
        termination_message_policy: Some("File".to_owned()),
        volume_mounts: job.shards.as_ref().map(|_| vec![item()]),
        ..Container::default()
    }
}

/// A file for each shard, by its number: it works without a shell in the image.
fn item() -> VolumeMount {
    VolumeMount {
        name: ITEMS.to_owned(),
        mount_path: ITEM.to_owned(),
        read_only: Some(true),
        sub_path_expr: Some(format!("$({ITEM_NUMBER})")),
        ..VolumeMount::default()
    }
}

fn env(job: &Job) -> Vec<EnvVar> {
    let number = job.shards.as_ref().map(|_| {
        let field = ObjectFieldSelector { field_path: format!("metadata.annotations['{INDEX}']"), api_version: None };
        EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }
    });
    let number = number.map(|from| (ITEM_NUMBER, from));
    let secrets = job.secrets.iter().map(|(variable, (name, key))| {
        let secret = SecretKeySelector { name: name.clone(), key: key.clone(), optional: Some(false) };
        (variable.as_str(), EnvVarSource { secret_key_ref: Some(secret), ..EnvVarSource::default() })
    });
    let from = number.into_iter().chain(secrets).map(|(name, from)| EnvVar {
        name: name.to_owned(),
        value_from: Some(from),
        value: None,
    });
    let plain =
        job.env.iter().map(|(name, value)| EnvVar { name: name.clone(), value: Some(value.clone()), value_from: None });
    // Those that have a source come first: a value may stand for what is before it.
    from.chain(plain).collect()
}

fn resources(job: &Job) -> ResourceRequirements {
    let of = |kind: &str| {
        let named = job.resources.get(kind)?;
        Some(named.iter().map(|(name, amount)| (name.clone(), Quantity(amount.clone()))).collect())
    };
    ResourceRequirements { limits: of("limits"), requests: of("requests"), claims: None }
}

#[cfg(test)]
mod tests;
