//! Pods outlive what is done to their nodes, which is why there are two.

use std::path::Path;

use serde_json::{Value, json};

use crate::cluster::{Namespace, container, eventually, image, kubectl, nodes_alone};

/// A node that is given back when the story ends, in whatever way.
struct Drained(String);

impl Drained {
    fn drain(node: &str) -> Self {
        let drained = Self(node.to_owned());
        let out =
            kubectl().args(["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=60s"]).output();
        let out = out.unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        drained
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        let _ = kubectl().args(["uncordon", &self.0]).output();
    }
}

/// Name and node of the one pod that is ready.
fn ready(pods: &[Value]) -> Option<(String, String)> {
    let conditions = |pod: &Value| pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let is_ready = |pod: &&Value| {
        pod["metadata"]["deletionTimestamp"].is_null()
            && conditions(pod).iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    };
    let pod = pods.iter().find(is_ready)?;
    Some((pod["metadata"]["name"].as_str()?.to_owned(), pod["spec"]["nodeName"].as_str()?.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ran_on_a_drained_node_runs_on_the_other() {
    let _alone = nodes_alone().await;
    let own = Namespace::new("drain");
    let labels = json!({"app": "sleeper"});
    let sleeper = container(&image("sleep", Path::new("/bin/sleep")), &["infinity"]);
    own.apply(&json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "sleeper"},
        "spec": {"selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [sleeper]},
        }},
    }));
    let look = || ready(&own.list("pods", "app=sleeper"));
    let (first, node) = eventually("a pod is ready", look).await;

    let _drained = Drained::drain(&node);

    let (second, other) = eventually("a pod is ready elsewhere", || look().filter(|(name, _)| *name != first)).await;
    assert_ne!(other, node, "{second} came back to the drained node");
    assert_eq!(own.get("pod", &first), Value::Null, "the pod that was evicted is gone");
}
