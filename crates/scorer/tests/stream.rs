//! What the scorer promises, with the real binary on a real broker.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use millrace_schema::{Schema, Validator, scored};
use support::{World, break_bundle, framed, mail, open};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_scorer_repeats_nothing_and_loses_nothing() {
    let world = World::new().await;
    world.train(1);
    let mails: BTreeMap<String, Vec<u8>> = mail(7, 6_000).into_iter().collect();
    let events = mails.iter().map(|(id, datum)| world.event(id, framed(1, datum))).collect();
    let scoring = async {
        for round in 1..=3 {
            let scorer = world.stream();
            world.scores(round * 1_000).await;
            scorer.kill();
        }
        let _scorer = world.stream();
        world.scores(mails.len()).await
    };
    let ((), scores) = tokio::join!(world.send(events), scoring);

    assert_eq!(scores.len(), mails.len());
    assert!(world.read("dead").await.is_empty());
    let mut ids = BTreeSet::new();
    let composed = Schema::parse(&world.registry.schema(open(&scores[0]).0)).unwrap();
    assert_eq!(
        composed.standalone(),
        scored::compose(&Schema::parse(millrace_demo::SCHEMA).unwrap()).unwrap().standalone()
    );
    let validator = Validator::compile(&composed);
    for score in &scores {
        let (_, head, event) = open(score);
        validator.validate(&score.record.value.as_deref().unwrap()[5..]).unwrap();
        assert_eq!(event, mails[head.event_id], "the event's bytes are copied");
        assert!(ids.insert(head.event_id.to_owned()), "{} is scored twice", head.event_id);
        assert_eq!((head.correlation_id, head.source), (&*format!("c-{}", head.event_id), "stream"));
        assert_eq!((head.pipeline, head.model, head.received_at), (&*world.name, "mail-trust", 1_767_323_045_678));
        assert!((0.0..=1.0).contains(&head.score) && head.reasons.len() <= 5 && !head.model_version.is_empty());
        assert_eq!(score.record.headers.text("event-id"), Some(head.event_id));
        assert!(score.record.headers.text("traceparent").is_some());
    }
    assert_eq!(world.registry.levels()[0], (format!("{}-value", world.topic("scores")), "NONE".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_scored_is_a_dead_letter_and_its_neighbours_are_scored() {
    let world = World::new().await;
    world.train(1);
    let mails = mail(7, 6);
    let datum = &mails[0].1;
    let mut tombstone = world.event("tombstone", Vec::new());
    tombstone.value = None;
    let mut records = vec![
        world.event("truncated", framed(1, &datum[..datum.len() - 3])),
        world.event("trailing", framed(1, &[datum, &b"xyz"[..]].concat())),
        world.event("unknown", framed(99, datum)),
        world.event("framing", b"{\"not\": \"avro\"}".to_vec()),
        tombstone,
    ];
    records.extend(mails.iter().map(|(id, datum)| world.event(id, framed(1, datum))));
    world.send(records.clone()).await;
    let _scorer = world.stream();
    world.scores(mails.len()).await;
    let letters = world.wait("dead", 5).await;
    assert_eq!((world.read("scores").await.len(), letters.len()), (6, 5));
    let expected = [
        ("truncated", "CORRUPT", "not what its schema says"),
        ("trailing", "CORRUPT", "3 bytes behind"),
        ("unknown", "NOT_FOUND", "id 99 is not registered"),
        ("framing", "CORRUPT", "first byte is 0x7b"),
        ("tombstone", "INVALID_EVENT", "no value"),
    ];
    for (sent, (id, code, reason)) in records.iter().zip(expected) {
        let letter = letters.iter().find(|letter| letter.record.headers.text("event-id") == Some(id)).unwrap();
        let text = |name| letter.record.headers.text(name);
        assert_eq!((text("dead-stage"), text("dead-code")), (Some("scorer"), Some(code)), "{id}");
        assert!(text("dead-reason").unwrap().contains(reason), "{id}: {:?}", text("dead-reason"));
        assert_eq!(text("dead-group"), Some(&*format!("millrace.{}.scorer", world.name)));
        assert_eq!((&letter.record.key, &letter.record.value), (&sent.key, &sent.value), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_away_holds_events_back_and_kills_none() {
    let world = World::new().await;
    world.train(1);
    world.registry.set_away(true);
    let mails = mail(7, 50);
    world.send(mails.iter().map(|(id, datum)| world.event(id, framed(1, datum))).collect()).await;
    let _scorer = world.stream();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(world.read("scores").await.is_empty() && world.read("dead").await.is_empty());
    world.registry.set_away(false);
    assert_eq!(world.scores(50).await.len(), 50);
    assert!(world.read("dead").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_of_the_schema_are_scored_side_by_side_each_nested_as_it_is() {
    let world = World::new().await;
    world.train(1);
    let mut newer: serde_json::Value = serde_json::from_str(millrace_demo::SCHEMA).unwrap();
    let added = serde_json::json!({"name": "added_later", "type": "long", "default": 0});
    newer["fields"].as_array_mut().unwrap().push(added);
    world.registry.add(2, &newer.to_string());
    let mails = mail(7, 40);
    let records = mails.iter().enumerate().map(|(n, (id, datum))| match n % 2 {
        0 => world.event(id, framed(1, datum)),
        _ => world.event(id, framed(2, &[datum, &[84][..]].concat())),
    });
    world.send(records.collect()).await;
    let _scorer = world.stream();
    let scores = world.scores(40).await;
    let mut versions: BTreeMap<u32, usize> = BTreeMap::new();
    for score in &scores {
        let (schema, head, event) = open(score);
        *versions.entry(schema).or_default() += 1;
        let n = mails.iter().position(|(id, _)| id == head.event_id).unwrap();
        assert_eq!(event.strip_prefix(&*mails[n].1), Some(if n % 2 == 0 { &[][..] } else { &[84] }));
    }
    assert_eq!(versions.values().copied().collect::<Vec<_>>(), [20, 20]);
    // The same mail has the same score in both.
    let twice =
        [world.event("v1", framed(1, &mails[0].1)), world.event("v2", framed(2, &[&mails[0].1, &[0][..]].concat()))];
    world.send(twice.to_vec()).await;
    let scores = world.scores(42).await;
    let of = |id: &str| scores.iter().map(open).find(|(_, head, _)| head.event_id == id).unwrap().1;
    assert_eq!((of("v1").margin, &of("v1").reasons), (of("v2").margin, &of("v2").reasons));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_record_gets_its_id_from_its_field_and_its_headers_from_the_scorer() {
    let world = World::new().await;
    world.train(1);
    let (uid, datum) = mail(7, 1).remove(0);
    let mut record = world.event("x", framed(1, &datum));
    record.headers = millrace_kafka::Headers::new();
    record.timestamp_ms = Some(1_767_323_045_000);
    world.send(vec![record]).await;
    let _scorer = world.stream();
    let scores = world.scores(1).await;
    let (_, head, _) = open(&scores[0]);
    assert_eq!((head.event_id, head.correlation_id, head.received_at), (&*uid, &*uid, 1_767_323_045_000));
    let headers = &scores[0].record.headers;
    assert_eq!(headers.text("event-id"), Some(&*uid));
    assert_eq!(headers.text("received-at"), Some("2026-01-02T03:04:05.000Z"));
    assert!(headers.text("traceparent").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_model_takes_over_and_a_broken_one_does_not() {
    let world = World::new().await;
    world.train(1);
    let _scorer = world.stream();
    let mails = mail(7, 300);
    let mut sent = 0;
    let mut next = async || {
        let (id, datum) = &mails[sent];
        world.send(vec![world.event(id, framed(1, datum))]).await;
        sent += 1;
        let scores = world.scores(sent).await;
        let score = scores.iter().map(open).find(|(_, head, _)| head.event_id == *id);
        score.unwrap().1.model_version.to_owned()
    };
    let first = next().await;
    world.train(2);
    let mut second = next().await;
    for _ in 0..60 {
        if second != first {
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
        second = next().await;
    }
    assert_ne!(second, first, "the new bundle is in use");
    break_bundle(&world.path("models"));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(next().await, second, "the old bundle stays in use");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_model_it_says_what_to_do_and_exits_with_64() {
    let world = World::new().await;
    let output = world.stream_to_its_end();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("mail-trust") && said.contains("millrace-scorer train"), "{said}");
}
