//! What is over a bound is refused, and the answer names the bound.

use std::{io::Write, time::Duration};

use flate2::{Compression, write::GzEncoder};
use millrace_core::Span;
use millrace_gateway::Limits;
use millrace_schema::container::Codec;
use reqwest::{Body, header};
use serde_json::{Value, json};

use crate::support::{Gateway, V1, World, avro};

async fn gateway(limits: Limits) -> (World, Gateway, String) {
    let world = World::new().await;
    let gateway = world.gateway_with(limits).await;
    let key = world.key(&gateway).await;
    (world, gateway, key)
}

/// Status, `Retry-After` and body.
async fn refused(request: reqwest::RequestBuilder) -> (u16, Option<String>, Value) {
    let response = request.send().await.unwrap();
    let retry = response.headers().get(header::RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
    (response.status().as_u16(), retry, response.json().await.unwrap())
}

fn assert_names(body: &Value, code: &str, limit: &str) {
    assert_eq!(body["code"], code);
    assert!(body["message"].as_str().unwrap().contains(limit), "{body} does not name {limit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_is_413_also_when_its_length_is_not_declared() {
    let (world, gateway, key) = gateway(Limits { max_body_bytes: 1000, ..Limits::default() }).await;
    let declared = gateway.post(&world.pipeline, &key).body(" ".repeat(1001));
    let (status, _, body) = refused(declared).await;
    assert_eq!(status, 413);
    assert_names(&body, "TOO_LARGE", "1000 bytes");
    let chunks = futures::stream::iter((0..20).map(|_| Ok::<_, std::io::Error>(" ".repeat(100))));
    let undeclared = gateway.post(&world.pipeline, &key).body(Body::wrap_stream(chunks));
    let (status, _, body) = refused(undeclared).await;
    assert_eq!(status, 413);
    assert_names(&body, "TOO_LARGE", "1000 bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_is_refused_at_the_bound() {
    let limits = Limits { max_decompressed_bytes: 100_000, ..Limits::default() };
    let (world, gateway, key) = gateway(limits).await;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![b' '; 64 << 20]).unwrap();
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 100_000);
    let request = gateway.post(&world.pipeline, &key).header(header::CONTENT_ENCODING, "gzip").body(bomb);
    let (status, _, body) = refused(request).await;
    assert_eq!(status, 413);
    assert_names(&body, "TOO_LARGE", "100000 bytes");
    // In an Avro file the blocks are compressed themselves.
    let body = base64("x".repeat(300_000).as_bytes());
    let file = avro::file(V1, Codec::Deflate, &[json!({"uid": "1", "url_count": 1, "body": body})]);
    assert!(file.len() < 10_000);
    let request = gateway.post(&world.pipeline, &key).header(header::CONTENT_TYPE, "application/avro").body(file);
    let (status, _, body) = refused(request).await;
    assert_eq!(status, 413);
    assert_names(&body, "TOO_LARGE", "100000 bytes");
    assert!(world.records().await.is_empty());
}

/// Of bytes whose number is a multiple of three.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let quads = bytes.chunks_exact(3).flat_map(|chunk| {
        let bits = u32::from_be_bytes([0, chunk[0], chunk[1], chunk[2]]);
        [18, 12, 6, 0].map(|shift| char::from(ALPHABET[(bits >> shift & 63) as usize]))
    });
    quads.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_over_the_limit_is_413_and_none_of_it_is_published() {
    let (world, gateway, key) = gateway(Limits { max_batch_events: 3, ..Limits::default() }).await;
    let events: Vec<Value> = (0..4).map(|i| json!({"uid": i.to_string(), "url_count": 1})).collect();
    let (status, _, body) = refused(gateway.post(&world.pipeline, &key).json(&events)).await;
    assert_eq!(status, 413);
    assert_names(&body, "TOO_LARGE", "3 events");
    let file = avro::file(V1, Codec::Null, &events);
    let request = gateway.post(&world.pipeline, &key).header(header::CONTENT_TYPE, "application/avro").body(file);
    assert_eq!(refused(request).await.0, 413);
    assert!(world.records().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_over_the_limit_is_rejected_alone() {
    let (world, gateway, key) = gateway(Limits { max_event_bytes: 200, ..Limits::default() }).await;
    let events = json!([{"uid": "1", "url_count": 1}, {"uid": "2", "url_count": 1, "body": "A".repeat(400)}]);
    let response = gateway.post(&world.pipeline, &key).json(&events).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["results"][0]["status"], "accepted");
    assert_names(&body["results"][1], "TOO_LARGE", "200");
    assert_eq!(world.event_ids().await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_over_its_rate_is_429_and_another_is_not() {
    let limits = Limits { key_events_per_second: 2, max_batch_events: 10, ..Limits::default() };
    let (world, gateway, key) = gateway(limits).await;
    let events: Vec<Value> = (0..10).map(|i| json!({"uid": i.to_string(), "url_count": 1})).collect();
    let post = |key: &str| gateway.post(&world.pipeline, key).json(&events);
    assert_eq!(post(&key).send().await.unwrap().status(), 200);
    let (status, retry, body) = refused(post(&key)).await;
    assert_eq!(status, 429);
    assert_eq!(retry.as_deref(), Some("5"));
    assert_names(&body, "RATE_LIMITED", "2 events per second");
    let other = world.key(&gateway).await;
    assert_eq!(post(&other).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_too_much_under_way_is_429_and_a_full_gateway_503() {
    let limits = Limits { key_max_requests: 1, max_requests: 2, ..Limits::default() };
    let (world, gateway, key) = gateway(limits).await;
    let (open, body) = slow_body();
    let begun = tokio::spawn(gateway.post(&world.pipeline, &key).body(body).send());
    tokio::time::sleep(Duration::from_millis(300)).await;
    let event = json!({"uid": "1", "url_count": 1});
    let (status, retry, body) = refused(gateway.post(&world.pipeline, &key).json(&event)).await;
    assert_eq!((status, retry.as_deref()), (429, Some("1")));
    assert_names(&body, "RATE_LIMITED", "1 requests at once");

    let (other, third) = (world.key(&gateway).await, world.key(&gateway).await);
    let (also_open, body) = slow_body();
    let also_begun = tokio::spawn(gateway.post(&world.pipeline, &other).body(body).send());
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (status, retry, body) = refused(gateway.post(&world.pipeline, &third).json(&event)).await;
    assert_eq!((status, retry.as_deref()), (503, Some("1")));
    assert_names(&body, "UNAVAILABLE", "2 requests at once");

    for (open, begun) in [(open, begun), (also_open, also_begun)] {
        open.send(Ok(event.to_string())).await.unwrap();
        drop(open);
        assert_eq!(begun.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(gateway.post(&world.pipeline, &third).json(&event).send().await.unwrap().status(), 200);
}

type Chunks = tokio::sync::mpsc::Sender<Result<String, std::io::Error>>;

/// A body that waits to be sent.
pub(crate) fn slow_body() -> (Chunks, Body) {
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let chunks = futures::stream::unfold(receiver, |mut receiver| async {
        let chunk = receiver.recv().await?;
        Some((chunk, receiver))
    });
    (sender, Body::wrap_stream(chunks))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let (world, gateway, key) = gateway(Limits { body_timeout: Span::seconds(1), ..Limits::default() }).await;
    let (_open, body) = slow_body();
    let (status, _, body) = refused(gateway.post(&world.pipeline, &key).body(body)).await;
    assert_eq!((status, &body["code"]), (504, &json!("DEADLINE_EXCEEDED")));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_together_are_bounded() {
    let (world, gateway, key) = gateway(Limits { max_buffered_bytes: 100_000, ..Limits::default() }).await;
    let (status, retry, body) = refused(gateway.post(&world.pipeline, &key).body(" ".repeat(200_000))).await;
    assert_eq!((status, retry.as_deref()), (503, Some("1")));
    assert_names(&body, "UNAVAILABLE", "100000 bytes");
}
