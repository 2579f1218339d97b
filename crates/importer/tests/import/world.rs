//! A pipeline of a test's own: topics on the running broker, a database, a registry, and the real binary.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Child, Command},
    time::{Duration, Instant},
};

use millrace_core::record::VERDICT_SCHEMA;
use millrace_kafka::{
    Admin, Args, Client, Headers, Outgoing, Producer, Reader,
    admin::TopicSpec,
    producer,
    reader::{Found, From, Query},
};
use millrace_postgres::Pool;
use millrace_schema::{
    Schema, json,
    scored::{self, Head, Reason},
};
use millrace_testkit::{Database, Registry};
use serde_json::{Value, json};
use uuid::Uuid;

/// The first version of the events here.
pub(crate) const EVENT: &str = r#"{"type":"record","name":"Event","fields":[
    {"name":"org","type":["null","string"],"default":null},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"size","type":"int"},
    {"name":"weight","type":"double"},
    {"name":"subject","type":"string"}]}"#;

/// The aggregate of the pipelines here.
pub(crate) const AGGREGATES: &str =
    "{name: by_org_hour, by: [event.org, hour(event.time)], count: true, sum: [score, event.weight]}";

/// The ids under which the registry knows the scored form of [`EVENT`], and verdicts.
pub(crate) const SCORED: u32 = 101;
pub(crate) const VERDICT: u32 = 100;

/// How long the slowest step of a test may take.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct World {
    pub(crate) name: String,
    pub(crate) registry: Registry,
    pub(crate) pool: Pool,
    pub(crate) database_url: String,
    folder: tempfile::TempDir,
    client: Client,
    producer: Producer,
}

/// One score to send.
#[derive(Clone)]
pub(crate) struct Score {
    pub(crate) id: String,
    pub(crate) scored_at: i64,
    pub(crate) probability: f64,
    pub(crate) event: Value,
}

impl Score {
    /// The score of an event that is a function of its number.
    pub(crate) fn number(n: usize) -> Self {
        let org = (!n.is_multiple_of(7)).then(|| format!("org-{}", n % 5));
        let at = 1_700_000_000_000 + (n as i64 % 50) * 600_000;
        let event = json!({"org": org, "at": at, "size": n, "weight": n as f64 / 3.0, "subject": format!("mail {n}")});
        Self { id: format!("e-{n}"), scored_at: 1_000, probability: (n % 1_000) as f64 / 999.0, event }
    }

    pub(crate) fn at(mut self, scored_at: i64, probability: f64) -> Self {
        (self.scored_at, self.probability) = (scored_at, probability);
        self
    }

    /// The same, as a record of a file of scored events.
    pub(crate) fn datum(&self, event: &Schema) -> Vec<u8> {
        self.value(0, event).split_off(5)
    }

    /// The value under a schema of scored events.
    pub(crate) fn value(&self, id: u32, event: &Schema) -> Vec<u8> {
        let mut out = vec![0];
        out.extend(id.to_be_bytes());
        let head = Head {
            event_id: &self.id,
            correlation_id: "c",
            pipeline: "p",
            received_at: 1_700_000_000_000,
            scored_at: self.scored_at,
            source: "stream",
            model: "m",
            model_version: "v1",
            score: self.probability,
            margin: 0.5,
            reasons: vec![
                Reason { feature: "size", value: Some("3"), contribution: 0.75 },
                Reason { feature: "org", value: None, contribution: -0.25 },
            ],
        };
        scored::encode_head(&head, &mut out);
        json::Encoder::compile(event).encode(&self.event, &mut out).unwrap();
        out
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let client = Args::plaintext(brokers()).client().unwrap();
        let name = format!("importer-{}", &Uuid::new_v4().simple().to_string()[..12]);
        let database = Database::create("importer").await.unwrap();
        let registry = Registry::start().await.unwrap();
        registry.add(VERDICT, VERDICT_SCHEMA);
        let world = Self {
            pool: database.pool,
            database_url: database.url,
            folder: tempfile::tempdir().unwrap(),
            producer: Producer::new(&client, producer::Config::new("test"), None).unwrap(),
            name,
            registry,
            client,
        };
        world.add_version(SCORED, EVENT);
        world.write_document(AGGREGATES);
        let specs: Vec<TopicSpec> = ["scores", "verdicts", "dead"]
            .iter()
            .map(|kind| TopicSpec { name: world.topic(kind), partitions: 4, replication: 1, config: BTreeMap::new() })
            .collect();
        Admin::new(&world.client).unwrap().ensure_topics(&specs).await.unwrap();
        assert!(world.command("migrate").status().unwrap().success());
        world
    }

