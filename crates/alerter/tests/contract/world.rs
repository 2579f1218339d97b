//! A pipeline of a test's own: topics, a database, a registry, a receiver, and the alerter's binary.

use std::{
    collections::HashMap,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use clap::Parser as _;
use millrace_core::record::{SIGNAL_SCHEMA, VERDICT_SCHEMA};
use millrace_kafka::{
    Admin, Client, Headers, Outgoing, Producer, Reader,
    admin::TopicSpec,
    producer,
    reader::{Found, From, Query},
};
use millrace_postgres::{Pool, Row};
use millrace_schema::{
    Schema, json,
    scored::{Head, compose, encode_head},
};
use millrace_testkit::Database;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use uuid::Uuid;

use crate::{
    receiver::{Receiver, SECRET},
    registry::Registry,
};

/// The events of these tests.
pub(crate) const EVENT: &str = r#"{"type":"record","name":"Mail","fields":[
    {"name":"org","type":"string"},{"name":"size","type":["null","long"],"default":null}]}"#;

const DOCUMENT: &str = "\
apiVersion: millrace.dev/v1
kind: Pipeline
metadata: {name: NAME}
spec:
  topics: {partitions: 2, replication: 1, min_insync: 1}
  events: {subject: NAME.events-value, schema: a.avsc}
  scoring: {model: m}
  policy:
    - {name: large, when: event.size > 1000, action: label}
    - {name: spoof, when: score >= 0.9, action: quarantine}
    - {name: default, when: 'true', action: pass}
  alerts:
    - {name: told, on: quarantine, notify: [ops-hook], group_by: [event.org], group_wait: 300ms, repeat: 1h}
";

pub(crate) struct World {
    pub(crate) name: String,
    pub(crate) receiver: Receiver,
    pub(crate) pool: Pool,
    pub(crate) env: HashMap<String, String>,
    registry: Registry,
    producer: Producer,
    client: Client,
    folder: TempDir,
}

/// What the shared stack says about itself.
fn setting(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run the tests by `make test`, which starts the stack"))
}

