//! A gateway on real parts: its own topics and database, the brokers and the server of the environment.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use millrace_core::{Pipeline, Source};
use millrace_gateway::{
    Limits, Listeners, Service, Settings,
    keys::{MIGRATIONS, SCHEMA},
};
use millrace_kafka::{
    self as kafka, Admin, Record,
    admin::TopicSpec,
    reader::{From, Query, Reader},
};
use millrace_postgres as postgres;
use millrace_proto::gateway::v1::{
    CreateKeyRequest, event_service_client::EventServiceClient, key_service_client::KeyServiceClient,
};
use millrace_runtime::{Secret, Shutdown};
use millrace_schema::client;
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::{
    Request,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};

use crate::registry::Registry;

/// The admin token of every gateway here.
pub(crate) const ADMIN_TOKEN: &str = "admin-of-the-test";

/// Version 1 of the events of the tests.
pub(crate) const V1: &str = r#"{"type": "record", "name": "Visit", "namespace": "test", "fields": [
    {"name": "uid", "type": ["null", "string"], "default": null},
    {"name": "org", "type": ["null", "string"], "default": null},
    {"name": "url_count", "type": "long"},
    {"name": "seen_at", "type": {"type": "long", "logicalType": "timestamp-millis"}, "default": 0},
    {"name": "body", "type": ["null", "bytes"], "default": null}]}"#;

/// Version 2: one field more.
pub(crate) const V2: &str = r#"{"type": "record", "name": "Visit", "namespace": "test", "fields": [
    {"name": "uid", "type": ["null", "string"], "default": null},
    {"name": "org", "type": ["null", "string"], "default": null},
    {"name": "url_count", "type": "long"},
    {"name": "seen_at", "type": {"type": "long", "logicalType": "timestamp-millis"}, "default": 0},
    {"name": "body", "type": ["null", "bytes"], "default": null},
    {"name": "agent", "type": "string", "default": "none"}]}"#;

fn from_environment(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "{name} is not set: these tests need the local stack, which `make test` starts and names in the environment"
        )
    })
}

/// Where Kafka is.
pub(crate) fn brokers() -> String {
    from_environment("KAFKA_BOOTSTRAP_SERVERS")
}

fn unique() -> String {
    uuid::Uuid::now_v7().simple().to_string()[8..].to_owned()
}

/// What a gateway stands on.
pub(crate) struct World {
    /// The pipeline's name, of no other test.
    pub(crate) pipeline: String,
    /// The registry, which can be switched off.
    pub(crate) registry: Registry,
    database_url: String,
    framing: &'static str,
    id: &'static str,
}

impl World {
    /// Topics, a database with the gateway's tables, and a registry with [`V1`] under the pipeline's subject.
    pub(crate) async fn new() -> Self {
        Self::with_schema(V1).await
    }

    /// The same with another schema.
    pub(crate) async fn with_schema(schema: &str) -> Self {
        let pipeline = format!("gw-{}", unique());
        let world = Self {
            registry: Registry::start().await,
            database_url: database().await,
            framing: "id-prefix",
            id: "id: uid, ",
            pipeline,
        };
        world.registry.register(&world.subject(), schema);
        let topic = TopicSpec {
            name: world.topic(),
            partitions: 2,
            replication: 1,
            config: std::collections::BTreeMap::default(),
        };
        Admin::new(&kafka_client(&brokers())).unwrap().ensure_topics(&[topic]).await.unwrap();
        world
    }

    /// With another framing than `id-prefix`.
    pub(crate) fn framed(mut self, framing: &'static str) -> Self {
        self.framing = framing;
        self
    }

    /// Where the document names no field for the id.
    pub(crate) fn without_id_field(mut self) -> Self {
        self.id = "";
        self
    }

    /// The pipeline's subject.
    pub(crate) fn subject(&self) -> String {
        format!("{}.events-value", self.pipeline)
    }

    fn topic(&self) -> String {
        format!("{}.events", self.pipeline)
    }

