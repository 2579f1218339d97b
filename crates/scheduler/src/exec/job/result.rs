//! What has become of an attempt, by what Kubernetes says of its Job and pods.

use std::collections::BTreeMap;

use millrace_kubernetes::{Exit, Finish, Pod, Problem, State, job::MAX_MESSAGE};
use serde_json::{Value, json};

use crate::exec::{End, Ended, Failure, MAX_OUTPUT, calls::short, over};

/// Pods whose logs are told, of a Job with shards.
pub(super) const TELLING: usize = 8;

/// What is left of a Job: what its pods have said, as far as it is needed.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// How many shards it has.
    shards: Option<usize>,
    /// What they have left, by their numbers; of one without shards at 0.
    outputs: BTreeMap<u32, String>,
    size: usize,
    /// Those that say most: what has failed, or else some that have not.
    telling: Vec<Pod>,
}

impl Left {
    pub(super) fn new(shards: Option<usize>) -> Self {
        Self { shards, ..Self::default() }
    }

    /// Takes a pod. False: nothing more is needed.
    pub(super) fn add(&mut self, pod: Pod) -> bool {
        if pod.succeeded == Some(true) {
            let message = pod.exit.as_ref().map(|exit| exit.message.clone()).unwrap_or_default();
            self.size += message.len();
            self.outputs.insert(pod.shard.unwrap_or(0), message);
        }
        let failed = |pod: &Pod| pod.succeeded == Some(false);
        match self.telling.iter().position(|it| !failed(it)) {
            _ if self.telling.len() < TELLING => self.telling.push(pod),
            Some(place) if failed(&pod) => self.telling[place] = pod,
            _ => {}
        }
        self.size <= MAX_OUTPUT
    }

    /// With what was seen of a pod that is gone, where none is there.
    pub(super) fn or_last(mut self, last: Option<Pod>) -> Self {
        if let Some(last) = last.filter(|_| self.shards.is_none() && self.telling.is_empty()) {
            self.add(last);
        }
        self
    }

    pub(super) fn telling(&self) -> &[Pod] {
        &self.telling
    }
}

/// The end of an attempt whose Job has ended.
pub(super) fn end(state: &State, left: &Left) -> End {
    match &state.finish {
        Some(Finish::Complete) => complete(left),
        Some(Finish::Failed { reason, message }) => match reason.as_str() {
            // Kubernetes was faster, or there was no scheduler.
            "DeadlineExceeded" => End::Failed(Failure {
                message: "took longer than its execution timeout".to_owned(),
                code: "TIMEOUT".to_owned(),
                ..Failure::default()
            }),
            _ if left.shards.is_some() => shards_failed(state, left, reason, message),
            _ => pod_failed(left.telling.first(), message),
        },
        None => End::Interrupted("its Job has not ended".to_owned()),
    }
}

fn complete(left: &Left) -> End {
    let Some(shards) = left.shards else {
        return match left.outputs.values().next() {
            Some(message) => output(message).map_or_else(|problem| problem, |output| Ended::succeeded(output).end),
            None => End::Interrupted("its pod is gone, and with it its output".to_owned()),
        };
    };
    if left.size > MAX_OUTPUT {
        return Ended::hopeless(over(format!("more than {MAX_OUTPUT}"))).end;
    }
    let mut outputs = Vec::with_capacity(shards);
    for shard in 0..shards as u32 {
        match left.outputs.get(&shard).map(|message| output(message)) {
            Some(Ok(output)) => outputs.push(output.unwrap_or_default()),
            Some(Err(problem)) => return problem,
            None => return End::Interrupted(format!("the pod of shard {shard} is gone, and with it its output")),
        }
    }
    Ended::succeeded(Some(Value::Array(outputs))).end
}

/// What a container has left: JSON, or else a text.
fn output(message: &str) -> Result<Option<Value>, End> {
    if message.len() >= MAX_MESSAGE {
        let size = message.len();
        let problem = format!(
            "output of {size} bytes or more; Kubernetes keeps less than {MAX_MESSAGE} (4 KiB): put it into object storage and give its \
             address"
        );
        return Err(Ended::hopeless(problem).end);
    }
    let text = message.trim();
    if text.is_empty() {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(text).unwrap_or_else(|_| json!(text))))
}

