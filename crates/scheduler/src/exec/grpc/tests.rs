use std::{
    collections::BTreeMap,
    future::pending,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use futures::future::BoxFuture;
use millrace_proto::{
    DESCRIPTORS,
    scheduler::v1::{
        Attempt as Row, DagRef, GetRunRequest, GetRunResponse, ListAttemptsResponse, Run, StartRunRequest, TaskState,
    },
};
use prost_types::FileDescriptorSet;
use serde_json::json;
use tonic::{
    Response,
    metadata::MetadataMap,
    server::{Grpc as Serving, UnaryService},
    service::Routes,
    transport::Server as Tonic,
};
use tonic_reflection::server::Builder;

use super::*;
use crate::exec::{
    MAX_LOG, MAX_OUTPUT,
    testing::{Server, attempt, failure, nowhere, until},
};

const SERVICE: &str = "millrace.scheduler.v1.SchedulerService";
const GET_RUN: &str = "millrace.scheduler.v1.SchedulerService/GetRun";
const START_RUN: &str = "millrace.scheduler.v1.SchedulerService/StartRun";

type Answered = Result<Response<Bytes>, Status>;

/// Answers every method of the scheduler's service in the same way, and keeps what it was asked.
#[derive(Clone)]
struct Fake {
    answer: Arc<dyn Fn() -> BoxFuture<'static, Answered> + Send + Sync>,
    asked: Arc<Mutex<Vec<(MetadataMap, Bytes)>>>,
}

impl Fake {
    fn new(answer: impl Fn() -> BoxFuture<'static, Answered> + Send + Sync + 'static) -> Self {
        Self { answer: Arc::new(answer), asked: Arc::default() }
    }

    fn answering(message: &impl prost::Message) -> Self {
        let bytes = Bytes::from(message.encode_to_vec());
        Self::new(move || {
            let bytes = bytes.clone();
            Box::pin(async { Ok(Response::new(bytes)) })
        })
    }

    fn failing(code: Code) -> Self {
        Self::new(move || Box::pin(async move { Err(Status::new(code, "for a reason")) }))
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn routes(&self) -> Routes {
        let fake = self.clone();
        let call = async move |request: axum::extract::Request| Serving::new(Raw).unary(fake, request).await;
        let path = format!("/{SERVICE}/{{method}}");
        Routes::from(axum::Router::new().route(&path, axum::routing::post(call)))
    }

    /// With reflection, both versions of it.
    fn serve(&self) -> Server {
        let routes = self.routes().add_service(described().build_v1().unwrap());
        Server::grpc(Server::any(), Tonic::builder(), routes.add_service(described().build_v1alpha().unwrap()))
    }
}

impl UnaryService<Bytes> for Fake {
    type Response = Bytes;
    type Future = BoxFuture<'static, Answered>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let (metadata, _, bytes) = request.into_parts();
        self.asked.lock().unwrap().push((metadata, bytes));
        (self.answer)()
    }
}

fn described() -> Builder<'static> {
    Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS)
}

fn grpc() -> Grpc {
    Grpc::new(Channels::new(), Secrets::default())
}

fn to(endpoint: String, method: &str, request: Value) -> document::Grpc {
    let method = method.to_owned();
    document::Grpc { endpoint, method, request, metadata: BTreeMap::new(), secrets: BTreeMap::new() }
}

async fn run(grpc: &Grpc, spec: &document::Grpc) -> Ended {
    grpc.run(&attempt(), spec, Begin::New, &CancellationToken::new()).await
}

