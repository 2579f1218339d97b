//! `POST /v1/pipelines/{pipeline}/events`.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use millrace_schema::container::Codec;
use reqwest::{RequestBuilder, header};
use serde_json::{Value, json};

use crate::support::{V1, V2, World, avro};

/// Status and body of the answer.
async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// The results of a request that was read.
async fn results(request: RequestBuilder) -> Vec<Value> {
    let (status, body) = answer(request).await;
    assert_eq!(status, 200, "{body}");
    body["results"].as_array().unwrap().clone()
}

fn statuses(results: &[Value]) -> Vec<&str> {
    results.iter().map(|result| result["status"].as_str().unwrap()).collect()
}

fn ids(results: &[Value]) -> Vec<String> {
    let mut ids: Vec<_> = results.iter().map(|result| result["event_id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_event_is_in_kafka_with_all_that_belongs_to_it() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let key = world.key(&gateway).await;
    let event = json!({"uid": "a/1", "org": "acme", "url_count": 7, "body": "AQI="});
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let before = jiff::Timestamp::now().as_millisecond();
    let request = gateway.post(&world.pipeline, &key).json(&event).header("traceparent", trace);
    let results = results(request.header("Correlation-Id", "corr-1")).await;
    let expected = json!({"status": "accepted", "event_id": "a/1", "correlation_id": "corr-1", "code": null, "path": null, "message": null});
    assert_eq!(results, [expected]);

    let records = world.records().await;
    let [record] = &records[..] else { panic!("{records:?}") };
    assert_eq!(record.key.as_deref(), Some(&b"acme"[..]));
    let value = [&[0, 0, 0, 0, 1][..], &avro::datum(V1, &event)].concat();
    assert_eq!(record.value.as_deref(), Some(&value[..]));
    let received = record.timestamp_ms.unwrap();
    assert!((before..before + 10_000).contains(&received));
    assert_eq!(record.headers.text("event-id"), Some("a/1"));
    assert_eq!(record.headers.text("correlation-id"), Some("corr-1"));
    assert_eq!(record.headers.text("traceparent"), Some(trace));
    let received_at: jiff::Timestamp = record.headers.text("received-at").unwrap().parse().unwrap();
    assert_eq!(received_at.as_millisecond(), received);
    assert_eq!(record.headers.text("received-at").unwrap().len(), "2026-01-01T00:00:00.000Z".len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_travels_in_the_header_where_the_pipeline_wants_it() {
    for (framing, prefix) in [("guid-header", 0), ("guid-prefix", 17)] {
        let world = World::new().await.framed(framing);
        let gateway = world.gateway().await;
        let key = world.key(&gateway).await;
        let event = json!({"uid": "a", "url_count": 7});
        results(gateway.post(&world.pipeline, &key).json(&event)).await;
        let record = &world.records().await[0];
        let guid = [&[1][..], &millrace_schema::Schema::parse(V1).unwrap().guid().0].concat();
        let header = record.headers.get("__value_schema_id").map(<[u8]>::to_vec);
        assert_eq!(header, (prefix == 0).then(|| guid.clone()));
        let value = [&guid[..prefix], &avro::datum(V1, &event)].concat();
        assert_eq!(record.value.as_deref(), Some(&value[..]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_event_never_harms_its_neighbours() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let key = world.key(&gateway).await;
    let batch = json!([
        {"uid": "good-1", "url_count": 1},
        {"uid": "bad-1", "url_count": "seven"},
        {"uid": "bad-2", "url_count": 1, "nonsense": true},
        {"uid": "bad-3"},
        17,
        {"uid": "", "url_count": 1},
        {"uid": "good-2", "url_count": 1, "seen_at": "2026-01-02T03:04:05Z"},
    ]);
    let results = results(gateway.post(&world.pipeline, &key).json(&batch)).await;
    assert_eq!(
        statuses(&results),
        ["accepted", "rejected", "rejected", "rejected", "rejected", "rejected", "accepted"]
    );
    let what = |i: usize| {
        let text = |name: &str| results[i][name].as_str().unwrap_or("-").to_owned();
        (text("event_id"), text("code"), text("path"), text("message"))
    };
    let invalid = || "INVALID_EVENT".to_owned();
    assert_eq!(
        what(1),
        ("bad-1".to_owned(), invalid(), "$.url_count".to_owned(), "expected long, got string".to_owned())
    );
    assert_eq!((what(2).1, what(2).2), (invalid(), "$.nonsense".to_owned()));
    assert_eq!((what(3).1, what(3).2), (invalid(), "$.url_count".to_owned()));
    assert_eq!(what(4).1, invalid());
    assert_eq!((what(5).1, what(5).2), (invalid(), "$.uid".to_owned()));
    assert!(results.iter().all(|result| !result["correlation_id"].as_str().unwrap().is_empty()));
    assert_eq!(world.event_ids().await, ["good-1", "good-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_parses_gets_200_also_if_every_event_fails() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let key = world.key(&gateway).await;
    let results = results(gateway.post(&world.pipeline, &key).json(&json!([{}, {"url_count": null}]))).await;
    assert_eq!(statuses(&results), ["rejected", "rejected"]);
    assert!(world.records().await.is_empty());
    let (status, body) = answer(gateway.post(&world.pipeline, &key).body("{\"url_count\": ")).await;
    assert_eq!((status, &body["code"]), (400, &json!("INVALID_REQUEST")));
    assert!(body["message"].as_str().unwrap().contains("line 1 column"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_ndjson_is_an_event_also_when_it_is_no_json() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let key = world.key(&gateway).await;
    let body = "{\"uid\": \"1\", \"url_count\": 1}\n\n{\"uid\": oops}\n{\"uid\": \"2\", \"url_count\": 1}\n";
    let request = gateway.post(&world.pipeline, &key).header(header::CONTENT_TYPE, "application/x-ndjson").body(body);
    let results = results(request).await;
    assert_eq!(statuses(&results), ["accepted", "rejected", "accepted"]);
    assert!(results[1]["message"].as_str().unwrap().starts_with("not JSON"));
    assert_eq!(world.event_ids().await, ["1", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_avro_file_is_taken_when_its_schema_is_registered() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let key = world.key(&gateway).await;
    let events = [json!({"uid": "1", "url_count": 1}), json!({"uid": "2", "url_count": 2})];
    for (codec, schema) in [(Codec::Null, V1), (Codec::Deflate, V1), (Codec::Snappy, V1), (Codec::Zstandard, V1)] {
        let file = avro::file(schema, codec, &events);
        let request = gateway.post(&world.pipeline, &key).header(header::CONTENT_TYPE, "application/avro").body(file);
        assert_eq!(statuses(&results(request).await), ["accepted", "accepted"], "{codec:?}");
    }
    assert_eq!(world.event_ids().await, ["1", "1", "1", "1", "2", "2", "2", "2"]);

    let unregistered = avro::file(V2, Codec::Null, &events);
    let publish = || {
        let request = gateway.post(&world.pipeline, &key).header(header::CONTENT_TYPE, "application/avro");
        request.body(unregistered.clone())
    };
    let (status, body) = answer(publish()).await;
    assert_eq!((status, &body["code"]), (400, &json!("INVALID_REQUEST")));
    let message = body["message"].as_str().unwrap();
    assert!(message.contains("millrace publish --register") && message.contains(&world.subject()), "{message}");
    assert_eq!(world.records().await.len(), 8);

    world.registry.register(&world.subject(), V2);
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await; // as long as it is remembered that it is missing
    assert_eq!(statuses(&results(publish()).await), ["accepted", "accepted"]);

    let cut = &unregistered[..unregistered.len() - 20];
    let request = gateway.post(&world.pipeline, &key).header(header::CONTENT_TYPE, "application/avro");
    let (status, body) = answer(request.body(cut.to_vec())).await;
    assert_eq!(status, 400, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_header_names_the_schema_and_the_latest_is_the_default() {
    let world = World::new().await;
    world.registry.register(&world.subject(), V2);
    let gateway = world.gateway().await;
    let key = world.key(&gateway).await;
    let event = json!({"uid": "1", "url_count": 1});
    let post = |version: Option<&str>| {
        let request = gateway.post(&world.pipeline, &key).json(&event);
        version.into_iter().fold(request, |request, version| request.header("Millrace-Schema-Version", version))
    };
    for version in [None, Some("latest"), Some("2"), Some("1")] {
        assert_eq!(statuses(&results(post(version)).await), ["accepted"]);
    }
    let mut schema_ids: Vec<u8> =
        world.records().await.iter().map(|record| record.value.as_ref().unwrap()[4]).collect();
    schema_ids.sort_unstable();
    assert_eq!(schema_ids, [1, 2, 2, 2]);
    let (status, body) = answer(post(Some("3"))).await;
    assert_eq!(status, 400);
    assert!(body["message"].as_str().unwrap().contains("version 3"), "{body}");
    assert_eq!(answer(post(Some("newest"))).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_id_is_the_requests_else_the_fields_else_minted() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let key = world.key(&gateway).await;
    let post = |event: Value| gateway.post(&world.pipeline, &key).json(&event);
    let with_both = results(post(json!({"uid": "field", "url_count": 1})).header("Event-Id", "header")).await;
    assert_eq!(with_both[0]["event_id"], "header");
    let with_field = results(post(json!({"uid": "field", "url_count": 1}))).await;
    assert_eq!(with_field[0]["event_id"], "field");
    let with_none = results(post(json!({"url_count": 1}))).await;
    let minted: uuid::Uuid = with_none[0]["event_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(minted.get_version_num(), 7);
    let mut expected = ["header".to_owned(), "field".to_owned(), minted.to_string()];
    expected.sort();
    assert_eq!(world.event_ids().await, expected);

    let (status, body) = answer(post(json!([{}, {}])).header("Event-Id", "one")).await;
    assert_eq!((status, &body["code"]), (400, &json!("INVALID_REQUEST")));
    let unreadable = post(json!({"url_count": 1})).header("Event-Id", b"caf\xc3\xa9".as_slice());
    assert_eq!(answer(unreadable).await.0, 400);
    let long = results(post(json!({"url_count": 1})).header("Event-Id", "x".repeat(257))).await;
    assert_eq!(statuses(&long), ["rejected"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_id_field_in_the_document_ids_are_minted_and_are_the_key_of_what_has_none() {
    let world = World::new().await.without_id_field();
    let gateway = world.gateway().await;
    let key = world.key(&gateway).await;
    let results = results(gateway.post(&world.pipeline, &key).json(&json!({"uid": "field", "url_count": 1}))).await;
    let id = results[0]["event_id"].as_str().unwrap();
    assert_ne!(id, "field");
    assert_eq!(world.records().await[0].key.as_deref(), Some(id.as_bytes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_twice_in_a_batch_is_allowed() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let key = world.key(&gateway).await;
    let event = json!({"uid": "twice", "url_count": 1});
    let results = results(gateway.post(&world.pipeline, &key).json(&json!([event, event]))).await;
    assert_eq!(statuses(&results), ["accepted", "accepted"]);
    assert_eq!(ids(&results), ["twice", "twice"]);
    assert_eq!(world.event_ids().await, ["twice", "twice"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn gzip_is_taken_and_a_broken_one_is_refused_whole() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let key = world.key(&gateway).await;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(b"[{\"uid\": \"1\", \"url_count\": 1}]").unwrap();
    let zipped = encoder.finish().unwrap();
    let post = |body: &[u8], encoding: &str| {
        let request = gateway.post(&world.pipeline, &key).header(header::CONTENT_ENCODING, encoding);
        request.header(header::CONTENT_TYPE, "application/json").body(body.to_vec())
    };
    assert_eq!(statuses(&results(post(&zipped, "gzip")).await), ["accepted"]);
    assert_eq!(answer(post(&zipped[..20], "gzip")).await.0, 400);
    let (status, body) = answer(post(&zipped, "br")).await;
    assert_eq!(status, 400);
    assert!(body["message"].as_str().unwrap().contains("gzip"), "{body}");
    assert_eq!(world.event_ids().await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_keys_nor_pipelines_can_be_found_out() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let key = world.key(&gateway).await;
    let other = gateway.make_key(&["another-pipeline"]).await;
    let event = json!({"uid": "1", "url_count": 1});
    let ask = async |pipeline: &str, key: &str| {
        let (status, mut body) = answer(gateway.post(pipeline, key).json(&event)).await;
        body.as_object_mut().unwrap().remove("correlation_id");
        (status, body.to_string().replace(pipeline, "<p>"))
    };
    // A pipeline that is not there, and one that is there and not for this key, look the same.
    assert_eq!(ask("no-such-pipeline", &key).await.0, 404);
    assert_eq!(ask("no-such-pipeline", &key).await, ask(&world.pipeline, &other).await);
    // A malformed key, one that never was, and a known one with another secret look the same, whatever the pipeline.
    let (known, stranger) = (format!("{}{}", &key[..key.len() - 4], "0000"), format!("mr_{:016x}_{:064x}", 1, 2));
    let refused = ask(&world.pipeline, "nonsense").await;
    assert_eq!(refused.0, 401);
    for (pipeline, key) in [(&world.pipeline, &known), (&world.pipeline, &stranger)] {
        assert_eq!(ask(pipeline, key).await, refused);
    }
    assert_eq!(ask("no-such-pipeline", &stranger).await, refused);
    let without =
        reqwest::Client::new().post(format!("http://{}/v1/pipelines/{}/events", gateway.http, world.pipeline));
    let response = without.json(&event).send().await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
    // A key for all pipelines is for this one too.
    let all = gateway.make_key(&["*"]).await;
    assert_eq!(statuses(&results(gateway.post(&world.pipeline, &all).json(&event)).await), ["accepted"]);
    assert_eq!(ask("no-such-pipeline", &all).await.0, 404);
    assert_eq!(world.event_ids().await, ["1"]);
}