    /// The address of the database; another one goes through a proxy.
    pub(crate) fn database_addr(&self) -> SocketAddr {
        let rest = self.database_url.split('@').next_back().unwrap();
        rest.split('/').next().unwrap().parse().unwrap()
    }

    /// The pipeline's document.
    pub(crate) fn document(&self) -> String {
        let Self { pipeline, framing, id, .. } = self;
        let subject = self.subject();
        format!(
            "apiVersion: millrace.dev/v1
kind: Pipeline
metadata: {{name: {pipeline}}}
spec:
  events: {{subject: {subject}, schema: visit.avsc, {id}key: [org], framing: {framing}}}
"
        )
    }

    /// Parts of a gateway with these bounds.
    pub(crate) fn settings(&self, limits: Limits) -> Settings {
        let document = Source::parse("pipeline.yaml", &self.document()).unwrap();
        Settings {
            pipelines: vec![Pipeline::parse(&document).unwrap()],
            kafka: kafka_client(&brokers()),
            postgres: postgres::Args::from_url(&self.database_url).pool().unwrap(),
            registry: client::Client::new(&client::Args::from_url(self.registry.url())).unwrap(),
            admin_token: Some(Secret::value(ADMIN_TOKEN)),
            limits,
            tls: None,
            meter: opentelemetry::global::meter("test"),
        }
    }

    /// The same with a database at another address.
    pub(crate) fn settings_through(&self, database: SocketAddr) -> Settings {
        let url = self.database_url.replace(&self.database_addr().to_string(), &database.to_string());
        Settings { postgres: postgres::Args::from_url(url).pool().unwrap(), ..self.settings(Limits::default()) }
    }

    /// A gateway in the production wiring.
    pub(crate) async fn gateway(&self) -> Gateway {
        Gateway::start(self.settings(Limits::default())).await
    }

    /// The same with these bounds.
    pub(crate) async fn gateway_with(&self, limits: Limits) -> Gateway {
        Gateway::start(self.settings(limits)).await
    }

    /// A key for the pipeline, made through that gateway.
    pub(crate) async fn key(&self, gateway: &Gateway) -> String {
        gateway.make_key(&[&self.pipeline]).await
    }

    /// All events that are in Kafka now, by offset within each partition.
    pub(crate) async fn records(&self) -> Vec<Record> {
        let query = Query { topic: self.topic(), partition: None, from: From::Beginning, follow: false };
        let mut reader = Reader::open(&kafka_client(&brokers()), query).unwrap();
        let mut records = Vec::new();
        while let Some(found) = reader.next().await {
            records.push(found.unwrap().record);
        }
        records
    }

    /// The ids of all events in Kafka, sorted.
    pub(crate) async fn event_ids(&self) -> Vec<String> {
        let records = self.records().await;
        let mut ids: Vec<_> =
            records.iter().map(|record| record.headers.text("event-id").unwrap().to_owned()).collect();
        ids.sort();
        ids
    }

    /// What the gateway's binary needs of the environment.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("DATABASE_URL", self.database_url.clone()),
            ("KAFKA_BOOTSTRAP_SERVERS", brokers()),
            ("MILLRACE_REGISTRY_HTTP", self.registry.url()),
            ("MILLRACE_ADMIN_TOKEN", ADMIN_TOKEN.to_owned()),
        ]
    }
}

/// A client of those brokers.
pub(crate) fn kafka_client(brokers: &str) -> kafka::Client {
    kafka::Args::plaintext(brokers).client().unwrap()
}

/// A new database with the gateway's tables.
async fn database() -> String {
    let url = from_environment("DATABASE_URL");
    let name = format!("gateway_{}", unique());
    let client = postgres::Args::from_url(&url).pool().unwrap().get().await.unwrap();
    client.batch_execute(&format!("create database {name}")).await.unwrap();
    let url = format!("{}/{name}", url.rsplit_once('/').unwrap().0);
    postgres::migrate(&postgres::Args::from_url(&url).pool().unwrap(), SCHEMA, MIGRATIONS).await.unwrap();
    url
}