#[tokio::test]
async fn a_method_is_called_as_its_server_describes_it() {
    let fake = Fake::answering(&GetRunResponse {
        run: Some(Run { id: i64::MAX, key: "k".to_owned(), ..Run::default() }),
        tasks: Vec::new(),
    });
    let server = fake.serve();
    let ended = run(&grpc(), &to(server.at(""), GET_RUN, json!({"run": 17}))).await;

    let End::Succeeded(Some(output)) = ended.end else { panic!("{ended:?}") };
    assert_eq!(output["run"]["id"], json!(i64::MAX));
    assert_eq!(output["run"]["state"], json!("RUN_STATE_UNSPECIFIED"));
    assert_eq!(output["run"]["tasksLeft"], json!(0));
    assert_eq!(output["tasks"], json!([]));
    assert_eq!(output["run"].get("startedAt"), None);

    let asked = fake.asked.lock().unwrap();
    let (metadata, request) = &asked[0];
    assert_eq!(GetRunRequest::decode(request.clone()).unwrap(), GetRunRequest { run: 17 });
    for (name, text) in [
        ("millrace-attempt-name", "nightly-7-load-3-2"),
        ("millrace-token", "41"),
        ("millrace-run", "7"),
        ("millrace-task", "load"),
        ("millrace-attempt", "2"),
    ] {
        assert_eq!(metadata.get(name).unwrap(), text, "{name}");
    }
}

#[tokio::test]
async fn a_request_may_have_everything_that_json_has_for_it() {
    let fake = Fake::answering(&GetRunResponse::default());
    let server = fake.serve();
    let request = json!({
        "ref": {"dag": "nightly"},
        "params": {"rows": [1, 0.5, null, {"a": "ä"}]},
        "logicalDate": "2026-11-21T10:00:00Z",
        "key": null,
    });
    let ended = run(&grpc(), &to(server.at(""), START_RUN, request)).await;
    assert!(matches!(ended.end, End::Succeeded(_)), "{ended:?}");
    let asked = fake.asked.lock().unwrap();
    let sent = StartRunRequest::decode(asked[0].1.clone()).unwrap();
    assert_eq!(sent.r#ref, Some(DagRef { dag: "nightly".to_owned(), binding: String::new() }));
    assert_eq!(sent.logical_date.unwrap().to_string(), "2026-11-21T10:00:00Z");
    let params = prost_types::Value { kind: Some(prost_types::value::Kind::StructValue(sent.params.unwrap())) };
    assert_eq!(values::to_json(params).unwrap(), json!({"rows": [1, 0.5, null, {"a": "ä"}]}));
}

#[tokio::test]
async fn the_metadata_is_what_the_document_says() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "Bearer hunter2").unwrap();
    let fake = Fake::answering(&GetRunResponse::default());
    let server = fake.serve();
    let grpc = Grpc::new(Channels::new(), Secrets::new(Some(folder.path().to_owned())));
    let mut spec = to(server.at(""), GET_RUN, Value::Null);
    spec.metadata.insert("x-own".to_owned(), "1".to_owned());
    spec.secrets.insert("authorization".to_owned(), "token".to_owned());
    run(&grpc, &spec).await;
    {
        let asked = fake.asked.lock().unwrap();
        assert_eq!(asked[0].0.get("x-own").unwrap(), "1");
        assert_eq!(asked[0].0.get("authorization").unwrap(), "Bearer hunter2");
    }
    for name in ["grpc-timeout", "trace-bin", "millrace-token"] {
        spec.metadata = BTreeMap::from([(name.to_owned(), "1".to_owned())]);
        let failure = failure(run(&grpc, &spec).await);
        assert!(failure.permanent && failure.message.contains(name), "{}", failure.message);
    }
}

