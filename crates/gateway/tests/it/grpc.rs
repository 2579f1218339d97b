//! `EventService` and `KeyService`.

use std::time::Duration;

use futures::{StreamExt, stream};
use millrace_gateway::Limits;
use millrace_proto::gateway::v1::{
    CreateKeyRequest, Event, EventResult, EventStatus, ListKeysRequest, PublishRequest, PublishStreamRequest,
    RevokeKeyRequest, SchemaRef, event::Payload, schema_ref::Ref,
};
use millrace_schema::Schema;
use serde_json::{Value, json};
use tonic::{Code, Status, codec::CompressionEncoding};

use crate::support::{ADMIN_TOKEN, Gateway, V1, World, authorized, avro, key_id};

/// One Avro event of [`V1`].
pub(crate) fn event(id: &str) -> Event {
    avro_event(&json!({"uid": id, "org": "acme", "url_count": 1}))
}

fn avro_event(json: &Value) -> Event {
    Event { payload: Some(Payload::Avro(avro::datum(V1, json).into())), ..Event::default() }
}

/// A batch in the schema with that id.
pub(crate) fn batch(world: &World, events: Vec<Event>) -> PublishRequest {
    PublishRequest { pipeline: world.pipeline.clone(), schema: Some(schema(Ref::Id(1))), events }
}

