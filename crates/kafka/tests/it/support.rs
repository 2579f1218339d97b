//! What the tests share: topics of their own on the running broker.

use std::{collections::BTreeMap, time::Duration};

use millrace_kafka::{
    Admin, Args, Client, Headers, Outgoing, Producer, Reader,
    admin::TopicSpec,
    producer,
    reader::{Found, From, Query},
};
use uuid::Uuid;

/// The broker of the test stack.
pub(crate) fn brokers() -> String {
    std::env::var("KAFKA_BOOTSTRAP_SERVERS")
        .expect("KAFKA_BOOTSTRAP_SERVERS is not set: run `make test`, or start the stack and source its env file")
}

pub(crate) fn client() -> Client {
    Args::plaintext(brokers()).client().expect("settings are right")
}

/// A name that no other test has.
pub(crate) fn unique(name: &str) -> String {
    format!("kafka-{name}-{}", &Uuid::new_v4().simple().to_string()[..12])
}

/// Makes topics with that many partitions.
pub(crate) async fn topics(names: &[&str], partitions: i32) {
    let specs: Vec<TopicSpec> = names
        .iter()
        .map(|name| TopicSpec { name: (*name).to_owned(), partitions, replication: 1, config: BTreeMap::new() })
        .collect();
    Admin::new(&client()).unwrap().ensure_topics(&specs).await.unwrap();
}

pub(crate) fn producer() -> Producer {
    Producer::new(&client(), producer::Config::new("test"), None).unwrap()
}

/// A record whose key and value are the same text.
pub(crate) fn outgoing(topic: &str, text: impl Into<String>) -> Outgoing {
    let text = text.into();
    Outgoing {
        topic: topic.into(),
        partition: None,
        key: Some(text.clone().into()),
        value: Some(text.into()),
        headers: Headers::new(),
        timestamp_ms: None,
    }
}

/// Sends the numbers of a range as text; each must be acknowledged.
pub(crate) async fn send(topic: &str, numbers: std::ops::Range<usize>) {
    let producer = producer();
    for chunk in numbers.collect::<Vec<_>>().chunks(500) {
        let records = chunk.iter().map(|number| outgoing(topic, number.to_string())).collect();
        for sent in producer.send_all(records).await {
            sent.expect("the broker takes it");
        }
    }
}

/// Every committed record of a topic.
pub(crate) async fn read_all(topic: &str) -> Vec<Found> {
    let query = Query { topic: topic.to_owned(), partition: None, from: From::Beginning, follow: false };
    let mut reader = Reader::open(&client(), query).unwrap();
    let mut all = Vec::new();
    while let Some(found) = reader.next().await {
        all.push(found.unwrap());
    }
    all
}

pub(crate) fn text(found: &Found) -> String {
    String::from_utf8(found.record.value.as_deref().unwrap_or_default().to_vec()).unwrap()
}

/// The values of a topic as numbers, sorted.
pub(crate) async fn numbers(topic: &str) -> Vec<usize> {
    let mut numbers: Vec<usize> = read_all(topic).await.iter().map(|found| text(found).parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

/// Waits until something holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, within: Duration, mut holds: impl FnMut() -> F) {
    let deadline = std::time::Instant::now() + within;
    while !holds().await {
        assert!(std::time::Instant::now() < deadline, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