    /// Registers a version of the event (as `id` + 100) and its scored form (as `id`), and makes it the latest.
    pub(crate) fn add_version(&self, id: u32, event: &str) -> Schema {
        let event = self.add_schemas(id, event);
        self.registry.add_version(&self.subject(), id + 100);
        event
    }

    /// The same, and nobody is told yet that it is the latest.
    pub(crate) fn add_version_quietly(&self, id: u32, event: &str) -> Schema {
        let event = self.add_schemas(id, event);
        self.registry.add_version_quietly(&self.subject(), id + 100);
        event
    }

    fn add_schemas(&self, id: u32, event: &str) -> Schema {
        let event = Schema::parse(event).unwrap();
        self.registry.add(id, &scored::compose(&event).unwrap().java_string());
        self.registry.add(id + 100, &event.java_string());
        event
    }

    fn subject(&self) -> String {
        format!("{}.events-value", self.name)
    }

    /// Writes the pipeline's document with other aggregates.
    pub(crate) fn write_document(&self, aggregates: &str) {
        std::fs::write(self.document(), document(&self.name, aggregates)).unwrap();
    }

    fn document(&self) -> PathBuf {
        self.folder.path().join("pipeline.yaml")
    }

    pub(crate) fn topic(&self, kind: &str) -> String {
        format!("{}.{kind}", self.name)
    }

    /// The importer's command line.
    pub(crate) fn command(&self, command: &str) -> Command {
        let mut importer = Command::new(env!("CARGO_BIN_EXE_millrace-importer"));
        importer.arg(command).env("DATABASE_URL", &self.database_url).env("MILLRACE_LOG", "warn");
        if command != "migrate" {
            importer.env("MILLRACE_PIPELINES", self.document()).env("MILLRACE_REGISTRY_HTTP", self.registry.url());
        }
        if command == "stream" {
            importer.env("KAFKA_BOOTSTRAP_SERVERS", brokers()).args([
                "--kafka-set",
                "session.timeout.ms=6000",
                "--kafka-set",
                "heartbeat.interval.ms=1000",
            ]);
        }
        importer
    }

    pub(crate) fn stream(&self) -> Importer {
        Importer::spawn(self.command("stream"))
    }

    /// Sends values to a topic, each to a partition that is a function of its place.
    pub(crate) async fn send(&self, kind: &str, values: Vec<Vec<u8>>) {
        let topic: std::sync::Arc<str> = self.topic(kind).into();
        let records: Vec<Outgoing> = values
            .into_iter()
            .enumerate()
            .map(|(place, value)| Outgoing {
                topic: topic.clone(),
                partition: Some((place % 4) as i32),
                key: Some("k".into()),
                value: Some(value.into()),
                headers: Headers::new(),
                timestamp_ms: None,
            })
            .collect();
        for chunk in records.chunks(1_000) {
            for sent in self.producer.send_all(chunk.to_vec()).await {
                sent.unwrap();
            }
        }
    }

    pub(crate) async fn send_scores(&self, scores: &[Score]) {
        let event = Schema::parse(EVENT).unwrap();
        self.send("scores", scores.iter().map(|score| score.value(SCORED, &event)).collect()).await;
    }

    /// Stores one score of the first version of the event, which it returns, and stops the importer.
    pub(crate) async fn store_one_and_stop(&self) -> Schema {
        let event = Schema::parse(EVENT).unwrap();
        let importer = self.stream();
        self.send("scores", vec![Score::number(1).value(SCORED, &event)]).await;
        self.wait_for_ledger(1).await;
        drop(importer);
        event
    }

    /// There is one dead letter, and its reason speaks of this.
    pub(crate) async fn assert_one_dead(&self, about: &str) {
        let dead = self.dead().await;
        let reasons: Vec<_> = dead.iter().map(|found| found.record.headers.text("dead-reason").unwrap()).collect();
        assert!(reasons.len() == 1 && reasons[0].contains(about), "{reasons:?}");
    }

