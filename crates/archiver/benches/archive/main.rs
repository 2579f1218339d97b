//! Megabytes of records per second into S3, beside a consumer that reads the same records and throws them away.
//!
//! `cargo bench -p millrace-archiver` with `KAFKA_BOOTSTRAP_SERVERS`. S3 is here a server that takes everything and keeps only
//! what is small: the stand-in of the local stack would be what is measured.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

use std::{
    collections::BTreeMap,
    process::{Child, Command},
    sync::Arc,
    time::{Duration, Instant},
};

use millrace_kafka::{
    Admin, Args, Client, Headers, Outgoing, Producer, Source,
    admin::TopicSpec,
    producer,
    source::{Event, SourceConfig},
};
use millrace_lake::Folder;
use millrace_testkit::Registry;
use rand::RngExt as _;
use uuid::Uuid;

mod s3;

const PARTITIONS: i32 = 4;
const RECORDS: usize = 400_000;
const SIZE: usize = 1_000;
const ROLL: usize = 16 << 20;
/// Megabytes per second; or what the log gives, where that is less.
const FLOOR: f64 = 200.0;
const SCHEMA: &str = r#"{"type":"record","name":"Event","fields":[{"name":"body","type":"bytes"}]}"#;

#[tokio::main(flavor = "multi_thread")]
async fn main() {
    let Ok(brokers) = std::env::var("KAFKA_BOOTSTRAP_SERVERS") else {
        println!("KAFKA_BOOTSTRAP_SERVERS is not set: nothing is measured");
        return;
    };
    let client = Args::plaintext(&brokers).client().unwrap();
    let name = format!("bench-{}", &Uuid::new_v4().simple().to_string()[..12]);
    let topics = ["events", "scores"].map(|kind| format!("{name}.{kind}"));
    let spec = |name: &String| TopicSpec {
        name: name.clone(),
        partitions: PARTITIONS,
        replication: 1,
        config: BTreeMap::new(),
    };
    let admin = Admin::new(&client).unwrap();
    admin.ensure_topics(&topics.each_ref().map(spec)).await.unwrap();
    send(&client, &topics[0]).await;

    let discarded = discard(&client, &topics[0]).await;
    let archived = archive(&brokers, &name, &admin, &topics[0]).await;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "{RECORDS} records of {SIZE} bytes, {PARTITIONS} partitions, windows of {} MiB, {cores} cores",
        ROLL >> 20
    );
    println!("{:<44} {:>10} {:>14}", "", "MB/s", "of the log");
    println!("{:<44} {discarded:>10.0} {:>14.2}", "a consumer that throws records away", 1.0);
    println!("{:<44} {archived:>10.0} {:>14.2}", "archiver: Avro, zstd, SHA-256, manifests", archived / discarded);
    let met = archived >= FLOOR.min(discarded);
    println!("at least {FLOOR:.0} MB/s, or what the log gives: {}", if met { "met" } else { "MISSED" });
    admin.delete_topics(&topics).await.ok();
}

/// Half of each record can be compressed.
async fn send(client: &Client, topic: &str) {
    let producer = Producer::new(client, producer::Config::new("bench"), None).unwrap();
    let (topic, mut random) = (Arc::<str>::from(topic), rand::rng());
    let mut record = |n: usize| {
        let mut body = vec![b'x'; SIZE];
        random.fill(&mut body[..SIZE / 2]);
        let mut value = vec![0, 0, 0, 0, 1];
        millrace_schema::wire::put_bytes(&mut value, &body);
        Outgoing {
            topic: Arc::clone(&topic),
            partition: Some((n % PARTITIONS as usize) as i32),
            key: None,
            value: Some(value.into()),
            headers: [("event-id", format!("{n:036}"))].into_iter().collect::<Headers>(),
            timestamp_ms: None,
        }
    };
    for chunk in 0..RECORDS / 2_000 {
        let records = (chunk * 2_000..(chunk + 1) * 2_000).map(&mut record).collect();
        for sent in producer.send_all(records).await {
            sent.unwrap();
        }
    }
}

fn rate(records: usize, time: Duration) -> f64 {
    (records * SIZE) as f64 / 1e6 / time.as_secs_f64()
}

/// From the first batch to the last.
async fn discard(client: &Client, topic: &str) -> f64 {
    let mut source = Source::new(client, SourceConfig::new("discard", topic, vec![topic.to_owned()]), None).unwrap();
    let (mut begun, mut records) = (None, 0);
    while records < RECORDS {
        match source.next().await.unwrap() {
            Event::Assigned(partitions) => {
                source.start_at(&partitions.into_iter().map(|it| (it, Some(0))).collect::<Vec<_>>());
            }
            Event::Batch(batch) => {
                begun.get_or_insert_with(Instant::now);
                records += batch.records.len();
            }
            Event::Revoked(_) => {}
        }
    }
    let time = begun.unwrap().elapsed();
    source.close(Duration::from_secs(5)).await;
    rate(records, time)
}

/// The running archiver; it ends with the benchmark.
struct Archiver(Child);

impl Drop for Archiver {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

/// From the first window that is committed to three quarters of all: the last windows have not ended.
async fn archive(brokers: &str, name: &str, admin: &Admin, topic: &str) -> f64 {
    let registry = Registry::start().await.unwrap();
    registry.add(1, SCHEMA);
    let s3 = s3::Sink::start().await;
    let folder = tempfile::tempdir().unwrap();
    let document = folder.path().join("pipeline.yaml");
    let text = format!(
        "apiVersion: millrace.dev/v1\nkind: Pipeline\nmetadata: {{name: {name}}}\nspec:\n\
         \x20 topics: {{partitions: {PARTITIONS}, replication: 1, min_insync: 1, retention: 7d}}\n\
         \x20 events: {{subject: {name}.events-value, schema: event.avsc}}\n\
         \x20 lake: {{prefix: lake, roll: {{bytes: {ROLL}, age: 1h}}}}\n"
    );
    std::fs::write(&document, text).unwrap();
    let topic_id = admin.topic_id(topic).await.unwrap();
    let newest: Vec<String> = (0..PARTITIONS).map(|n| Folder::new("lake", topic, topic_id, n).newest()).collect();
    let archiver = Command::new(env!("CARGO_BIN_EXE_millrace-archiver"))
        .args(["serve", "--admin-addr", "127.0.0.1:0", "--bucket", "bench", "--aws-endpoint-url", s3.url()])
        .args(["--aws-region", "us-east-1"])
        .env("KAFKA_BOOTSTRAP_SERVERS", brokers)
        .env("MILLRACE_PIPELINES", &document)
        .env("MILLRACE_REGISTRY_HTTP", registry.url())
        .env("MILLRACE_LOG", "error")
        .env("AWS_ACCESS_KEY_ID", "bench")
        .env("AWS_SECRET_ACCESS_KEY", "bench")
        .spawn();
    let _archiver = Archiver(archiver.unwrap());
    let mut begun: Option<(Instant, usize)> = None;
    loop {
        let offset = |key: &String| -> Option<usize> { String::from_utf8(s3.small("bench", key)?).ok()?.parse().ok() };
        let committed: usize = newest.iter().filter_map(offset).sum();
        if committed > 0 {
            let (at, before) = *begun.get_or_insert((Instant::now(), committed));
            if committed >= RECORDS * 3 / 4 {
                return rate(committed - before, at.elapsed());
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
