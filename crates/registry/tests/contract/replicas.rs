use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Replica, UID, database, record};

#[tokio::test]
async fn concurrent_registrations_of_one_schema_give_one_id_and_one_version() {
    let database = database().await;
    let replicas = Arc::new([Replica::start(&database), Replica::start(&database)]);
    let mut tasks = JoinSet::new();
    for n in 0..48 {
        let replicas = Arc::clone(&replicas);
        tasks.spawn(async move { replicas[n % 2].register("one-value", &record(&[UID])).await });
    }
    let answers: BTreeSet<String> = tasks.join_all().await.iter().map(Value::to_string).collect();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(replicas[0].get("/subjects/one-value/versions").await.1, json!([1]));
    drop(replicas);
    database.remove().await.unwrap();
}

#[tokio::test]
async fn concurrent_registrations_of_different_schemas_leave_no_hole_and_no_double() {
    const SCHEMAS: usize = 40;
    let database = database().await;
    let replicas = Arc::new([Replica::start(&database), Replica::start(&database)]);
    replicas[0].set_level("many-value", "NONE").await;
    let mut tasks = JoinSet::new();
    for n in 0..SCHEMAS * 2 {
        let replicas = Arc::clone(&replicas);
        // Each schema comes to both replicas.
        let schema = record(&[&format!(r#"{{"name":"field_{}","type":"string"}}"#, n / 2)]);
        tasks.spawn(async move { replicas[n % 2].register("many-value", &schema).await });
    }
    let answers = tasks.join_all().await;
    let pairs: BTreeSet<(u64, u64)> =
        answers.iter().map(|answer| (answer["version"].as_u64().unwrap(), answer["id"].as_u64().unwrap())).collect();
    assert_eq!(pairs.len(), SCHEMAS, "each schema has one id and one version on both replicas");
    let versions: Vec<u64> = pairs.iter().map(|pair| pair.0).collect();
    assert_eq!(versions, (1..=SCHEMAS as u64).collect::<Vec<_>>());
    let ids: BTreeSet<u64> = pairs.iter().map(|pair| pair.1).collect();
    assert_eq!(ids.len(), SCHEMAS);
    drop(replicas);
    database.remove().await.unwrap();
}

#[tokio::test]
async fn one_content_has_one_id_in_all_subjects() {
    let database = database().await;
    let replicas = Arc::new([Replica::start(&database), Replica::start(&database)]);
    let mut tasks = JoinSet::new();
    for n in 0..20 {
        let replicas = Arc::clone(&replicas);
        tasks.spawn(async move { replicas[n % 2].register(&format!("subject-{n:02}"), &record(&[UID])).await });
    }
    let ids: BTreeSet<u64> = tasks.join_all().await.iter().map(|answer| answer["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let id = ids.first().unwrap();
    let (_, subjects) = replicas[0].get(&format!("/schemas/ids/{id}/subjects?offset=18")).await;
    assert_eq!(subjects, json!(["subject-18", "subject-19"]));
    drop(replicas);
    database.remove().await.unwrap();
}

#[tokio::test]
async fn a_replica_killed_while_it_registers_leaves_no_hole_and_no_lock() {
    let database = database().await;
    let survivor = Arc::new(Replica::start(&database));
    survivor.set_level("kill-value", "NONE").await;
    for round in 0..3 {
        let victim = Replica::start(&database);
        let url = format!("{}/subjects/kill-value/versions", victim.http);
        let client = reqwest::Client::new();
        let mut lost = JoinSet::new();
        for n in 0..30 {
            let schema = record(&[&format!(r#"{{"name":"round_{round}_{n}","type":"string"}}"#)]);
            lost.spawn(client.post(&url).json(&json!({"schema": schema})).send());
        }
        tokio::time::sleep(Duration::from_millis(20 + 30 * round)).await; // somewhere in the middle
        victim.kill();
        lost.join_all().await;
        // What was in the air is asked for again at the other replica, as a client would.
        for n in 0..30 {
            let schema = record(&[&format!(r#"{{"name":"round_{round}_{n}","type":"string"}}"#)]);
            survivor.register("kill-value", &schema).await;
        }
    }
    let (_, versions) = survivor.get("/subjects/kill-value/versions").await;
    assert_eq!(versions, json!((1..=90).collect::<Vec<_>>()));
    drop(survivor);
    database.remove().await.unwrap();
}
