//! What the store promises.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use futures::future::join_all;
use millrace_scheduler::{
    state::{RunState, TaskState},
    store::{InstanceId, Key, Outcome, Report},
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde_json::json;

use crate::world::{World, plan};

const DIAMOND: &str = "    a: {noop: {}}\n    b: {needs: [a], noop: {}}\n    c: {needs: [a], noop: {}}\n    d: {needs: [b, c], noop: {}}\n";

fn succeeded(token: i64) -> Report {
    Report::new(token, Outcome::Succeeded(None))
}

#[tokio::test]
async fn a_run_goes_from_its_first_task_to_its_last() {
    let world = World::new().await;
    let plan = plan("diamond", DIAMOND);
    let run = world.run(&plan, "r").await.unwrap();
    let mut order = Vec::new();
    loop {
        let launches = world.store.claim(InstanceId(1), 10).await.unwrap();
        if launches.is_empty() {
            break;
        }
        order.push(launches.iter().map(|it| plan.graph.name(it.key.task as usize)).collect::<Vec<_>>());
        let reports: Vec<Report> = launches.iter().map(|it| succeeded(it.token)).collect();
        world.store.finish(&reports).await.unwrap();
    }
    assert_eq!(order, [vec!["a"], vec!["b", "c"], vec!["d"]]);
    let (state, tasks) = world.store.run_state(run).await.unwrap().unwrap();
    assert_eq!(state, RunState::Succeeded);
    assert!(tasks.iter().all(|(_, state)| *state == TaskState::Succeeded), "{tasks:?}");
    let left = "SELECT (SELECT count(*) FROM scheduler.task) + (SELECT count(*) FROM scheduler.launch)";
    assert_eq!(world.number(left).await, 0, "hot tables hold what lives");
    assert_eq!(world.number("SELECT count(*) FROM scheduler.attempt").await, 4);
    world.database.remove().await.unwrap();
}

#[tokio::test]
async fn a_run_is_there_once_for_its_key() {
    let world = World::new().await;
    let plan = plan("once", DIAMOND);
    let runs = (0..8).map(|_| world.run(&plan, "same"));
    let added: Vec<_> = join_all(runs).await;
    assert_eq!(added.iter().flatten().count(), 1, "{added:?}");
    assert_eq!(world.number("SELECT count(*) FROM scheduler.task").await, 4);
    world.database.remove().await.unwrap();
}

#[tokio::test]
async fn a_report_with_an_old_token_changes_nothing() {
    let world = World::new().await;
    let run = world.run(&plan("fenced", DIAMOND), "r").await.unwrap();
    let first = world.store.claim(InstanceId(1), 1).await.unwrap().remove(0);
    let lost = Outcome::Interrupted { error: "node drained".to_owned(), retry_after: Duration::ZERO };
    let finished = world.store.finish(&[Report::new(first.token, lost)]).await.unwrap();
    assert_eq!(finished.accepted[0].state, TaskState::Ready);

    let second = world.other_replica().claim(InstanceId(2), 1).await.unwrap().remove(0);
    assert_eq!((second.key, second.attempt, second.retries), (first.key, 2, 0), "an interruption does not count");
    assert!(second.token > first.token);
    let finished = world.store.finish(&[succeeded(first.token)]).await.unwrap();
    assert_eq!(finished.accepted, []);
    let (_, tasks) = world.store.run_state(run).await.unwrap().unwrap();
    assert_eq!(tasks[0].1, TaskState::Active, "it is the second attempt's to say");
    world.store.finish(&[succeeded(second.token)]).await.unwrap();
    assert_eq!(world.store.claim(InstanceId(2), 10).await.unwrap().len(), 2);
    world.database.remove().await.unwrap();
}

#[tokio::test]
async fn a_failure_is_tried_again_when_it_is_due_and_counts() {
    let world = World::new().await;
    let run = world.run(&plan("retried", DIAMOND), "r").await.unwrap();
    let first = world.store.claim(InstanceId(1), 1).await.unwrap().remove(0);
    let failed = |retry_after| Outcome::Failed { error: "exit code 1\0".to_owned(), retry_after };
    let again = Report::new(first.token, failed(Some(Duration::from_millis(300))));
    world.store.finish(&[again]).await.unwrap();
    assert_eq!(world.store.claim(InstanceId(1), 1).await.unwrap(), [], "not yet");
    tokio::time::sleep(Duration::from_millis(350)).await;
    let second = world.store.claim(InstanceId(1), 1).await.unwrap().remove(0);
    assert_eq!((second.attempt, second.retries), (2, 1));
    let finished = world.store.finish(&[Report::new(second.token, failed(None))]).await.unwrap();
    assert_eq!(finished.ended, [(run, RunState::Failed)]);
    let (_, tasks) = world.store.run_state(run).await.unwrap().unwrap();
    let states: Vec<TaskState> = tasks.into_iter().map(|(_, state)| state).collect();
    let after = TaskState::UpstreamFailed;
    assert_eq!(states, [TaskState::Failed, after, after, after]);
    world.database.remove().await.unwrap();
}

#[tokio::test]
async fn a_mapped_task_is_done_when_its_last_instance_is() {
    let world = World::new().await;
    let tasks = "    a: {noop: {}}\n    m: {needs: [a], forEach: {in: [1]}, noop: {}}\n    z: {needs: [m], when: all_done, noop: {}}\n";
    let run = world.run(&plan("mapped", tasks), "r").await.unwrap();
    let a = world.store.claim(InstanceId(1), 1).await.unwrap().remove(0);
    world.store.finish(&[succeeded(a.token)]).await.unwrap();
    let group = world.store.claim(InstanceId(1), 1).await.unwrap().remove(0);
    let items = (0..1_000).map(|item| json!({"n": item, "text": "what Postgres\0 cannot hold"})).collect();
    let finished = world.store.finish(&[Report::new(group.token, Outcome::Expanded(items))]).await.unwrap();
    assert_eq!(finished.ready, 1_000);
    let mut instances = world.store.claim(InstanceId(1), 2_000).await.unwrap();
    assert_eq!(instances.len(), 1_000);
    assert!(instances.iter().all(|it| it.value.as_ref().unwrap()["n"] == json!(it.key.item)));
    instances.shuffle(&mut StdRng::seed_from_u64(1));
    let last = instances.pop().unwrap();
    let reports: Vec<Report> = instances.iter().map(|it| succeeded(it.token)).collect();
    let finished = world.store.finish(&reports).await.unwrap();
    assert_eq!((finished.accepted.len(), finished.ready), (999, 0));
    let failed = Outcome::Failed { error: "one of a thousand".to_owned(), retry_after: None };
    let finished = world.store.finish(&[Report::new(last.token, failed)]).await.unwrap();
    assert_eq!(finished.ready, 1, "what waits for all of them can run");
    let z = world.store.claim(InstanceId(1), 1).await.unwrap().remove(0);
    world.store.finish(&[succeeded(z.token)]).await.unwrap();
    let (state, tasks) = world.store.run_state(run).await.unwrap().unwrap();
    assert_eq!((state, tasks[1].1), (RunState::Succeeded, TaskState::Failed));
    world.database.remove().await.unwrap();
}

/// Four replicas, three hundred runs of DAGs with branches, attempts that fail and are tried again: nobody is given what
/// another was given, and all of it comes to an end.
#[tokio::test(flavor = "multi_thread")]
async fn many_replicas_launch_each_attempt_once() {
    const RUNS: usize = 300;
    let world = World::new().await;
    let tasks: Vec<String> = (0..12)
        .map(|task| {
            let needs = [task / 2, task / 3].into_iter().filter(|&it| it < task).collect::<HashSet<_>>();
            let needs = needs.into_iter().map(|it| format!("t{it}")).collect::<Vec<_>>().join(", ");
            // Some begin while those that they wait for are not all done, and are counted in while they run.
            let when = if task % 3 == 2 { "one_success" } else { "all_success" };
            format!("    t{task}: {{needs: [{needs}], when: {when}, noop: {{}}}}\n")
        })
        .collect();
    let plan = plan("many", &tasks.concat());
    for run in 0..RUNS {
        world.run(&plan, &run.to_string()).await.unwrap();
    }
    let replica = |seed: u64| {
        let store = world.store.clone();
        tokio::spawn(async move {
            let mut random = StdRng::seed_from_u64(seed);
            let (mut launched, mut idle) = (Vec::new(), 0);
            while idle < 20 {
                let most = random.random_range(1..100);
                let mut launches = store.claim(InstanceId(seed as i64 + 1), most).await.unwrap();
                idle = if launches.is_empty() { idle + 1 } else { 0 };
                if launches.is_empty() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                launches.shuffle(&mut random);
                for part in launches.chunks(random.random_range(1..50)) {
                    let report = |token, chance: u32| match chance {
                        0..5 => {
                            let error = "by chance".to_owned();
                            Report::new(token, Outcome::Failed { error, retry_after: Some(Duration::ZERO) })
                        }
                        _ => succeeded(token),
                    };
                    let reports: Vec<Report> =
                        part.iter().map(|it| report(it.token, random.random_range(0..100))).collect();
                    assert_eq!(store.finish(&reports).await.unwrap().accepted.len(), part.len());
                }
                launched.extend(launches.into_iter().map(|it| (it.key, it.attempt, it.token)));
            }
            launched
        })
    };
    let replicas: Vec<_> = (1..=4).map(replica).collect();
    let mut attempts: HashMap<(Key, i32), i64> = HashMap::new();
    let mut total = 0;
    for replica in replicas {
        for (key, attempt, token) in replica.await.unwrap() {
            total += 1;
            assert_eq!(attempts.insert((key, attempt), token), None, "{key:?} attempt {attempt} launched twice");
        }
    }
    assert!(total > RUNS * 12, "some were tried again: {total}");
    let succeeded = "SELECT count(*) FROM scheduler.run WHERE state = 10 AND ended_at IS NOT NULL";
    assert_eq!(world.number(succeeded).await, RUNS as i64);
    assert_eq!(world.number("SELECT count(*) FROM scheduler.attempt").await, total as i64);
    assert_eq!(world.number("SELECT count(*) FROM scheduler.task_done WHERE state = 10").await, 12 * RUNS as i64);
    assert_eq!(world.number("SELECT count(*) FROM scheduler.launch").await, 0);
    world.database.remove().await.unwrap();
}
