use serde_json::json;

use super::*;

fn failed(reason: &str) -> State {
    let finish = Finish::Failed { reason: reason.to_owned(), message: "Job has failed".to_owned() };
    State { finish: Some(finish), failed_shards: "1,3-5".to_owned(), ..State::default() }
}

fn complete() -> State {
    State { finish: Some(Finish::Complete), ..State::default() }
}

fn pod(succeeded: bool, code: i32, reason: &str, message: &str) -> Pod {
    let exit = Exit { code, reason: reason.to_owned(), message: message.to_owned() };
    Pod { name: "p".to_owned(), succeeded: Some(succeeded), exit: Some(exit), ..Pod::default() }
}

fn left(shards: Option<usize>, pods: impl IntoIterator<Item = Pod>) -> Left {
    let mut left = Left::new(shards);
    for pod in pods {
        left.add(pod);
    }
    left
}

fn failure(end: End) -> Failure {
    let End::Failed(failure) = end else { panic!("not a failure: {end:?}") };
    failure
}

#[test]
fn an_output_is_json_or_else_text_and_never_a_part_of_one() {
    let of = |message: &str| end(&complete(), &left(None, [pod(true, 0, "Completed", message)]));
    assert_eq!(of("{\"rows\": 7}\n"), End::Succeeded(Some(json!({"rows": 7}))));
    assert_eq!(of("7 rows\n"), End::Succeeded(Some(json!("7 rows"))));
    assert_eq!(of(""), End::Succeeded(None));
    let cut = failure(of(&"1".repeat(MAX_MESSAGE)));
    assert!(cut.permanent && cut.message.contains("object storage"), "{cut:?}");
    assert!(
        matches!(end(&complete(), &left(None, [])), End::Interrupted(_)),
        "whoever needs its output waits for another"
    );
}

#[test]
fn a_failure_says_what_kubernetes_says() {
    let of = |pod: Pod| failure(end(&failed("BackoffLimitExceeded"), &left(None, [pod])));
    let plain = of(pod(false, 42, "Error", "no such table"));
    assert_eq!((plain.exit_code, plain.code.as_str(), plain.permanent), (Some(42), "", false));
    assert_eq!(plain.message, "ended with exit code 42: no such table");
    let memory = of(pod(false, 137, "OOMKilled", ""));
    assert!(memory.code == "OOMKilled" && memory.message.contains("resources.limits.memory"), "{memory:?}");
    let missing = of(pod(false, 128, "StartError", "exec: \"/nope\": no such file"));
    assert!(missing.code == "StartError" && missing.message.contains("/nope"), "{missing:?}");
    assert_eq!(failure(end(&failed("DeadlineExceeded"), &left(None, []))).code, "TIMEOUT");
}

#[test]
fn what_is_not_the_fault_of_a_task_is_an_interruption() {
    let of = |pod: Pod| end(&failed("PodFailurePolicy"), &left(None, [pod]));
    let drained =
        of(Pod { disturbed: Some("EvictionByEvictionAPI: evicting".to_owned()), ..pod(false, 143, "Error", "") });
    assert_eq!(drained, End::Interrupted("pod p: EvictionByEvictionAPI: evicting".to_owned()));
    for other in [
        Pod { deleted: true, ..pod(false, 143, "Error", "") },
        Pod { exit: None, reason: "OutOfcpu".to_owned(), ..pod(false, 0, "", "") },
        pod(false, 137, "ContainerStatusUnknown", ""),
    ] {
        assert!(matches!(of(other.clone()), End::Interrupted(_)), "{other:?}");
    }
    assert!(matches!(end(&failed("BackoffLimitExceeded"), &left(None, [])), End::Interrupted(_)), "its pod is gone");
    let last = Pod { deleted: true, ..pod(false, 143, "Error", "") };
    let seen = left(None, []).or_last(Some(last));
    assert_eq!(end(&failed("BackoffLimitExceeded"), &seen), End::Interrupted("pod p was deleted".to_owned()));
}

#[test]
fn shards_leave_a_list_in_the_order_of_their_items() {
    let shard = |number, pod: Pod| Pod { shard: Some(number), ..pod };
    let pods = [
        shard(2, pod(true, 0, "Completed", "\"c\"")),
        shard(0, pod(false, 1, "Error", "")),
        shard(0, pod(true, 0, "Completed", "\"a\"")),
        shard(1, pod(true, 0, "Completed", "")),
    ];
    assert_eq!(end(&complete(), &left(Some(3), pods.clone())), End::Succeeded(Some(json!(["a", null, "c"]))));
    assert!(matches!(end(&complete(), &left(Some(4), pods)), End::Interrupted(_)), "one is gone");

    let pods = (0..20).map(|it| shard(it, pod(it % 4 != 1, if it % 4 == 1 { 3 } else { 0 }, "Error", "")));
    let failure = failure(end(&failed("FailedIndexes"), &left(Some(20), pods)));
    assert!(failure.permanent, "Kubernetes has tried again");
    assert_eq!((failure.code.as_str(), failure.exit_code), ("FailedIndexes", Some(3)));
    assert_eq!(failure.message, "shards have failed: 1,3-5; shard 1: ended with exit code 3");
}

#[test]
fn what_shards_leave_is_bounded_together() {
    let mut left = Left::new(Some(1_000));
    let taken =
        (0..1_000).take_while(|it| left.add(Pod { shard: Some(*it), ..pod(true, 0, "Completed", &"x".repeat(4_000)) }));
    assert!(taken.count() < 300);
    assert!(failure(end(&complete(), &left)).message.contains("object storage"));
    assert_eq!(left.telling().len(), TELLING);
}

#[test]
fn a_note_on_a_job_is_read_again() {
    let problem = Problem { reason: "ImagePullBackOff".to_owned(), message: "not found".to_owned() };
    let failure = never_ran(&problem);
    assert_eq!(failure.message, "its image cannot be had: ImagePullBackOff: not found");
    assert_eq!(read_note(&noted(&failure)), Some(failure));
    assert_eq!(read_note("?"), None);
}