/// Of a Job with one pod.
fn pod_failed(pod: Option<&Pod>, message: &str) -> End {
    let Some(pod) = pod else {
        return End::Interrupted(format!("its pod is gone: {message}"));
    };
    if let Some(disturbed) = &pod.disturbed {
        return End::Interrupted(short(format!("pod {}: {disturbed}", pod.name)));
    }
    match &pod.exit {
        _ if pod.deleted => End::Interrupted(format!("pod {} was deleted", pod.name)),
        Some(exit) if exit.reason != "ContainerStatusUnknown" => End::Failed(exited(exit)),
        // Its node would not have it, or has lost it.
        _ => End::Interrupted(short(format!("pod {} never ended: {} {message}", pod.name, pod.reason))),
    }
}

fn exited(exit: &Exit) -> Failure {
    let Exit { code, reason, message } = exit;
    let said = if message.trim().is_empty() { String::new() } else { format!(": {}", message.trim()) };
    let told = match reason.as_str() {
        "OOMKilled" => {
            format!("ran out of memory (OOMKilled, exit code {code}): it needs more under `resources.limits.memory`")
        }
        "Error" | "Completed" | "" => format!("ended with exit code {code}{said}"),
        reason => format!("{reason}, exit code {code}{said}"),
    };
    let code_of = if matches!(reason.as_str(), "Error" | "Completed") { String::new() } else { reason.clone() };
    Failure { message: short(told), code: code_of, exit_code: Some(*code), permanent: false }
}

/// Kubernetes has tried the shards again as often as it may: there is no use in another attempt of all of them.
fn shards_failed(state: &State, left: &Left, reason: &str, message: &str) -> End {
    let failed = left.telling.iter().filter(|pod| pod.succeeded == Some(false));
    let first = failed.filter_map(|pod| Some((pod.shard?, pod.exit.as_ref()?))).min_by_key(|(shard, _)| *shard);
    let which = if state.failed_shards.is_empty() { message } else { &state.failed_shards };
    let of_first = first.map(|(shard, exit)| format!("; shard {shard}: {}", exited(exit).message)).unwrap_or_default();
    End::Failed(Failure {
        message: short(format!("shards have failed: {which}{of_first}")),
        code: reason.to_owned(),
        exit_code: first.map(|(_, exit)| exit.code),
        permanent: true,
    })
}

/// What a Job is given up for whose pods never ran.
pub(super) fn never_ran(problem: &Problem) -> Failure {
    let Problem { reason, message } = problem;
    let what = match reason.as_str() {
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" | "ImageInspectError" => {
            "its image cannot be had"
        }
        "CreateContainerConfigError" | "CreateContainerError" => "it lacks what it is to be given",
        "Unschedulable" => "no node has room for it",
        _ => "its pods cannot be made",
    };
    Failure { message: short(format!("{what}: {reason}: {message}")), code: reason.clone(), ..Failure::default() }
}

/// A failure as it is noted on a Job, for whoever looks after it next.
pub(super) fn noted(failure: &Failure) -> String {
    json!({"code": failure.code, "message": failure.message, "permanent": failure.permanent}).to_string()
}

pub(super) fn read_note(note: &str) -> Option<Failure> {
    let note: Value = serde_json::from_str(note).ok()?;
    Some(Failure {
        message: note["message"].as_str()?.to_owned(),
        code: note["code"].as_str()?.to_owned(),
        permanent: note["permanent"].as_bool()?,
        exit_code: None,
    })
}

/// The log of one of several pods.
pub(super) fn headed(shard: Option<u32>, pod: &str, log: &str) -> String {
    let whose = shard.map_or_else(|| pod.to_owned(), |shard| format!("shard {shard}"));
    let end = if log.is_empty() || log.ends_with('\n') { "" } else { "\n" };
    format!("== {whose}\n{log}{end}")
}

#[cfg(test)]
mod tests;