fn schema(name: Ref) -> SchemaRef {
    SchemaRef { r#ref: Some(name) }
}

async fn publish(gateway: &Gateway, key: &str, request: PublishRequest) -> Result<Vec<EventResult>, Status> {
    gateway.events().publish(authorized(request, key)).await.map(|response| response.into_inner().results)
}

fn statuses(results: &[EventResult]) -> Vec<EventStatus> {
    results.iter().map(EventResult::status).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn avro_is_taken_by_id_guid_and_version_and_needs_one_of_them() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let key = world.key(&gateway).await;
    let guid = Schema::parse(V1).unwrap().guid().to_string();
    for (i, name) in [Ref::Id(1), Ref::Guid(guid), Ref::Version(1)].into_iter().enumerate() {
        let request = PublishRequest { schema: Some(schema(name)), ..batch(&world, vec![event(&i.to_string())]) };
        let results = publish(&gateway, &key, request).await.unwrap();
        assert_eq!(results[0].event_id, i.to_string());
        assert_eq!(statuses(&results), [EventStatus::Accepted]);
    }
    assert_eq!(world.event_ids().await, ["0", "1", "2"]);
    let values: Vec<_> = world.records().await.into_iter().map(|record| record.value.unwrap()[..5].to_vec()).collect();
    assert!(values.iter().all(|prefix| prefix == &[0, 0, 0, 0, 1]), "{values:?}");

    let unnamed = PublishRequest { schema: None, ..batch(&world, vec![event("3")]) };
    assert_eq!(publish(&gateway, &key, unnamed).await.unwrap_err().code(), Code::InvalidArgument);
    for name in [Ref::Id(99), Ref::Version(9), Ref::Guid(uuid::Uuid::nil().to_string()), Ref::Guid("x".to_owned())] {
        let unknown = PublishRequest { schema: Some(schema(name)), ..batch(&world, vec![event("3")]) };
        assert_eq!(publish(&gateway, &key, unknown).await.unwrap_err().code(), Code::InvalidArgument);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_another_subject_is_refused() {
    let world = World::new().await;
    let id = world.registry.register("another-subject", &V1.replace("Visit", "Other"));
    let gateway = world.gateway().await;
    let key = world.key(&gateway).await;
    let request = PublishRequest { schema: Some(schema(Ref::Id(id))), ..batch(&world, vec![event("1")]) };
    let refused = publish(&gateway, &key, request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains(&world.subject()), "{refused}");
    assert!(refused.message().contains("millrace publish --register"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_bytes_are_rejected_one_by_one() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let key = world.key(&gateway).await;
    let good = avro::datum(V1, &json!({"uid": "good", "url_count": 1}));
    let with = |bytes: Vec<u8>| Event { payload: Some(Payload::Avro(bytes.into())), ..Event::default() };
    let json = |text: &str| Event { payload: Some(Payload::Json(text.to_owned().into())), ..Event::default() };
    let events = vec![
        with(good.clone()),
        with(good[..good.len() - 2].to_vec()), // cut short
        with([&good[..], &[0]].concat()),      // something behind it
        with(vec![9]),                         // a union has no fifth branch
        Event::default(),
        json("{\"uid\": \"json\", \"url_count\": {\"long\": 1}}"),
        json("{\"uid\": \"json\", \"url_count\": 1}"),
        Event { event_id: "a\nb".to_owned(), ..with(good.clone()) },
        Event { correlation_id: "x".repeat(300), ..with(good.clone()) },
        Event { event_id: "own".to_owned(), correlation_id: "corr".to_owned(), ..with(good) },
    ];
    let results = publish(&gateway, &key, batch(&world, events)).await.unwrap();
    let accepted: Vec<_> = results.iter().map(|result| result.status() == EventStatus::Accepted).collect();
    assert_eq!(accepted, [true, false, false, false, false, false, true, false, false, true]);
    for rejected in results.iter().filter(|result| result.status() == EventStatus::Rejected) {
        assert_eq!(rejected.code, "INVALID_EVENT");
        assert!(!rejected.message.is_empty() && !rejected.correlation_id.is_empty(), "{rejected:?}");
    }
    assert_eq!((&*results[9].event_id, &*results[9].correlation_id), ("own", "corr"));
    assert_eq!(world.event_ids().await, ["good", "json", "own"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn order_is_kept_per_key_and_answers_come_in_the_order_of_the_batches() {
    let world = World::new().await;
    let gateway = world.gateway_with(Limits { stream_window: 3, ..Limits::default() }).await;
    let key = world.key(&gateway).await;
    let batches: Vec<_> = (0..50).map(|i| vec![event(&format!("{i}-a")), event(&format!("{i}-b"))]).collect();
    let requests: Vec<_> =
        batches.into_iter().map(|events| PublishStreamRequest { batch: Some(batch(&world, events)) }).collect();
    let mut answers =
        gateway.events().publish_stream(authorized(stream::iter(requests), &key)).await.unwrap().into_inner();
    for i in 0..50 {
        let results = answers.message().await.unwrap().unwrap().results;
        assert_eq!(statuses(&results), [EventStatus::Accepted, EventStatus::Accepted]);
        assert_eq!(results.iter().map(|r| &*r.event_id).collect::<Vec<_>>(), [format!("{i}-a"), format!("{i}-b")]);
    }
    assert!(answers.message().await.unwrap().is_none());
    let in_kafka: Vec<_> =
        world.records().await.iter().map(|record| record.headers.text("event-id").unwrap().to_owned()).collect();
    let sent: Vec<_> = (0..50).flat_map(|i| [format!("{i}-a"), format!("{i}-b")]).collect();
    assert_eq!(in_kafka, sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_read_only_as_far_as_the_window_goes() {
    let world = World::new().await;
    let settings = millrace_gateway::Settings {
        kafka: crate::support::kafka_client("127.0.0.1:1"), // nobody answers there
        ..world.settings(Limits { stream_window: 2, ..Limits::default() })
    };
    let gateway = Gateway::start(settings).await;
    let key = world.key(&gateway).await;
    let taken = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&taken);
    // As large as HTTP/2's window, so that not even two fit into what the transport may hold.
    let large = avro_event(&json!({"uid": "1", "url_count": 1, "body": "A".repeat(1 << 20)}));
    let request = PublishStreamRequest { batch: Some(batch(&world, vec![large; 2])) };
    let requests = stream::repeat(request).inspect(move |_| {
        counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    let mut events = gateway.events();
    let call = tokio::spawn(async move {
        let mut answers = events.publish_stream(authorized(requests, &key)).await.unwrap().into_inner();
        answers.message().await
    });
    tokio::time::sleep(Duration::from_secs(3)).await;
    let taken = taken.load(std::sync::atomic::Ordering::Relaxed);
    assert!((2..12).contains(&taken), "{taken} batches were taken");
    call.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_refused_ends_its_stream_after_the_answers_before_it() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let key = world.key(&gateway).await;
    let wrong = PublishRequest { pipeline: "no-such".to_owned(), ..batch(&world, vec![event("2")]) };
    let requests = [batch(&world, vec![event("1")]), wrong, batch(&world, vec![event("3")])]
        .map(|batch| PublishStreamRequest { batch: Some(batch) });
    let mut answers =
        gateway.events().publish_stream(authorized(stream::iter(requests), &key)).await.unwrap().into_inner();
    assert_eq!(statuses(&answers.message().await.unwrap().unwrap().results), [EventStatus::Accepted]);
    assert_eq!(answers.message().await.unwrap_err().code(), Code::NotFound);
    assert_eq!(world.event_ids().await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_ends_its_open_streams() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let key = world.key(&gateway).await;
    let (sender, receiver) = futures::channel::mpsc::unbounded();
    let send = |id: &str| {
        let request = PublishStreamRequest { batch: Some(batch(&world, vec![event(id)])) };
        sender.unbounded_send(request).unwrap();
    };
    send("1");
    let mut answers = gateway.events().publish_stream(authorized(receiver, &key)).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
    gateway.keys().revoke_key(authorized(RevokeKeyRequest { id: key_id(&key) }, ADMIN_TOKEN)).await.unwrap();
    send("2");
    assert_eq!(answers.message().await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(world.event_ids().await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_gateway_answers_what_it_has_read_and_ends_streams() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let key = world.key(&gateway).await;
    let requests = stream::iter([PublishStreamRequest { batch: Some(batch(&world, vec![event("1")])) }]);
    let requests = requests.chain(stream::pending());
    let mut answers = gateway.events().publish_stream(authorized(requests, &key)).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
    gateway.stop();
    assert_eq!(answers.message().await.unwrap_err().code(), Code::Unavailable);
    gateway.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_a_key_is_refused_before_its_message_is_read() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let key = world.key(&gateway).await;
    let refused = gateway.events().publish(batch(&world, vec![event("1")])).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let other = gateway.make_key(&["another"]).await;
    let hidden = publish(&gateway, &other, batch(&world, vec![event("1")])).await.unwrap_err();
    let missing = PublishRequest { pipeline: "no-such".to_owned(), ..batch(&world, vec![]) };
    let missing = publish(&gateway, &key, missing).await.unwrap_err();
    assert_eq!(hidden.code(), Code::NotFound);
    assert_eq!(hidden.message().replace(&world.pipeline, "<p>"), missing.message().replace("no-such", "<p>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_are_those_of_http() {
    let world = World::new().await;
    let limits = Limits {
        max_body_bytes: 10_000,
        max_batch_events: 3,
        max_event_bytes: 1000,
        key_events_per_second: 3,
        ..Limits::default()
    };
    let gateway = world.gateway_with(limits).await;
    let key = world.key(&gateway).await;
    let large = |n: usize| avro_event(&json!({"uid": "1", "url_count": 1, "body": "A".repeat(n)}));
    let results = publish(&gateway, &key, batch(&world, vec![event("1"), large(4000)])).await.unwrap();
    assert_eq!(statuses(&results), [EventStatus::Accepted, EventStatus::Rejected]);
    assert_eq!(results[1].code, "TOO_LARGE");
    let refused = publish(&gateway, &key, batch(&world, vec![event("2"); 4])).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("3 events"), "{refused}");
    let refused = publish(&gateway, &key, batch(&world, vec![large(20_000)])).await.unwrap_err();
    assert!([Code::ResourceExhausted, Code::OutOfRange].contains(&refused.code()), "{refused}");
    let bomb = batch(&world, vec![large(4 << 20)]);
    let mut zipped = gateway.events().send_compressed(CompressionEncoding::Gzip);
    let refused = zipped.publish(authorized(bomb, &key)).await.unwrap_err();
    assert_ne!(refused.code(), Code::Ok, "{refused}");
    zipped.publish(authorized(batch(&world, vec![]), &key)).await.unwrap();
    let refused = publish(&gateway, &key, batch(&world, vec![event("3"); 3])).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("3 events per second"), "{refused}");
    assert!(!refused.details().is_empty(), "no RetryInfo");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_made_listed_and_revoked_behind_the_admin_token() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut keys = gateway.keys();
    let create = |name: &str, pipelines: &[&str]| CreateKeyRequest {
        name: name.to_owned(),
        pipelines: pipelines.iter().map(ToString::to_string).collect(),
    };
    for token in ["", "wrong", &ADMIN_TOKEN[..5]] {
        let refused = keys.create_key(authorized(create("x", &["*"]), token)).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
        let refused = keys.list_keys(authorized(ListKeysRequest::default(), token)).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
        let refused = keys.revoke_key(authorized(RevokeKeyRequest::default(), token)).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
    }
    for bad in [create("", &["*"]), create("x", &[]), create("x", &["Not A Pipeline"])] {
        let refused = keys.create_key(authorized(bad, ADMIN_TOKEN)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    let mut made = Vec::new();
    for name in ["first", "second"] {
        let answer = keys.create_key(authorized(create(name, &["a", "b"]), ADMIN_TOKEN)).await.unwrap().into_inner();
        let key = answer.key.unwrap();
        assert!(answer.secret.starts_with(&format!("mr_{}_", key.id)));
        made.push(key);
    }
    let mut list = async |include_revoked| {
        let request = authorized(ListKeysRequest { include_revoked }, ADMIN_TOKEN);
        let keys = keys.list_keys(request).await.unwrap().into_inner().keys;
        keys.into_iter().map(|key| (key.name, key.pipelines.join(","), key.revoked_at.is_some())).collect::<Vec<_>>()
    };
    let row = |name: &str, revoked| (name.to_owned(), "a,b".to_owned(), revoked);
    assert_eq!(list(false).await, [row("second", false), row("first", false)]);
    let revoke = RevokeKeyRequest { id: made[0].id.clone() };
    let mut keys = gateway.keys();
    let revoked = keys.revoke_key(authorized(revoke.clone(), ADMIN_TOKEN)).await.unwrap().into_inner().key.unwrap();
    let again = keys.revoke_key(authorized(revoke, ADMIN_TOKEN)).await.unwrap().into_inner().key.unwrap();
    assert_eq!(revoked.revoked_at, again.revoked_at);
    let unknown = RevokeKeyRequest { id: "0123456789abcdef".to_owned() };
    assert_eq!(keys.revoke_key(authorized(unknown, ADMIN_TOKEN)).await.unwrap_err().code(), Code::NotFound);
    let mut keys = gateway.keys();
    let request = authorized(ListKeysRequest { include_revoked: true }, ADMIN_TOKEN);
    assert_eq!(keys.list_keys(request).await.unwrap().into_inner().keys.len(), 2);
}
