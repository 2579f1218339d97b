//! A pipeline of a test's own: a topic on the running broker, a bucket, a registry, and the real binary.

use std::{
    collections::BTreeMap,
    process::{Child, Command},
    sync::Arc,
    time::{Duration, Instant},
};

use millrace_kafka::{Admin, Args, Headers, Outgoing, Producer, admin::TopicSpec, producer};
use millrace_lake::Stretch;
use millrace_testkit::{Bucket, Registry, assert_eventually};
use uuid::Uuid;

pub(crate) const PARTITIONS: i32 = 4;

/// Versions of the events here, and their ids.
pub(crate) const EVENTS: [(u32, &str); 3] = [
    (1, r#"{"type":"record","name":"Event","fields":[{"name":"n","type":"long"}]}"#),
    (
        2,
        r#"{"type":"record","name":"Event","fields":[{"name":"n","type":"long"},{"name":"pad","type":"bytes","default":""}]}"#,
    ),
    (3, r#"{"type":"record","name":"Event","fields":[{"name":"n","type":"long","doc":"Its number."}]}"#),
];

/// The time of a test's first record: an hour begins.
pub(crate) const START: i64 = 1_767_225_600_000;

/// How long the slowest step of a test may take.
const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) struct World {
    name: String,
    pub(crate) topic_id: Uuid,
    pub(crate) bucket: Bucket,
    pub(crate) registry: Registry,
    pub(crate) admin: Admin,
    folder: tempfile::TempDir,
    producer: Producer,
}

/// A record to send: of the first schema, unless said otherwise.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) partition: i32,
    pub(crate) time: i64,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Headers,
}

impl Sent {
    /// The event of that number.
    pub(crate) fn number(n: usize, time: i64) -> Self {
        let mut headers = Headers::new();
        headers.push("event-id", format!("e-{n}"));
        Self { partition: (n % PARTITIONS as usize) as i32, time, value: Some(framed(1, &datum(n))), headers }
    }
}

/// An event of the first schema.
pub(crate) fn datum(n: usize) -> Vec<u8> {
    let mut datum = Vec::new();
    millrace_schema::wire::put_long(&mut datum, n as i64);
    datum
}

/// A value with the id of its schema before it.
pub(crate) fn framed(id: u32, datum: &[u8]) -> Vec<u8> {
    [&[0], id.to_be_bytes().as_slice(), datum].concat()
}

impl World {
    /// Windows of a mebibyte or `age` seconds.
    pub(crate) async fn new(age: u64) -> Self {
        Self::with_roll(1 << 20, age).await
    }

    /// Windows of so many bytes or `age` seconds.
    pub(crate) async fn with_roll(bytes: usize, age: u64) -> Self {
        let client = Args::plaintext(brokers()).client().unwrap();
        let name = format!("archiver-{}", &Uuid::new_v4().simple().to_string()[..12]);
        let registry = Registry::start().await.unwrap();
        for (id, schema) in EVENTS {
            registry.add(id, schema);
        }
        let admin = Admin::new(&client).unwrap();
        // Record times are of long ago: what is too old would be deleted.
        let config = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
        let topics = ["events", "scores"].map(|kind| TopicSpec {
            name: format!("{name}.{kind}"),
            partitions: PARTITIONS,
            replication: 1,
            config: config.clone(),
        });
        admin.ensure_topics(&topics).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let document = format!(
            "apiVersion: millrace.dev/v1\nkind: Pipeline\nmetadata: {{name: {name}}}\nspec:\n\
             \x20 topics: {{partitions: {PARTITIONS}, replication: 1, min_insync: 1, retention: 7d}}\n\
             \x20 events: {{subject: {name}.events-value, schema: event.avsc}}\n\
             \x20 lake: {{prefix: lake, roll: {{bytes: {bytes}, age: {age}s}}}}\n"
        );
        std::fs::write(folder.path().join("pipeline.yaml"), document).unwrap();
        // A topic that was made a moment ago may not be known everywhere.
        let events = [format!("{name}.events")];
        assert_eventually!(admin.describe(&events).await.unwrap().len() => 1, within: 10);
        let topic_id = admin.topic_id(&events[0]).await.unwrap();
        let producer = Producer::new(&client, producer::Config::new("test"), None).unwrap();
        let bucket = Bucket::create("lake").await.unwrap();
        Self { name, topic_id, bucket, registry, admin, folder, producer }
    }

