//! What a producer promises, against a real broker.

use std::time::{Duration, Instant};

use crate::support::{client, numbers, outgoing, producer, read_all, topics, unique};
use millrace_kafka::{Args, Error, Producer, producer::Config};

#[tokio::test]
async fn acknowledgements_come_in_the_order_of_the_request() {
    let topic = unique("acks");
    topics(&[&topic], 4).await;
    let records: Vec<_> = (0..1000).map(|n| outgoing(&topic, n.to_string())).collect();
    let sent = producer().send_all(records).await;
    let found = read_all(&topic).await;
    for (n, acked) in sent.into_iter().enumerate() {
        let acked = acked.unwrap();
        let place = found.iter().find(|f| (f.partition, f.record.offset) == (acked.partition, acked.offset)).unwrap();
        assert_eq!(crate::support::text(place), n.to_string());
    }
    assert_eq!(numbers(&topic).await, (0..1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_failed_send_hands_its_record_back_and_its_neighbours_go_through() {
    let topic = unique("failed");
    topics(&[&topic], 1).await;
    let mut large = outgoing(&topic, "large");
    large.value = Some(vec![0; 2_000_000].into());
    let mut nowhere = outgoing(&topic, "nowhere");
    nowhere.partition = Some(7);
    let sent =
        producer().send_all(vec![outgoing(&topic, "0"), large.clone(), outgoing(&topic, "1"), nowhere.clone()]).await;
    assert!(sent[0].is_ok() && sent[2].is_ok(), "{sent:?}");
    assert!(matches!(&sent[1], Err((back, Error::TooLarge { size })) if *back == large && *size > 2_000_000));
    assert!(
        matches!(&sent[3], Err((back, Error::UnknownTopic(name))) if *back == nowhere && *name == topic),
        "{:?}",
        sent[3]
    );
    assert_eq!(numbers(&topic).await, [0, 1]);
}

#[tokio::test]
async fn with_the_brokers_away_a_send_fails_in_bounded_time_and_is_retriable() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let client = Args::plaintext(nobody).client().unwrap();
    let config =
        Config { message_timeout: Duration::from_secs(1), max_in_flight_bytes: 1000, ..Config::new("test-away") };
    let producer = Producer::new(&client, config, None).unwrap();
    let began = Instant::now();
    let (first, second) = tokio::join!(
        producer.send_all(vec![outgoing("t", "x".repeat(800))]),
        producer.send_all(vec![outgoing("t", "x".repeat(800))]),
    );
    for sent in [first, second] {
        let (back, error) = sent.into_iter().next().unwrap().unwrap_err();
        assert!(error.is_retriable(), "{error}");
        assert_eq!(&*back.topic, "t");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(producer.in_flight_bytes(), 0);
}

#[tokio::test]
async fn a_key_goes_where_javas_clients_put_it() {
    let topic = unique("murmur2");
    topics(&[&topic], 8).await;
    // The hashes are from the tests of Kafka's own `Utils.murmur2`.
    let vectors: [(&str, i32); 5] = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
    ];
    let records = vectors.iter().map(|(key, _)| outgoing(&topic, *key)).collect();
    for (sent, (key, hash)) in producer().send_all(records).await.into_iter().zip(vectors) {
        assert_eq!(sent.unwrap().partition, (hash & 0x7fff_ffff) % 8, "{key}");
    }
}

#[tokio::test]
async fn headers_timestamps_and_tombstones_survive() {
    let topic = unique("whole");
    topics(&[&topic], 1).await;
    let mut record = outgoing(&topic, "k");
    record.value = None;
    record.timestamp_ms = Some(1_000_000_000_000);
    record.headers = [("event-id", "1"), ("other", ""), ("event-id", "2")].into_iter().collect();
    producer().send_all(vec![record.clone()]).await.remove(0).unwrap();
    let found = read_all(&topic).await.remove(0).record;
    assert_eq!((found.value, found.timestamp_ms, found.headers), (None, record.timestamp_ms, record.headers));
    assert!(client().brokers().contains(':'));
}