    /// Every dead letter.
    pub(crate) async fn dead(&self) -> Vec<Found> {
        let query = Query { topic: self.topic("dead"), partition: None, from: From::Beginning, follow: false };
        let mut reader = Reader::open(&self.client, query).unwrap();
        let mut all = Vec::new();
        while let Some(found) = reader.next().await {
            all.push(found.unwrap());
        }
        all
    }

    /// One number; 0 where the table is not there yet.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        match self.pool.get().await.unwrap().query_one(sql, &[]).await {
            Ok(row) => row.get(0),
            Err(error) => {
                let error = millrace_postgres::Error::from(error);
                assert_eq!(error.tag(), "undefined", "{sql}: {error}");
                0
            }
        }
    }

    pub(crate) async fn text(&self, sql: &str) -> String {
        let row = self.pool.get().await.unwrap().query_one(sql, &[]).await.unwrap();
        row.get::<_, Option<String>>(0).unwrap_or_default()
    }

    pub(crate) async fn rows(&self) -> i64 {
        self.number("SELECT count(*) FROM pipeline.mail").await
    }

    /// Waits until a number is there.
    pub(crate) async fn wait(&self, sql: &str, wanted: i64) {
        self.wait_until(sql, |found| found == wanted).await;
    }

    /// Waits until there are so many rows.
    pub(crate) async fn wait_for_rows(&self, least: i64) {
        self.wait_until("SELECT count(*) FROM pipeline.mail", |found| found >= least).await;
    }

    async fn wait_until(&self, sql: &str, holds: impl Fn(i64) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.number(sql).await;
            if holds(found) {
                return;
            }
            assert!(Instant::now() < deadline, "{sql}: still {found}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the ledger says that so many records of both topics are done.
    pub(crate) async fn wait_for_ledger(&self, records: i64) {
        self.wait("SELECT coalesce(sum(next), 0)::bigint FROM importer.offsets", records).await;
    }

    /// Groups of the aggregate that are not what the rows say, either way.
    pub(crate) async fn assert_aggregates_equal_rows(&self) {
        let rows = "SELECT org, date_trunc('hour', at, 'UTC') AS hour, count(*), sum(round(score::numeric, 9)) AS sum_score, \
                    coalesce(sum(round(weight::numeric, 9)), 0) AS sum_weight FROM pipeline.mail GROUP BY 1, 2";
        let groups = "SELECT org, hour, count, sum_score, sum_weight FROM pipeline.mail_by_org_hour";
        let differences =
            format!("SELECT count(*) FROM (({rows} EXCEPT ALL {groups}) UNION ALL ({groups} EXCEPT ALL {rows})) d");
        assert_eq!(self.number(&differences).await, 0, "groups that differ from their rows");
        assert!(self.number("SELECT count(*) FROM pipeline.mail_by_org_hour").await > 0);
    }
}

fn document(name: &str, aggregates: &str) -> String {
    format!(
        "apiVersion: millrace.dev/v1\nkind: Pipeline\nmetadata: {{name: {name}}}\nspec:\n\
         \x20 topics: {{partitions: 4, replication: 1, min_insync: 1, retention: 7d}}\n\
         \x20 events: {{subject: {name}.events-value, schema: event.avsc, time: at}}\n\
         \x20 scoring: {{model: m}}\n\
         \x20 import: {{table: mail, aggregates: [{aggregates}]}}\n\
         \x20 batch: {{inbox: in/, scores: scores/}}\n"
    )
}

fn brokers() -> String {
    std::env::var("KAFKA_BOOTSTRAP_SERVERS")
        .expect("KAFKA_BOOTSTRAP_SERVERS is not set: run `make test`, or start the stack and source its env file")
}

/// The running importer; it ends with its test.
pub(crate) struct Importer(Child);

impl Importer {
    pub(crate) fn spawn(mut command: Command) -> Self {
        Self(command.spawn().unwrap())
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Any signal, by its name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.0.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end that was asked for; true when it was in order.
    pub(crate) fn wait(mut self) -> bool {
        self.0.wait().unwrap().success()
    }
}

impl Drop for Importer {
    fn drop(&mut self) {
        // It may have ended already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