/// A running gateway; it stops when it is dropped.
pub(crate) struct Gateway {
    /// Its HTTP port.
    pub(crate) http: SocketAddr,
    /// Its gRPC port.
    pub(crate) grpc: SocketAddr,
    shutdown: Shutdown,
    serving: Option<JoinHandle<anyhow::Result<()>>>,
    client: reqwest::Client,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

impl Gateway {
    pub(crate) async fn start(settings: Settings) -> Self {
        let bind = || TcpListener::bind("127.0.0.1:0");
        let listeners = Listeners { http: bind().await.unwrap(), grpc: bind().await.unwrap() };
        let (http, grpc) = (listeners.http.local_addr().unwrap(), listeners.grpc.local_addr().unwrap());
        let shutdown = Shutdown::new();
        let service = Service::new(settings).unwrap();
        let serving = Some(tokio::spawn(service.serve(listeners, shutdown.clone())));
        Self { http, grpc, shutdown, serving, client: reqwest::Client::new() }
    }

    /// Asks it to stop, as SIGTERM does.
    pub(crate) fn stop(&self) {
        self.shutdown.trigger();
    }

    /// Waits until it has stopped.
    pub(crate) async fn stopped(mut self) {
        self.stop();
        let serving = self.serving.take().unwrap();
        tokio::time::timeout(Duration::from_secs(20), serving).await.expect("drained in time").unwrap().unwrap();
    }

    /// A request to publish to that pipeline.
    pub(crate) fn post(&self, pipeline: &str, key: &str) -> reqwest::RequestBuilder {
        self.client.post(format!("http://{}/v1/pipelines/{pipeline}/events", self.http)).bearer_auth(key)
    }

    /// A connection for gRPC.
    pub(crate) fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.grpc)).unwrap().connect_lazy()
    }

    /// A client for events; requests are made by [`authorized`].
    pub(crate) fn events(&self) -> EventServiceClient<Channel> {
        EventServiceClient::new(self.channel())
    }

    /// A client for keys.
    pub(crate) fn keys(&self) -> KeyServiceClient<Channel> {
        KeyServiceClient::new(self.channel())
    }

    /// A new API key.
    pub(crate) async fn make_key(&self, pipelines: &[&str]) -> String {
        let pipelines = pipelines.iter().map(ToString::to_string).collect();
        let request = CreateKeyRequest { name: "test".to_owned(), pipelines };
        self.keys().create_key(authorized(request, ADMIN_TOKEN)).await.unwrap().into_inner().secret
    }
}

/// A gRPC request with a bearer token.
pub(crate) fn authorized<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value: MetadataValue<_> = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

/// The id of a key, from the whole of it.
pub(crate) fn key_id(key: &str) -> String {
    key.split('_').nth(1).unwrap().to_owned()
}

/// Until it holds, for ten seconds at most.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..200 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not within ten seconds: {what}");
}

/// Avro, by hand.
pub(crate) mod avro {
    use millrace_schema::{
        Schema,
        container::{Codec, Writer},
        json::Encoder,
    };

    /// The datum of a JSON value.
    pub(crate) fn datum(schema: &str, json: &serde_json::Value) -> Vec<u8> {
        let mut datum = Vec::new();
        Encoder::compile(&Schema::parse(schema).unwrap()).encode(json, &mut datum).unwrap();
        datum
    }

    /// A container file of JSON values.
    pub(crate) fn file(schema: &str, codec: Codec, json: &[serde_json::Value]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), &Schema::parse(schema).unwrap(), codec).unwrap();
        for value in json {
            writer.append(&datum(schema, value)).unwrap();
        }
        writer.finish().unwrap()
    }
}

/// Shared by clones.
pub(crate) type Shared<T> = Arc<std::sync::Mutex<T>>;