#[tokio::test]
async fn a_status_says_whether_trying_again_is_of_use() {
    use Code::{
        Aborted, AlreadyExists, Cancelled, DataLoss, DeadlineExceeded, FailedPrecondition, Internal, InvalidArgument,
        NotFound, OutOfRange, PermissionDenied, ResourceExhausted, Unauthenticated, Unavailable, Unimplemented,
        Unknown,
    };
    let again = [Unavailable, DeadlineExceeded, ResourceExhausted, Aborted, Internal, Unknown, Cancelled, DataLoss];
    let never = [
        InvalidArgument,
        NotFound,
        AlreadyExists,
        PermissionDenied,
        FailedPrecondition,
        OutOfRange,
        Unimplemented,
        Unauthenticated,
    ];
    let grpc = grpc();
    for (code, permanent) in again.map(|it| (it, false)).into_iter().chain(never.map(|it| (it, true))) {
        let server = Fake::failing(code).serve();
        let failure = failure(run(&grpc, &to(server.at(""), GET_RUN, Value::Null)).await);
        assert_eq!((failure.code.as_str(), failure.permanent), (rpc::name(code), permanent));
        let expected = format!("`{GET_RUN}` of {}: {}: for a reason", server.at(""), rpc::name(code));
        assert_eq!(failure.message, expected);
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_refused() {
    let row = Row { log: "x".repeat(MAX_LOG), outcome: TaskState::TaskFailed.into(), ..Row::default() };
    let method = "millrace.scheduler.v1.SchedulerService/ListAttempts";
    for (rows, expected) in
        [(MAX_OUTPUT / MAX_LOG, "at most 1048576 (1 MiB) are kept"), (9 * MAX_OUTPUT / MAX_LOG, "OUT_OF_RANGE")]
    {
        let server = Fake::answering(&ListAttemptsResponse { attempts: vec![row.clone(); rows] }).serve();
        let failure = failure(run(&grpc(), &to(server.at(""), method, Value::Null)).await);
        assert!(failure.permanent && failure.message.contains(expected), "{}", failure.message);
    }
}

#[tokio::test]
async fn an_answer_that_is_none_is_no_use_to_ask_for_again() {
    let fake = Fake::new(|| Box::pin(async { Ok(Response::new(Bytes::from_static(b"\xff"))) }));
    let server = fake.serve();
    let failure = failure(run(&grpc(), &to(server.at(""), GET_RUN, Value::Null)).await);
    assert!(failure.permanent && failure.message.contains("is no millrace.scheduler.v1.GetRunResponse"));
}

#[tokio::test]
async fn the_older_reflection_is_asked_where_there_is_no_newer() {
    let fake = Fake::answering(&GetRunResponse::default());
    let routes = fake.routes().add_service(described().build_v1alpha().unwrap());
    let server = Server::grpc(Server::any(), Tonic::builder(), routes);
    let ended = run(&grpc(), &to(server.at(""), GET_RUN, Value::Null)).await;
    assert!(matches!(ended.end, End::Succeeded(_)), "{ended:?}");
}

#[tokio::test]
async fn a_server_without_reflection_is_named() {
    let server = Server::grpc(Server::any(), Tonic::builder(), Fake::answering(&GetRunResponse::default()).routes());
    let grpc = grpc();
    let failure = failure(run(&grpc, &to(server.at(""), GET_RUN, Value::Null)).await);
    assert!(failure.permanent && failure.code == "UNIMPLEMENTED");
    assert!(failure.message.contains("it has no server reflection"), "{}", failure.message);
    assert!(!grpc.check(&server.at(""), GET_RUN, &Value::Null).await.unwrap_err().is_fault());
}

#[tokio::test]
async fn what_is_not_there_is_told_with_what_is() {
    let fake = Fake::answering(&GetRunResponse::default());
    let server = fake.serve();
    let grpc = grpc();
    for (method, expected) in [
        ("millrace.scheduler.v1.Scheduler/GetRun", "has no service `millrace.scheduler.v1.Scheduler`; it has: "),
        ("millrace.scheduler.v1.SchedulerService/Get", "has no method `Get`; it has: Apply, ListDags, "),
        ("millrace.scheduler.v1.TaskService/Watch", "`millrace.scheduler.v1.TaskService/Watch` streams"),
        ("GetRun", "expected package.Service/Method"),
    ] {
        let checked = grpc.check(&server.at(""), method, &Value::Null).await.unwrap_err();
        assert!(checked.is_fault() && checked.to_string().contains(expected), "{checked}");
        let failure = failure(run(&grpc, &to(server.at(""), method, Value::Null)).await);
        assert!(failure.permanent, "{}", failure.message);
        assert_eq!(failure.message, checked.to_string());
    }
    let Err(Checked::NoService { known, .. }) = grpc.check(&server.at(""), "a.B/C", &Value::Null).await else {
        panic!("there is no such service")
    };
    assert!(known.iter().any(|name| name == SERVICE), "{known:?}");
    assert_eq!(fake.asked(), 0);
}

#[tokio::test]
async fn endpoints_that_are_none_are_refused() {
    for endpoint in
        ["", "worker:8080", "ftp://worker", "http://worker/path", "http://me:hunter2@worker", "http://w?a=b"]
    {
        let checked = grpc().check(endpoint, GET_RUN, &Value::Null).await.unwrap_err();
        assert!(matches!(checked, Checked::Endpoint(_)), "{endpoint}: {checked}");
        assert!(checked.is_fault() && !checked.to_string().contains("hunter2"));
    }
}

#[tokio::test]
async fn a_request_that_does_not_fit_is_refused_with_its_place() {
    let fake = Fake::answering(&GetRunResponse::default());
    let server = fake.serve();
    let grpc = grpc();
    let apply = "millrace.scheduler.v1.SchedulerService/Apply";
    let list = "millrace.scheduler.v1.SchedulerService/ListRuns";
    let why = "millrace.scheduler.v1.SchedulerService/Why";
    let start = "millrace.scheduler.v1.TaskService/Start";
    for (method, request, pointer, problem) in [
        (GET_RUN, json!({"rum": 1}), "/rum", "millrace.scheduler.v1.GetRunRequest has no such field; it has: run"),
        (GET_RUN, json!({"run": "x"}), "/run", "invalid digit"),
        (GET_RUN, json!([1]), "", "expected a map"),
        (apply, json!({"documents": [{"name": "a"}, {"text": 1}]}), "/documents/1/text", "expected a string"),
        (apply, json!({"documents": [{"name": "a"}, {"txt": ""}]}), "/documents/1/txt", "it has: name, text"),
        (apply, json!({"documents": {"name": "a"}}), "/documents", "expected a list"),
        (list, json!({"states": ["RUN_FAILED", "FAILED"]}), "/states/1", "'FAILED'"),
        (list, json!({"limit": -1}), "/limit", "out of range"),
        (why, json!({"run": 1, "ref": {"dag": "a"}}), "", "oneof"),
        (START_RUN, json!({"logicalDate": "today"}), "/logicalDate", ""),
        (START_RUN, json!({"params": [1]}), "/params", ""),
        (start, json!({"item": 1.5}), "/item", "integer"),
        // With templates in it, everything but them.
        (GET_RUN, json!({"run": 1, "{{ a }}": 1}), "/{{ a }}", "no such field"),
        (apply, json!({"documents": [{"name": "{{ a }}", "text": 1}]}), "/documents/0/text", "expected a string"),
        (apply, json!({"documents": ["{{ a }}", {"txt": ""}]}), "/documents/1/txt", "it has: name, text"),
        (apply, json!({"documents": "{{ a }}", "dryRun": "yes"}), "/dryRun", "expected a boolean"),
        (START_RUN, json!({"ref": {"dag": "{{ a }}", "bind": 1}}), "/ref/bind", "it has: binding, dag"),
    ] {
        let checked = grpc.check(&server.at(""), method, &request).await.unwrap_err();
        let Checked::Request { pointer: place, problem: said, .. } = &checked else { panic!("{checked}") };
        assert!(place == pointer && said.contains(problem), "{request}: {checked}");
        assert!(checked.is_fault());
    }
    for (method, request) in [
        (GET_RUN, Value::Null),
        (GET_RUN, json!({"run": "{{ params.run }}"})),
        (apply, json!({"documents": "{{ params.documents }}", "dry_run": "{{ params.dry }}"})),
        (apply, json!({"documents": [{"name": "{{ a }}", "text": null}]})),
        (START_RUN, json!({"params": {"any": ["{{ a }}", {"thing": 1}]}, "ref": {"dag": "{{ a }}"}})),
        (start, json!({"spec": {"a": "{{ b }}"}, "name": "x"})),
    ] {
        assert_eq!(grpc.check(&server.at(""), method, &request).await, Ok(()), "{request}");
    }
    assert_eq!(fake.asked(), 0);
}

#[tokio::test]
async fn who_cannot_be_asked_is_no_fault_of_the_document() {
    let endpoint = format!("http://{}", nowhere());
    let checked = grpc().check(&endpoint, GET_RUN, &Value::Null).await.unwrap_err();
    assert!(matches!(checked, Checked::Unasked { code: Code::Unavailable, .. }) && !checked.is_fault(), "{checked}");
    let failure = failure(run(&grpc(), &to(endpoint.clone(), GET_RUN, Value::Null)).await);
    assert_eq!((failure.code.as_str(), failure.permanent), ("UNAVAILABLE", false));
    let reason = "UNAVAILABLE: tcp connect error: Connection refused (os error 111)";
    assert_eq!(failure.message, format!("{endpoint} cannot be asked what it serves: {reason}"));
}

#[tokio::test]
async fn a_connection_that_is_never_made_ends_in_time() {
    let deaf = Server::start(Server::any(), async |listener: tokio::net::TcpListener| {
        let _peer = listener.accept().await.unwrap();
        pending::<()>().await;
    });
    let began = Instant::now();
    let failure = failure(run(&grpc(), &to(format!("https://{}", deaf.address), GET_RUN, Value::Null)).await);
    assert_eq!((failure.code.as_str(), failure.permanent), ("UNAVAILABLE", false));
    assert!(began.elapsed() < 2 * calls::CONNECT, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_server_is_asked_once_for_what_it_serves() {
    let fake = Fake::answering(&GetRunResponse::default());
    let grpc = grpc();
    let spec = |address: SocketAddr| to(format!("http://{address}"), GET_RUN, json!({"run": 1}));
    let first = fake.serve();
    assert!(matches!(run(&grpc, &spec(first.address)).await.end, End::Succeeded(_)));
    // Nobody at this address could answer that question now.
    let mute = Server::grpc(first.kill(), Tonic::builder(), fake.routes());
    until_answered(&grpc, &spec(mute.address)).await;
}

#[tokio::test]
async fn a_server_that_was_replaced_is_asked_again() {
    // The same service, before it had this method.
    let mut before = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    for service in before.file.iter_mut().flat_map(|file| &mut file.service) {
        service.method.retain(|method| method.name() != "GetRun");
    }
    let older = Builder::configure().register_file_descriptor_set(before).build_v1().unwrap();
    let fake = Fake::answering(&GetRunResponse::default());
    let mut grpc = grpc();
    grpc.services.fresh = Duration::ZERO;
    let server = Server::grpc(Server::any(), Tonic::builder(), fake.routes().add_service(older));
    let spec = to(server.at(""), GET_RUN, json!({"run": 1}));
    assert!(failure(run(&grpc, &spec).await).message.contains("has no method `GetRun`"));

    let routes = fake.routes().add_service(described().build_v1().unwrap());
    let _newer = Server::grpc(server.kill(), Tonic::builder(), routes);
    until_answered(&grpc, &spec).await;
}

/// The first call may still find the connection to the server that is gone.
async fn until_answered(grpc: &Grpc, spec: &document::Grpc) {
    let mut ended = run(grpc, spec).await;
    for _ in 0..10 {
        match &ended.end {
            End::Failed(failure) if !failure.permanent => ended = run(grpc, spec).await,
            _ => break,
        }
    }
    assert!(matches!(ended.end, End::Succeeded(_)), "{ended:?}");
}

/// Counts those who wait for an answer that never comes.
struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn cancelling_drops_the_call() {
    let waiting = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&waiting);
    let fake = Fake::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
        let waiting = Waiting(Arc::clone(&count));
        Box::pin(async move {
            let _waiting = waiting;
            pending().await
        })
    });
    let server = fake.serve();
    let cancel = CancellationToken::new();
    let running = tokio::spawn({
        let (spec, cancel) = (to(server.at(""), GET_RUN, Value::Null), cancel.clone());
        async move { grpc().run(&attempt(), &spec, Begin::New, &cancel).await }
    });
    until("the call has arrived", || waiting.load(Ordering::SeqCst) == 1).await;
    cancel.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
    assert_eq!(ended.end, End::Cancelled);
    until("the server has noticed", || waiting.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn an_attempt_makes_at_most_one_call() {
    let fake = Fake::failing(Code::Unavailable);
    let server = fake.serve();
    let spec = to(server.at(""), GET_RUN, Value::Null);
    let again = grpc().run(&attempt(), &spec, Begin::Again, &CancellationToken::new()).await;
    assert!(matches!(again.end, End::Interrupted(_)), "{again:?}");
    assert_eq!(fake.asked(), 0);
    run(&grpc(), &spec).await;
    assert_eq!(fake.asked(), 1);
}

/// Where the authority of [`https_trusts_the_authorities_of_the_machine`] is known, in a process of its own.
#[tokio::test]
#[ignore = "is run by https_trusts_the_authorities_of_the_machine"]
async fn a_call_by_https() {
    let Ok(endpoint) = std::env::var("MILLRACE_TEST_ENDPOINT") else { return };
    let ended = run(&grpc(), &to(endpoint, GET_RUN, Value::Null)).await;
    assert!(matches!(ended.end, End::Succeeded(_)), "{ended:?}");
}

#[tokio::test]
async fn https_trusts_the_authorities_of_the_machine() {
    use tonic::transport::{Identity, ServerTlsConfig};
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let identity = Identity::from_pem(certified.cert.pem(), certified.signing_key.serialize_pem());
    let tonic = Tonic::builder().tls_config(ServerTlsConfig::new().identity(identity)).unwrap();
    let routes = Fake::answering(&GetRunResponse::default()).routes();
    let server = Server::grpc(Server::any(), tonic, routes.add_service(described().build_v1().unwrap()));
    let endpoint = format!("https://localhost:{}", server.address.port());

    let stranger = failure(run(&grpc(), &to(endpoint.clone(), GET_RUN, Value::Null)).await);
    assert!(stranger.message.contains("UnknownIssuer"), "{}", stranger.message);

    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("authority.pem");
    std::fs::write(&authority, certified.cert.pem()).unwrap();
    let module = module_path!().split_once("::").unwrap().1;
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", &format!("{module}::a_call_by_https")])
        .env("SSL_CERT_FILE", authority)
        .env("MILLRACE_TEST_ENDPOINT", endpoint)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}

/// `cargo test --release -p millrace-scheduler --lib the_median_of_a_call -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn the_median_of_a_call_that_is_known() {
    let fake = Fake::answering(&GetRunResponse { run: Some(Run { id: 1, ..Run::default() }), tasks: Vec::new() });
    let server = fake.serve();
    let grpc = grpc();
    let spec = to(server.at(""), GET_RUN, json!({"run": 17}));
    let mut took = Vec::new();
    for _ in 0..5_000 {
        let began = Instant::now();
        let ended = run(&grpc, &spec).await;
        took.push(began.elapsed());
        assert!(matches!(ended.end, End::Succeeded(_)), "{ended:?}");
    }
    took.drain(..500);
    took.sort_unstable();
    println!(
        "unary call by reflection, cached, loopback: p50 {:?}, p99 {:?}",
        took[took.len() / 2],
        took[took.len() * 99 / 100]
    );
}
