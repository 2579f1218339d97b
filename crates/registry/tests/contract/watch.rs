use std::{sync::Arc, time::Duration};

use millrace_proto::registry::v1::{ChangeKind, Compatibility, WatchRequest, WatchResponse};
use serde_json::Value;
use tokio::{task::JoinSet, time::timeout};
use tonic::Streaming;

use crate::support::{Replica, UID, database, record};

const PATIENCE: Duration = Duration::from_secs(20);

async fn watch(replica: &Replica, after_revision: u64) -> Streaming<WatchResponse> {
    let request = WatchRequest { after_revision, subject_prefix: String::new() };
    replica.grpc().await.watch(request).await.unwrap().into_inner()
}

async fn next(changes: &mut Streaming<WatchResponse>) -> WatchResponse {
    timeout(PATIENCE, changes.message()).await.expect("a change in time").unwrap().expect("the stream goes on")
}

async fn nothing_more(changes: &mut Streaming<WatchResponse>) {
    let more = timeout(Duration::from_millis(300), changes.message()).await;
    assert!(more.is_err(), "{more:?}");
}

fn field(name: &str) -> String {
    record(&[UID, &format!(r#"{{"name":"{name}","type":"int","default":0}}"#)])
}

fn place(change: &WatchResponse) -> (ChangeKind, &str, u32) {
    let schema = change.schema.as_ref().unwrap();
    (change.kind(), &schema.subject, schema.version)
}

#[tokio::test]
async fn a_watcher_resumes_at_another_replica_after_its_own_was_killed() {
    let database = database().await;
    let (first, second) = (Replica::start(&database), Replica::start(&database));
    let mut changes = watch(&first, 0).await;
    // What happens at one replica is told by the other, at once.
    let registered = second.register("w", &record(&[UID])).await;
    let seen = next(&mut changes).await;
    assert_eq!(place(&seen), (ChangeKind::Registered, "w", 1));
    assert_eq!(Value::from(seen.schema.as_ref().unwrap().guid.as_str()), registered["guid"]);

    first.kill();
    let broken = timeout(PATIENCE, changes.message()).await.unwrap();
    assert!(!matches!(broken, Ok(Some(_))), "{broken:?}");
    second.set_level("w", "NONE").await;
    second.register("w", &field("a")).await;
    second.call("DELETE", "/subjects/w/versions/1", None).await;

    let mut changes = watch(&second, seen.revision).await;
    let configured = next(&mut changes).await;
    assert_eq!(place(&configured), (ChangeKind::Configured, "w", 0));
    assert_eq!(configured.compatibility(), Compatibility::None);
    assert_eq!(place(&next(&mut changes).await), (ChangeKind::Registered, "w", 2));
    assert_eq!(place(&next(&mut changes).await), (ChangeKind::Deleted, "w", 1));
    nothing_more(&mut changes).await;

    // From now on: nothing of the past.
    let mut fresh = watch(&second, u64::MAX).await;
    nothing_more(&mut fresh).await;
    second.register("w", &field("b")).await;
    assert_eq!(place(&next(&mut fresh).await), (ChangeKind::Registered, "w", 3));
    drop(second);
    database.remove().await.unwrap();
}

#[tokio::test]
async fn watchers_see_every_change_once_and_in_order_however_many_write() {
    const CHANGES: usize = 120;
    let database = database().await;
    let replicas = Arc::new([Replica::start(&database), Replica::start(&database)]);
    let mut streams = [watch(&replicas[0], 0).await, watch(&replicas[1], 0).await];
    let mut writers = JoinSet::new();
    for n in 0..CHANGES {
        let replicas = Arc::clone(&replicas);
        writers.spawn(async move { replicas[n % 2].register(&format!("subject-{n}"), &field(&format!("f{n}"))).await });
    }
    for stream in &mut streams {
        for expected in 1..=CHANGES as u64 {
            assert_eq!(next(stream).await.revision, expected);
        }
        nothing_more(stream).await;
    }
    writers.join_all().await;
    drop(replicas);
    database.remove().await.unwrap();
}

#[tokio::test]
async fn a_watcher_misses_nothing_when_the_listening_connection_is_lost() {
    let database = database().await;
    let replica = Replica::start(&database);
    let mut changes = watch(&replica, 0).await;
    replica.register("l", &field("a")).await;
    next(&mut changes).await;
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()";
    database.pool.get().await.unwrap().batch_execute(cut).await.unwrap();
    // The first requests after that may meet dead connections.
    for attempt in 0.. {
        let (status, body) = replica.try_register("l", &field("b")).await;
        if status == 200 {
            break;
        }
        assert!(attempt < 20 && status == 500, "{status} {body}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(place(&next(&mut changes).await), (ChangeKind::Registered, "l", 2));
    drop(replica);
    database.remove().await.unwrap();
}
