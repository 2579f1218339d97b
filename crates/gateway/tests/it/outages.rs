//! Kafka away, the registry away, and the end.

use std::time::{Duration, Instant};

use millrace_core::Span;
use millrace_gateway::{Limits, Settings};
use millrace_proto::gateway::v1::{EventStatus, PublishResponse, PublishStreamRequest};
use prost::Message;
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::pb;

use crate::{
    grpc::{batch, event},
    limits::slow_body,
    support::{Gateway, V2, World, authorized, kafka_client},
};

/// A gateway whose brokers nobody is.
async fn without_kafka(world: &World, publish_timeout: Span) -> (Gateway, String) {
    let settings = Settings {
        kafka: kafka_client("127.0.0.1:1"),
        ..world.settings(Limits { publish_timeout, ..Limits::default() })
    };
    let gateway = Gateway::start(settings).await;
    let key = world.key(&gateway).await;
    (gateway, key)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_kafka_http_gets_503_in_bounded_time_with_every_id() {
    let world = World::new().await;
    let (gateway, key) = without_kafka(&world, Span::seconds(2)).await;
    let events = json!([{"uid": "1", "url_count": 1}, {"url_count": 1}, {"uid": "bad"}]);
    let begun = Instant::now();
    let response = gateway.post(&world.pipeline, &key).json(&events).send().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["code"], "UNAVAILABLE");
    let statuses: Vec<_> = body["results"].as_array().unwrap().iter().map(|result| &result["status"]).collect();
    assert_eq!(statuses, ["unknown", "unknown", "rejected"]);
    assert_eq!(body["results"][0]["event_id"], "1");
    assert_eq!(body["results"][0]["code"], "UNAVAILABLE");
    body["results"][1]["event_id"].as_str().unwrap().parse::<uuid::Uuid>().unwrap();
    // What was wrong with an event is known without Kafka, and a batch of such events needs none.
    let response = gateway.post(&world.pipeline, &key).json(&json!([{"uid": "bad"}])).send().await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_kafka_grpc_gets_unavailable_with_when_to_retry_and_every_id() {
    let world = World::new().await;
    let (gateway, key) = without_kafka(&world, Span::seconds(2)).await;
    let minted = millrace_proto::gateway::v1::Event { event_id: String::new(), ..event("2") };
    let refused =
        gateway.events().publish(authorized(batch(&world, vec![event("1"), minted]), &key)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    let details = pb::Status::decode(refused.details()).unwrap().details;
    let retry = pb::RetryInfo::decode(&details[0].value[..]).unwrap().retry_delay.unwrap();
    assert_eq!(retry.seconds, 1);
    let results = PublishResponse::decode(&details[1].value[..]).unwrap().results;
    assert_eq!(results.iter().map(|result| &*result.event_id).collect::<Vec<_>>(), ["1", "2"]);
    assert!(results.iter().all(|result| result.status() == EventStatus::Unknown && result.code == "UNAVAILABLE"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_kafka_a_stream_goes_on_and_says_unknown() {
    let world = World::new().await;
    let (gateway, key) = without_kafka(&world, Span::seconds(1)).await;
    let requests = (0..3).map(|i| batch(&world, vec![event(&i.to_string())]));
    let requests: Vec<_> = requests.map(|batch| PublishStreamRequest { batch: Some(batch) }).collect();
    let requests = authorized(futures::stream::iter(requests), &key);
    let mut answers = gateway.events().publish_stream(requests).await.unwrap().into_inner();
    for i in 0..3 {
        let results = answers.message().await.unwrap().unwrap().results;
        assert_eq!((results[0].status(), &*results[0].event_id), (EventStatus::Unknown, &*i.to_string()));
    }
    assert!(answers.message().await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_deadline_is_kept_and_it_still_gets_the_ids() {
    let world = World::new().await;
    let (gateway, key) = without_kafka(&world, Span::seconds(10)).await;
    let mut request = authorized(batch(&world, vec![event("1")]), &key);
    request.set_timeout(Duration::from_secs(1));
    let begun = Instant::now();
    let refused = gateway.events().publish(request).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(pb::Status::decode(refused.details()).unwrap().details.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_registry_is_away_known_schemas_go_on_and_others_get_503() {
    let world = World::new().await;
    world.registry.register(&world.subject(), V2);
    let gateway = world.gateway().await;
    let key = world.key(&gateway).await;
    let post = async |version: &str| {
        let request = gateway.post(&world.pipeline, &key).json(&json!({"uid": version, "url_count": 1}));
        let response = request.header("Millrace-Schema-Version", version).send().await.unwrap();
        (response.status().as_u16(), response.headers().get("retry-after").is_some())
    };
    assert_eq!(post("latest").await, (200, false));
    world.registry.set_away(true);
    tokio::time::sleep(Duration::from_millis(5500)).await; // longer than the latest version counts as such
    assert_eq!(post("latest").await, (200, false));
    assert_eq!(post("1").await, (503, true));
    let known = millrace_proto::gateway::v1::PublishRequest {
        schema: Some(millrace_proto::gateway::v1::SchemaRef {
            r#ref: Some(millrace_proto::gateway::v1::schema_ref::Ref::Id(2)),
        }),
        events: vec![millrace_proto::gateway::v1::Event {
            payload: Some(millrace_proto::gateway::v1::event::Payload::Json("{\"url_count\": 1}".into())),
            ..Default::default()
        }],
        ..batch(&world, vec![])
    };
    gateway.events().publish(authorized(known, &key)).await.unwrap();
    world.registry.set_away(false);
    assert_eq!(post("1").await, (200, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_has_begun_is_finished_when_the_gateway_stops() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let key = world.key(&gateway).await;
    let (open, body) = slow_body();
    let begun = tokio::spawn(gateway.post(&world.pipeline, &key).body(body).send());
    open.send(Ok("{\"uid\": \"1\", ".to_owned())).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    gateway.stop();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let late = gateway.post(&world.pipeline, &key).json(&json!({"uid": "2", "url_count": 1})).send().await;
    assert!(late.is_err(), "a stopping gateway takes no new connections");
    open.send(Ok("\"url_count\": 1}".to_owned())).await.unwrap();
    drop(open);
    let response = begun.await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    gateway.stopped().await;
    assert_eq!(world.event_ids().await, ["1"]);
}
