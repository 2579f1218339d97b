//! Our own client (`schema::client`) against our own registry.

use std::time::{Duration, Instant};

use millrace_schema::{
    Schema,
    client::{Args, Client, Error},
    compatibility::Level,
    framing::SchemaRef,
};

use crate::support::{Replica, UID, database, record};

fn schema(fields: &[&str]) -> Schema {
    Schema::parse(&record(fields)).unwrap()
}

#[tokio::test]
async fn what_is_registered_is_found_by_every_name() {
    let database = database().await;
    let replica = Replica::start(&database);
    let client = Client::new(&Args::from_url(&replica.http)).unwrap();
    let mail = schema(&[UID]);
    assert!(client.lookup("c/value", &mail).await.unwrap().is_none());
    let registered = client.register("c/value", &mail).await.unwrap();
    assert_eq!((registered.version, registered.guid), (Some(1), mail.guid()));
    let by_id = client.by_ref(SchemaRef::Id(registered.id)).await.unwrap();
    let by_guid =
        Client::new(&Args::from_url(&replica.http)).unwrap().by_ref(SchemaRef::Guid(mail.guid())).await.unwrap();
    assert_eq!((by_id.guid, by_guid.id), (mail.guid(), registered.id));
    assert_eq!(client.latest("c/value").await.unwrap().id, registered.id);
    assert_eq!(client.version("c/value", 1).await.unwrap().subject.as_deref(), Some("c/value"));
    assert_eq!(client.lookup("c/value", &mail).await.unwrap().unwrap().id, registered.id);

    let count = r#"{"name":"url_count","type":"long"}"#;
    let refused = client.register("c/value", &schema(&[UID, count])).await.unwrap_err();
    assert!(matches!(&refused, Error::Incompatible(message) if message.contains("url_count")), "{refused}");
    client.set_compatibility("c/value", Level::None).await.unwrap();
    assert_eq!(client.register("c/value", &schema(&[UID, count])).await.unwrap().version, Some(2));
    assert!(matches!(client.by_ref(SchemaRef::Id(999_999)).await, Err(Error::NotFound(_))));
    assert!(matches!(client.latest("nobody").await, Err(Error::NotFound(_))));
    drop(replica);
    database.remove().await.unwrap();
}

#[tokio::test]
async fn a_registry_that_is_away_is_unavailable_and_what_is_known_goes_on() {
    let database = database().await;
    let replica = Replica::start(&database);
    let client = Client::new(&Args::from_url(&replica.http)).unwrap();
    let registered = client.register("away", &schema(&[UID])).await.unwrap();
    client.latest("away").await.unwrap();
    replica.kill();
    assert_eq!(client.by_ref(SchemaRef::Id(registered.id)).await.unwrap().id, registered.id);
    tokio::time::sleep(Duration::from_millis(5_200)).await; // beyond the life of `latest`
    assert_eq!(client.latest("away").await.unwrap().id, registered.id);
    let unknown = client.by_ref(SchemaRef::Id(registered.id + 1)).await.unwrap_err();
    assert!(unknown.is_retriable(), "{unknown}");
    database.remove().await.unwrap();
}

#[tokio::test]
async fn a_watching_client_knows_the_newest_version_without_asking() {
    let database = database().await;
    let (first, second) = (Replica::start(&database), Replica::start(&database));
    let client = Client::new(&Args::from_url(&first.http).with_grpc(&first.grpc)).unwrap();
    client.register("news", &schema(&[UID])).await.unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while !client.is_watching() {
        assert!(Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(client.latest("news").await.unwrap().version, Some(1));
    second.register("news", &record(&[UID, r#"{"name":"n","type":"int","default":0}"#])).await;
    let told = Instant::now();
    while client.latest("news").await.unwrap().version != Some(2) {
        assert!(told.elapsed() < Duration::from_secs(4), "sooner than `latest` expires");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop((first, second));
    database.remove().await.unwrap();
}
