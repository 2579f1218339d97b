use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::job::Key;

fn job() -> Job {
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    Job {
        key: Key { namespace: "batch".to_owned(), name: "hourly-r7-t0-n1-41".to_owned() },
        labels: map(&[("millrace.dev/dag", "hourly")]),
        annotations: map(&[("millrace.dev/attempt", "hourly-r7-t0-n1-41")]),
        image: "registry/score:1".to_owned(),
        command: Vec::new(),
        args: vec!["--model=x".to_owned()],
        env: map(&[("MILLRACE_TOKEN", "41")]),
        secrets: [("PASSWORD".to_owned(), ("db".to_owned(), "password".to_owned()))].into(),
        resources: [("limits".to_owned(), map(&[("memory", "64Mi")]))].into(),
        service_account: None,
        user: None,
        deadline: Some(Duration::from_secs(90)),
        keep: Duration::from_hours(1),
        spot: false,
        shards: None,
    }
}

fn json_of(job: &Job) -> Value {
    serde_json::to_value(manifest(job)).unwrap()
}

#[test]
fn a_pod_is_never_replaced_where_that_would_be_a_second_launch() {
    let made = json_of(&job());
    let spec = &made["spec"];
    assert_eq!(spec["backoffLimit"], 0);
    assert_eq!(spec["podReplacementPolicy"], "Failed");
    assert_eq!(spec["template"]["spec"]["restartPolicy"], "Never");
    assert_eq!(spec["podFailurePolicy"]["rules"][0]["action"], "FailJob");
    assert_eq!(spec["podFailurePolicy"]["rules"][0]["onPodConditions"][0]["type"], "DisruptionTarget");
    assert_eq!((&spec["activeDeadlineSeconds"], &spec["ttlSecondsAfterFinished"]), (&json!(90), &json!(3600)));
}

#[test]
fn a_pod_has_what_it_needs_and_no_rights() {
    let made = json_of(&job());
    assert_eq!(made["metadata"]["namespace"], "batch");
    for labels in [&made["metadata"]["labels"], &made["spec"]["template"]["metadata"]["labels"]] {
        assert_eq!(labels, &json!({"app.kubernetes.io/managed-by": "millrace", "millrace.dev/dag": "hourly"}));
    }
    let pod = &made["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    let container = &pod["containers"][0];
    assert!(container.get("command").is_none(), "the image's own");
    assert_eq!(container["args"], json!(["--model=x"]));
    let secret = json!({"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password", "optional": false}}});
    assert_eq!(container["env"], json!([secret, {"name": "MILLRACE_TOKEN", "value": "41"}]));
    assert_eq!(container["resources"], json!({"limits": {"memory": "64Mi"}}));
    let context = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}});
    assert_eq!(container["securityContext"], context, "who it runs as is the image's affair");
    let someone = json_of(&Job { user: Some(1000), ..job() });
    let context = &someone["spec"]["template"]["spec"]["containers"][0]["securityContext"];
    assert_eq!((&context["runAsUser"], &context["runAsNonRoot"]), (&json!(1000), &json!(true)));
}

#[test]
fn only_spot_may_be_moved_to_save_money() {
    let said = |spot| json_of(&Job { spot, ..job() })["spec"]["template"]["metadata"]["annotations"].clone();
    let evict = "cluster-autoscaler.kubernetes.io/safe-to-evict";
    assert_eq!(said(true), json!({evict: "true"}));
    assert_eq!(said(false), json!({evict: "false", "karpenter.sh/do-not-disrupt": "true"}));
}

#[test]
fn shards_are_one_job_with_a_file_for_each_item() {
    let shards = Shards { items: vec!["\"a\"".to_owned(), "7".to_owned(), "{}".to_owned()], parallel: 50, retries: 2 };
    let sharded = Job { shards: Some(shards), ..job() };
    let made = json_of(&sharded);
    let spec = &made["spec"];
    assert_eq!((&spec["completionMode"], &spec["completions"]), (&json!("Indexed"), &json!(3)));
    assert_eq!((&spec["parallelism"], &spec["backoffLimitPerIndex"]), (&json!(3), &json!(2)));
    assert!(spec.get("backoffLimit").is_none() && spec.get("maxFailedIndexes").is_none());
    assert_eq!(spec["podFailurePolicy"]["rules"][0]["action"], "Ignore", "the others go on");
    let pod = &spec["template"]["spec"];
    assert_eq!(pod["volumes"][0]["configMap"]["name"], "hourly-r7-t0-n1-41");
    let mount = &pod["containers"][0]["volumeMounts"][0];
    assert_eq!((&mount["mountPath"], &mount["subPathExpr"]), (&json!("/millrace/item"), &json!("$(MILLRACE_ITEM)")));
    assert_eq!(pod["containers"][0]["env"][0]["name"], "MILLRACE_ITEM");

    let items = serde_json::to_value(config_map(&sharded, "u-1").unwrap()).unwrap();
    assert_eq!(items["data"], json!({"0": "\"a\"", "1": "7", "2": "{}"}));
    assert_eq!(items["metadata"]["ownerReferences"][0]["uid"], "u-1", "it goes with the Job");
    assert_eq!(config_map(&job(), "u-1"), None);
}

#[test]
fn of_many_shards_kubernetes_knows_how_many_may_fail() {
    let shards = Shards { items: vec![String::new(); 20_000], parallel: 90_000, retries: 0 };
    let spec = json_of(&Job { shards: Some(shards), ..job() })["spec"].clone();
    assert_eq!((&spec["parallelism"], &spec["maxFailedIndexes"]), (&json!(10_000), &json!(10_000)));
}
