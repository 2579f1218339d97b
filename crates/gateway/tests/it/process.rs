//! The binary itself: its command line, its exit codes, its metrics, its log, its end.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    thread::JoinHandle,
};

use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, World, authorized};

/// A running binary; killed when it is dropped.
struct Running {
    child: Child,
    http: String,
    grpc: String,
    admin: String,
    log: Option<JoinHandle<Vec<Value>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok(); // it has ended already, where all went well
        self.child.wait().ok();
    }
}

fn binary(world: &World, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace-gateway"));
    command.args(arguments).envs(world.environment()).stderr(Stdio::piped());
    command
}

/// Starts it and reads its ports out of its log.
fn start(world: &World, documents: &std::path::Path) -> Running {
    let ports = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];
    let documents = documents.to_str().unwrap();
    let mut child = binary(world, &[&["serve", "--log-format", "json", "--pipelines", documents], &ports[..]].concat())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let (mut admin, mut ports) = (String::new(), None);
    let mut seen = Vec::new();
    while ports.is_none() {
        let line = lines.next().unwrap_or_else(|| panic!("it ended at once: {seen:?}"));
        let entry: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        let text = |name: &str| entry[name].as_str().map(str::to_owned);
        admin = text("admin_addr").unwrap_or(admin);
        ports = text("http_addr").zip(text("grpc_addr"));
        seen.push(entry);
    }
    let (http, grpc) = ports.unwrap();
    let log = std::thread::spawn(move || lines.filter_map(|line| serde_json::from_str(&line).ok()).collect());
    Running { child, http, grpc, admin, log: Some(log) }
}

impl Running {
    async fn metrics(&self) -> String {
        reqwest::get(format!("http://{}/metrics", self.admin)).await.unwrap().text().await.unwrap()
    }

    /// SIGTERM, and what it logged until it ended.
    fn terminate(mut self) -> (Option<i32>, Vec<Value>) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let code = self.child.wait().unwrap().code();
        (code, self.log.take().unwrap().join().unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_binary_serves_measures_logs_and_drains() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pipeline.yaml"), world.document()).unwrap();
    let running = start(&world, folder.path());
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", running.grpc)).unwrap();
    let mut keys = millrace_proto::gateway::v1::key_service_client::KeyServiceClient::new(endpoint.connect_lazy());
    let create = millrace_proto::gateway::v1::CreateKeyRequest {
        name: "test".to_owned(),
        pipelines: vec![world.pipeline.clone()],
    };
    let key = keys.create_key(authorized(create, ADMIN_TOKEN)).await.unwrap().into_inner().secret;
    let ready = reqwest::get(format!("http://{}/readyz", running.admin)).await.unwrap();
    assert_eq!(ready.status(), 200);

    let url = format!("http://{}/v1/pipelines/{}/events", running.http, world.pipeline);
    let client = reqwest::Client::new();
    let events = json!([{"uid": "1", "url_count": 1}, {"uid": "2", "url_count": "x"}]);
    let request = client.post(&url).bearer_auth(&key).json(&events).header("Correlation-Id", "corr-7");
    assert_eq!(request.send().await.unwrap().status(), 200);
    let request = client.post(&url).bearer_auth("nonsense").json(&events).header("Correlation-Id", "corr-8");
    assert_eq!(request.send().await.unwrap().status(), 401);

    let metrics = running.metrics().await;
    let counted = |name: &str, label: &str| {
        let line = metrics.lines().find(|line| line.starts_with(&format!("{name}{{")) && line.contains(label));
        let line = line.unwrap_or_else(|| panic!("no {name} with {label} in\n{metrics}"));
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert_eq!(counted("gateway_events_accepted_total", &world.pipeline) as u64, 1);
    assert_eq!(counted("gateway_events_rejected_total", "INVALID_EVENT") as u64, 1);
    assert_eq!(counted("gateway_requests_refused_total", "key_unknown") as u64, 1);
    assert_eq!(counted("gateway_request_seconds_count", "rejected") as u64, 1);
    assert_eq!(counted("gateway_requests_in_flight", "http") as i64, 0);
    assert!(counted("gateway_received_bytes_total", &world.pipeline) > 50.0);

    let (code, log) = running.terminate();
    assert_eq!(code, Some(0), "{log:?}");
    let line = |correlation_id: &str| {
        log.iter().find(|entry| entry["correlation_id"] == correlation_id).unwrap_or_else(|| panic!("{log:?}"))
    };
    assert_eq!(line("corr-7")["message"], "events rejected");
    assert_eq!(line("corr-7")["path"], "$.url_count");
    assert_eq!(line("corr-8")["reason"], "key_unknown");
    assert!(!log.iter().any(|entry| entry.to_string().contains(&key[20..])), "a secret in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_document_ends_the_process_with_64_and_its_place() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pipeline.yaml");
    std::fs::write(&file, world.document().replace("framing: id-prefix", "framing: telepathy")).unwrap();
    let output = binary(&world, &["serve", "--pipelines", file.to_str().unwrap()]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{stderr}");
    assert!(stderr.contains("pipeline.yaml:5:") && stderr.contains("$.spec.events.framing"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_can_be_run_again() {
    let world = World::new().await;
    let output = binary(&world, &["migrate"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}
