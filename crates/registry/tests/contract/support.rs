//! A database per test, and replicas that are processes.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    time::Duration,
};

use millrace_postgres::migrate;
use millrace_proto::registry::v1::registry_service_client::RegistryServiceClient;
use millrace_testkit::Database;
use serde_json::{Value, json};
use tonic::transport::Channel;

/// A database of one test's own, migrated.
pub(crate) async fn database() -> Database {
    let database = Database::create("registry").await.unwrap();
    migrate(&database.pool, "registry", millrace_registry::MIGRATIONS).await.unwrap();
    database
}

/// A registry process.
pub(crate) struct Replica {
    process: Child,
    pub(crate) http: String,
    pub(crate) grpc: String,
    client: reqwest::Client,
}

impl Replica {
    pub(crate) fn start(database: &Database) -> Self {
        Self::start_with(database, &[])
    }

    pub(crate) fn start_with(database: &Database, flags: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_millrace-registry"))
            .args(["serve", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--log-format", "json"])
            .args(flags)
            .env("DATABASE_URL", &database.url)
            .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
            .env_remove("MILLRACE_MODEL_STORE")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let (sender, listening) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                eprintln!("{line}");
                let said: Value = serde_json::from_str(&line).unwrap_or_default();
                if said["message"] == "listening" {
                    let _ = sender.send((said["http"].clone(), said["grpc"].clone()));
                }
            }
        });
        let (http, grpc) = listening.recv_timeout(Duration::from_secs(20)).expect("the registry listens within 20 s");
        let url = |addr: &Value| format!("http://{}", addr.as_str().unwrap());
        Self { process, http: url(&http), grpc: url(&grpc), client: reqwest::Client::new() }
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// SIGTERM, and how it ended.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.process.wait().unwrap()
    }

    pub(crate) async fn grpc(&self) -> RegistryServiceClient<Channel> {
        RegistryServiceClient::connect(self.grpc.clone()).await.unwrap()
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method.parse().unwrap(), format!("{}{path}", self.http)).timeout(Duration::from_secs(30))
    }

    /// Status and body.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.call("GET", path, None).await
    }

    /// Registers and expects success.
    pub(crate) async fn register(&self, subject: &str, schema: &str) -> Value {
        let (status, body) = self.try_register(subject, schema).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    pub(crate) async fn try_register(&self, subject: &str, schema: &str) -> (u16, Value) {
        self.call("POST", &format!("/subjects/{subject}/versions"), Some(json!({"schema": schema}))).await
    }

    pub(crate) async fn set_level(&self, subject: &str, level: &str) {
        let (status, body) =
            self.call("PUT", &format!("/config/{subject}"), Some(json!({"compatibility": level}))).await;
        assert_eq!((status, &body["compatibility"]), (200, &json!(level)));
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A record with these fields, each as JSON.
pub(crate) fn record(fields: &[&str]) -> String {
    format!(r#"{{"type":"record","name":"Mail","namespace":"test","fields":[{}]}}"#, fields.join(","))
}

pub(crate) const UID: &str = r#"{"name":"uid","type":"string"}"#;