#[derive(clap::Parser)]
struct KafkaArgs {
    #[command(flatten)]
    kafka: millrace_kafka::Args,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with_document(|text| text).await
    }

    pub(crate) async fn with_document(change: impl FnOnce(String) -> String) -> Self {
        let name = format!("alert-{}", &Uuid::new_v4().simple().to_string()[..12]);
        let brokers = setting("KAFKA_BOOTSTRAP_SERVERS");
        let client = KafkaArgs::parse_from(["test", "--kafka-brokers", &brokers]).kafka.client().unwrap();
        let spec = |suffix: &str| TopicSpec {
            name: format!("{name}.{suffix}"),
            partitions: 2,
            replication: 1,
            config: [].into(),
        };
        let topics = ["scores", "verdicts", "dead", "signals", "signals.dead"].map(spec);
        Admin::new(&client).unwrap().ensure_topics(&topics).await.unwrap();
        let database = Database::create("alerter").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("p.yaml"), change(DOCUMENT.replace("NAME", &name))).unwrap();
        let (registry, receiver) = (Registry::start().await, Receiver::start().await);
        registry.add(&format!("{name}.events-value"), EVENT);
        let env = [
            ("KAFKA_BOOTSTRAP_SERVERS", brokers),
            ("DATABASE_URL", database.url.clone()),
            ("MILLRACE_REGISTRY_HTTP", format!("http://{}", registry.addr)),
            ("MILLRACE_PIPELINES", folder.path().display().to_string()),
            ("MILLRACE_INSTANCE_ID", format!("{name}-0")),
            ("MILLRACE_SIGNALS_TOPIC", format!("{name}.signals")),
            ("MILLRACE_ALLOW_PRIVATE_RECEIVERS", "true".to_owned()),
            ("MILLRACE_RECEIVER_OPS_HOOK_URL", format!("http://{}/hook", receiver.addr)),
            ("MILLRACE_RECEIVER_OPS_HOOK_SECRET", SECRET.to_owned()),
            ("MILLRACE_RETRY_SCHEDULE", "200ms,200ms,200ms".to_owned()),
            ("MILLRACE_LOG", "info".to_owned()),
        ];
        let env: HashMap<String, String> = env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let producer = Producer::new(&client, producer::Config::new("test"), None).unwrap();
        Self { name, receiver, pool: database.pool, env, registry, producer, client, folder }
    }

    /// Starts the alerter, its database migrated.
    pub(crate) async fn serve(&self, loops: &str) -> Child {
        let migrated = self.command(&["migrate"]).status().await.unwrap();
        assert!(migrated.success());
        self.command(&["serve", "--loops", loops]).spawn().unwrap()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace-alerter"));
        // A variable that is empty stands for one that is not there.
        let env = self.env.iter().filter(|(_, value)| !value.is_empty());
        command.args(args).envs(env).kill_on_drop(true).stdin(Stdio::null());
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        command
    }

    /// Runs the alerter to its end, and returns what it said.
    pub(crate) async fn run(&self, args: &[&str]) -> (ExitStatus, String) {
        let status = tokio::time::timeout(Duration::from_secs(30), self.command(args).status()).await;
        (status.expect("the alerter ends by itself").unwrap(), self.log())
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Sends values to a topic, in turn to its partitions.
    pub(crate) async fn send(&self, suffix: &str, values: Vec<Vec<u8>>) {
        let topic = format!("{}.{suffix}", self.name).into();
        let outgoing = |(i, value): (i32, Vec<u8>)| Outgoing {
            topic: std::sync::Arc::clone(&topic),
            partition: Some(i % 2),
            key: Some(format!("k{i}").into()),
            value: Some(value.into()),
            headers: [("event-id", format!("h{i}")), ("correlation-id", format!("c{i}"))]
                .into_iter()
                .collect::<Headers>(),
            timestamp_ms: None,
        };
        let sent = self.producer.send_all((0..).zip(values).map(outgoing).collect()).await;
        assert!(sent.iter().all(Result::is_ok));
    }

    /// A scored event as the scorer writes it.
    pub(crate) fn score(&self, event_id: &str, score: f64) -> Vec<u8> {
        let event = Schema::parse(EVENT).unwrap();
        let schema = compose(&event).unwrap();
        let mut value = prefix(self.registry.add(&format!("{}.scores-value", self.name), &schema.java_string()));
        let head = Head {
            event_id,
            correlation_id: "c",
            pipeline: &self.name,
            source: "stream",
            model: "m",
            model_version: "v1",
            score,
            ..Head::default()
        };
        encode_head(&head, &mut value);
        json::Encoder::compile(&event).encode(&json!({"org": "acme", "size": null}), &mut value).unwrap();
        value
    }

    /// A verdict that raises the document's alert in the group of `org`.
    pub(crate) fn verdict(&self, id: Uuid, org: &str) -> Vec<u8> {
        let verdict = json!({
            "verdict_id": id, "event_id": format!("e-{id}"), "correlation_id": format!("c-{id}"), "pipeline": self.name,
            "received_at": 1, "scored_at": 2, "judged_at": 3, "action": "quarantine", "labels": [], "rule": "spoof",
            "score": 0.97, "model": "m", "model_version": "v1", "policy_revision": "r",
            "alerts": [{"name": "told", "group": {"event.org": org}}],
        });
        self.encode("verdicts-value", VERDICT_SCHEMA, &verdict)
    }

    pub(crate) fn signal(&self, state: &str, change: impl FnOnce(&mut Value)) -> Vec<u8> {
        let mut signal = json!({
            "dedup_key": "mail/hour-12", "kind": "deadline", "severity": "warning", "state": state, "source": "scheduler",
            "subject": "mail", "labels": {"run": "12"}, "since": 1000, "summary": "hour 12 is late", "link": null,
            "notify": ["ops-hook"],
        });
        change(&mut signal);
        self.encode("signals-value", SIGNAL_SCHEMA, &signal)
    }

    fn encode(&self, subject: &str, schema: &str, value: &Value) -> Vec<u8> {
        let mut out = prefix(self.registry.add(&format!("{}.{subject}", self.name), schema));
        json::Encoder::compile(&Schema::parse(schema).unwrap()).encode(value, &mut out).unwrap();
        out
    }

    /// Everything committed in a topic.
    pub(crate) async fn records(&self, suffix: &str) -> Vec<Found> {
        let topic = format!("{}.{suffix}", self.name);
        let query = Query { topic, partition: None, from: From::Beginning, follow: false };
        let mut reader = Reader::open(&self.client, query).unwrap();
        let mut found = Vec::new();
        while let Some(record) = reader.next().await {
            found.push(record.unwrap());
        }
        found
    }

    /// Waits until a topic holds so many records.
    pub(crate) async fn records_of(&self, suffix: &str, count: usize) -> Vec<Found> {
        let begin = Instant::now();
        loop {
            let found = self.records(suffix).await;
            if found.len() >= count {
                return found;
            }
            assert!(
                begin.elapsed() < Duration::from_secs(90),
                "{} of {count} in {suffix}\n{}",
                found.len(),
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    pub(crate) async fn row(&self, sql: &str) -> Row {
        self.pool.get().await.unwrap().query_one(sql, &[]).await.unwrap()
    }

    /// Waits until a query that gives one truth gives true.
    pub(crate) async fn until(&self, sql: &str) {
        let begin = Instant::now();
        while !self.row(sql).await.get::<_, bool>(0) {
            assert!(begin.elapsed() < Duration::from_mins(1), "{sql}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// A verdict's datum as JSON.
pub(crate) fn verdict(found: &Found) -> Value {
    json::to_json(&Schema::parse(VERDICT_SCHEMA).unwrap(), &found.record.value.as_ref().unwrap()[5..]).unwrap()
}

fn prefix(id: u32) -> Vec<u8> {
    let mut value = vec![0];
    value.extend_from_slice(&id.to_be_bytes());
    value
}
