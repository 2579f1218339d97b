//! Schedulers that are killed while they take messages: none is lost.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::Response,
};
use millrace_aws::Queue;
use millrace_scheduler::{state::RunState, store::RunId};
use millrace_testkit::{assert_eventually, queue};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    kill::Replica,
    world::{World, plan},
};

/// The visibility timeout: so long after a kill, what had only been received comes again.
const HIDDEN: Duration = Duration::from_secs(2);

/// A run of so many waits for messages of a queue.
async fn waits(world: &World, queue: &Queue, many: usize) -> RunId {
    let items: Vec<String> = (0..many).map(|item| item.to_string()).collect();
    let tasks = format!(
        "    m: {{forEach: {{in: [{}]}}, wait: {{message: {{queue: '{}'}}}}}}\n",
        items.join(", "),
        queue.url()
    );
    world.run(&plan("killed", &tasks), "r").await.unwrap()
}

/// The messages that a run was given.
async fn given(world: &World, run: RunId) -> BTreeSet<i64> {
    world.outputs(run).await.iter().filter_map(|output| output["body"].as_i64()).collect()
}

/// In the place of AWS: passes everything on but the word to delete a message, which it keeps to itself.
async fn deaf_to_deletes() -> String {
    async fn pass(State(client): State<reqwest::Client>, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let target = parts.headers.get("x-amz-target").and_then(|it| it.to_str().ok()).unwrap_or_default();
        if target.ends_with(".DeleteMessage") {
            std::future::pending::<()>().await;
        }
        let url = format!("{}{}", std::env::var("AWS_ENDPOINT_URL").unwrap(), parts.uri);
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let answer = client.request(parts.method, url).headers(parts.headers).body(body).send().await.unwrap();
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            response = response.header(name, value);
        }
        response.body(Body::from(answer.bytes().await.unwrap())).unwrap()
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(pass).with_state(reqwest::Client::new());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_and_not_deleted_is_given_to_the_same_attempt_by_whoever_takes_over() {
    const MANY: usize = 20;
    let (world, queue) = (World::new().await, queue("killed", Duration::from_mins(10)).await.unwrap());
    let folder = tempfile::tempdir().unwrap();
    let run = waits(&world, &queue, MANY).await;
    for number in 0..MANY {
        queue.send(&number.to_string()).await.unwrap();
    }
    let proxy = deaf_to_deletes().await;
    let mut first = Replica::start_with(&world, "first", folder.path(), &[("AWS_ENDPOINT_URL", &proxy)]);
    assert_eventually!(world.number("SELECT count(*) FROM scheduler.kept").await => MANY as i64, within: 60);
    first.kill();
    assert_eq!(queue.depth().await.unwrap().in_flight, MANY as u64, "none was deleted");
    let _second = Replica::start(&world, "second", folder.path());
    assert_eq!(world.ended(run).await.0, RunState::Succeeded);
    assert_eq!(given(&world, run).await, (0..MANY as i64).collect());
    let twice = "SELECT count(*) FROM scheduler.attempt WHERE attempt > 1";
    assert_eq!(world.number(twice).await, 0, "the same attempts");
    assert_eq!(queue.depth().await.unwrap(), millrace_aws::Depth::default(), "deleted by the second");
    queue.remove().await.unwrap();
    world.database.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_received_and_not_kept_comes_again() {
    const MANY: usize = 10;
    let (world, queue) = (World::new().await, queue("killed", HIDDEN).await.unwrap());
    let folder = tempfile::tempdir().unwrap();
    let run = waits(&world, &queue, MANY).await;
    let mut first = Replica::start(&world, "first", folder.path());
    assert_eventually!(world.number("SELECT count(*) FROM scheduler.launch WHERE item >= 0").await => MANY as i64, within: 30);
    // Nothing can be kept while this is held.
    let mut client = world.database.pool.get().await.unwrap();
    let held = client.transaction().await.unwrap();
    held.batch_execute("LOCK TABLE scheduler.kept IN EXCLUSIVE MODE").await.unwrap();
    for number in 0..MANY {
        queue.send(&number.to_string()).await.unwrap();
    }
    assert_eventually!(queue.depth().await.unwrap().visible => 0, within: 20);
    first.kill();
    held.rollback().await.unwrap();
    let _second = Replica::start(&world, "second", folder.path());
    assert_eq!(world.ended(run).await.0, RunState::Succeeded);
    assert_eq!(given(&world, run).await, (0..MANY as i64).collect());
    queue.remove().await.unwrap();
    drop(client);
    world.database.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_message_is_lost_whenever_schedulers_die() {
    const MANY: usize = 200;
    // Longer than a machine that has other things to do takes from a kill to the deletion of what was kept: a message that is
    // visible again before that is delivered a second time, and may be another wait's.
    const HIDDEN: Duration = Duration::from_secs(10);
    let (world, queue) = (World::new().await, queue("killed", HIDDEN).await.unwrap());
    let folder = tempfile::tempdir().unwrap();
    let run = waits(&world, &queue, MANY).await;
    let start = |name: &str| Replica::start(&world, name, Path::new(folder.path()));
    let (names, mut random) = (["a", "b"], StdRng::seed_from_u64(7));
    let mut replicas = names.map(start);
    let (began, mut sent, mut kills) = (Instant::now(), 0, 0);
    while world.store.run(run).await.unwrap().unwrap().state == RunState::Running {
        assert!(began.elapsed() < Duration::from_mins(5), "{} are missing", MANY - given(&world, run).await.len());
        for _ in 0..10.min(MANY - sent) {
            queue.send(&sent.to_string()).await.unwrap();
            sent += 1;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(50..500))).await;
        // Then they are left alone: what is hidden comes again.
        if kills < 20 {
            let which = random.random_range(0..2);
            replicas[which].kill();
            replicas[which] = start(names[which]);
            kills += 1;
        }
    }
    println!("{MANY} messages, {kills} kills, {:.1?}", began.elapsed());
    assert_eq!(world.ended(run).await.0, RunState::Succeeded);
    assert_eq!(given(&world, run).await, (0..MANY as i64).collect(), "each message was given to a wait");
    queue.remove().await.unwrap();
    drop(replicas);
    world.database.remove().await.unwrap();
}
