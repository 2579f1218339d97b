//! A pipeline of a test's own: topics on the running broker, a registry, a model, and the real binary.

pub(crate) mod registry;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use millrace_demo::{Generator, Settings};
use millrace_kafka::{
    Admin, Args, Client, Headers, Outgoing, Producer, Reader,
    admin::TopicSpec,
    producer,
    reader::{Found, From, Query},
};
use millrace_schema::scored::{self, Head};
use uuid::Uuid;

use registry::Registry;

/// The start of every stream of mail here, in milliseconds since 1970.
const START: i64 = 1_700_000_000_000;

pub(crate) struct World {
    pub(crate) name: String,
    pub(crate) registry: Registry,
    folder: tempfile::TempDir,
    client: Client,
    producer: Producer,
}

impl World {
    /// Topics, documents, a registry with the demo's schema as number 1, and a model.
    pub(crate) async fn new() -> Self {
        let client = Args::plaintext(brokers()).client().unwrap();
        let name = format!("scorer-{}", &Uuid::new_v4().simple().to_string()[..12]);
        let folder = tempfile::tempdir().unwrap();
        millrace_demo::write_documents(folder.path()).unwrap();
        let document = millrace_demo::PIPELINE.replacen("{name: mail-trust}", &format!("{{name: {name}}}"), 1);
        std::fs::write(folder.path().join("mail-trust.yaml"), document).unwrap();
        let producer = Producer::new(&client, producer::Config::new("test"), None).unwrap();
        let registry = Registry::start().await;
        registry.add(1, millrace_demo::SCHEMA);
        let world = Self { name, registry, folder, client, producer };
        let specs: Vec<TopicSpec> = ["events", "scores", "dead"]
            .iter()
            .map(|kind| TopicSpec { name: world.topic(kind), partitions: 4, replication: 1, config: BTreeMap::new() })
            .collect();
        Admin::new(&world.client).unwrap().ensure_topics(&specs).await.unwrap();
        world
    }

    pub(crate) fn topic(&self, kind: &str) -> String {
        format!("{}.{kind}", self.name)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Trains a small model with the real command, in place of the one that may be there.
    pub(crate) fn train(&self, seed: u64) {
        let file = self.path("labelled.avro");
        millrace_demo::write_training_file(&file, Generator::new(Settings::new(seed, START)), 1_500).unwrap();
        let output = self
            .run(&[
                "train",
                "--rounds",
                "10",
                "--leaves",
                "7",
                "--positive",
                "spam,phish",
                "--negative",
                "ham",
                "--pipeline",
            ])
            .arg(self.path("mail-trust.yaml"))
            .arg("--features")
            .arg(self.path("features.yaml"))
            .arg("--out")
            .arg(self.path("models/mail-trust"))
            .arg(file)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The scorer, with two lanes.
    pub(crate) fn stream(&self) -> Scorer {
        Scorer(self.run(&["stream", "--lanes", "2"]).spawn().unwrap())
    }

    /// The scorer, until it ends by itself.
    pub(crate) fn stream_to_its_end(&self) -> Output {
        self.run(&["stream"]).stderr(Stdio::piped()).output().unwrap()
    }

    fn run(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace-scorer"));
        command
            .args(args)
            .env("KAFKA_BOOTSTRAP_SERVERS", brokers())
            .env("MILLRACE_PIPELINES", self.path("mail-trust.yaml"))
            .env("MILLRACE_MODELS", self.path("models"))
            .env("MILLRACE_REGISTRY_HTTP", self.registry.url())
            .env("MILLRACE_INSTANCE_ID", &self.name)
            .env("MILLRACE_LOG", "warn");
        command
    }

    /// An event as the gateway writes it.
    pub(crate) fn event(&self, id: &str, value: Vec<u8>) -> Outgoing {
        let headers: [(&'static str, String); 4] = [
            ("event-id", id.to_owned()),
            ("correlation-id", format!("c-{id}")),
            ("received-at", "2026-01-02T03:04:05.678Z".to_owned()),
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
        ];
        let headers: Headers = headers.into_iter().collect();
        let key = Some(id.to_owned().into());
        Outgoing {
            topic: self.topic("events").into(),
            partition: None,
            key,
            value: Some(value.into()),
            headers,
            timestamp_ms: None,
        }
    }

    pub(crate) async fn send(&self, records: Vec<Outgoing>) {
        for chunk in records.chunks(500) {
            for sent in self.producer.send_all(chunk.to_vec()).await {
                sent.unwrap();
            }
        }
    }

    /// Every committed record of a topic of the pipeline.
    pub(crate) async fn read(&self, kind: &str) -> Vec<Found> {
        let query = Query { topic: self.topic(kind), partition: None, from: From::Beginning, follow: false };
        let mut reader = Reader::open(&self.client, query).unwrap();
        let mut all = Vec::new();
        while let Some(found) = reader.next().await {
            all.push(found.unwrap());
        }
        all
    }

    /// Waits for that many scores.
    pub(crate) async fn scores(&self, count: usize) -> Vec<Found> {
        self.wait("scores", count).await
    }

    /// Waits for that many records of a topic.
    pub(crate) async fn wait(&self, kind: &str, count: usize) -> Vec<Found> {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let found = self.read(kind).await;
            if found.len() >= count {
                return found;
            }
            assert!(Instant::now() < deadline, "{} of {count} records in {kind}", found.len());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// The running scorer; it ends with its test.
pub(crate) struct Scorer(Child);

impl Scorer {
    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Scorer {
    fn drop(&mut self) {
        // It may have ended already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn brokers() -> String {
    std::env::var("KAFKA_BOOTSTRAP_SERVERS")
        .expect("KAFKA_BOOTSTRAP_SERVERS is not set: run `make test`, or start the stack and source its env file")
}

/// Made-up mail: ids and Avro datums.
pub(crate) fn mail(seed: u64, count: usize) -> Vec<(String, Vec<u8>)> {
    Generator::new(Settings::new(seed, START))
        .take(count)
        .map(|labelled| {
            let mut datum = Vec::new();
            labelled.mail.encode(&mut datum);
            (labelled.mail.uid, datum)
        })
        .collect()
}

/// A value in the framing `id-prefix`.
pub(crate) fn framed(schema: u32, datum: &[u8]) -> Vec<u8> {
    [&[0][..], &schema.to_be_bytes(), datum].concat()
}

/// A score's schema id, its head and the event in it.
pub(crate) fn open(found: &Found) -> (u32, Head<'_>, &[u8]) {
    let value = found.record.value.as_deref().unwrap();
    let (head, event) = scored::decode_head(&value[5..]).unwrap();
    (u32::from_be_bytes(value[1..5].try_into().unwrap()), head, event)
}

/// Breaks a model bundle: its manifest says something else than its files.
pub(crate) fn break_bundle(models: &Path) {
    let path = models.join("mail-trust/manifest.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, text.replace("sha256", "sha257")).unwrap();
}