    pub(crate) fn topic(&self) -> String {
        format!("{}.events", self.name)
    }

    /// An archiver, with S3 at `endpoint`, if not at the stand-in itself.
    pub(crate) fn begin(&self, endpoint: Option<&str>) -> Archiver {
        let mut archiver = Command::new(env!("CARGO_BIN_EXE_millrace-archiver"));
        archiver
            .args(["serve", "--admin-addr", "127.0.0.1:0", "--idle", "1s", "--bucket", self.bucket.name()])
            .args(["--kafka-set", "session.timeout.ms=6000", "--kafka-set", "heartbeat.interval.ms=1000"])
            .env("KAFKA_BOOTSTRAP_SERVERS", brokers())
            .env("MILLRACE_PIPELINES", self.folder.path().join("pipeline.yaml"))
            .env("MILLRACE_REGISTRY_HTTP", self.registry.url())
            .env("MILLRACE_LOG", "error");
        if let Some(endpoint) = endpoint {
            archiver.args(["--aws-endpoint-url", endpoint]);
        }
        Archiver(archiver.spawn().unwrap())
    }

    pub(crate) async fn send(&self, records: &[Sent]) {
        let topic: Arc<str> = self.topic().into();
        for chunk in records.chunks(2_000) {
            let record = |sent: &Sent| Outgoing {
                topic: Arc::clone(&topic),
                partition: Some(sent.partition),
                key: Some("key".into()),
                value: sent.value.clone().map(Into::into),
                headers: sent.headers.clone(),
                timestamp_ms: Some(sent.time),
            };
            for sent in self.producer.send_all(chunk.iter().map(record).collect()).await {
                sent.unwrap();
            }
        }
    }

    /// The end of each partition of the topic.
    pub(crate) async fn ends(&self) -> BTreeMap<i32, i64> {
        let moments = self.admin.moment(&self.topic(), 0).await.unwrap();
        moments.iter().map(|moment| (moment.partition, moment.end)).collect()
    }

    /// Waits until an archiver has a partition.
    pub(crate) async fn wait_until_begun(&self, partition: i32) {
        let (objects, origin) = (millrace_aws::Args::default().client().objects(), self.folder(partition).origin());
        let is_there = async || objects.head(self.bucket.name(), &origin).await.unwrap().is_some();
        assert_eventually!(is_there().await => true, within: 60);
    }

    /// Waits until the first partition is in the lake to its end, with more than so many stretches that are lost; gives the
    /// last of them.
    pub(crate) async fn wait_until_lost(&self, known: usize) -> Stretch {
        let begun = Instant::now();
        loop {
            let end = self.ends().await[&0];
            let manifests = self.manifests(0).await;
            let lost: Vec<Stretch> = manifests.iter().filter_map(|manifest| manifest.lost).collect();
            if lost.len() > known && manifests.last().is_some_and(|last| last.next == end) {
                return lost[lost.len() - 1];
            }
            assert!(begun.elapsed() < PATIENCE, "{lost:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until all that is in the topic is in the lake, as audits have it.
    pub(crate) async fn wait_until_archived(&self) {
        let begun = Instant::now();
        loop {
            let findings: Vec<_> = self.audits().await.into_iter().flat_map(|audit| audit.findings).collect();
            if findings.is_empty() {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{findings:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

fn brokers() -> String {
    std::env::var("KAFKA_BOOTSTRAP_SERVERS")
        .expect("KAFKA_BOOTSTRAP_SERVERS is not set: run `make test`, or start the stack and source its env file")
}

/// The running archiver; it ends with its test.
pub(crate) struct Archiver(Child);

impl Archiver {
    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Any signal, by its name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// Waits for its end: whether that was in order.
    pub(crate) fn wait(mut self) -> bool {
        self.0.wait().unwrap().success()
    }
}

impl Drop for Archiver {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}
