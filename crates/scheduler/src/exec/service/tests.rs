use std::{
    collections::BTreeMap,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::Stream;
use millrace_proto::scheduler::v1::{
    CancelResponse, StartResponse,
    task_service_server::{TaskService, TaskServiceServer},
    watch_response::{Cancelled, Failed, Interrupted, Running, Succeeded},
};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_stream::StreamExt as _;
use tonic::{Response, service::Routes, transport::Server as Tonic};

use super::*;
use crate::exec::{
    MAX_OUTPUT,
    testing::{Server, attempt, failure, nowhere, until},
};

/// A service, and what it remembers: that outlives the process that serves it.
#[derive(Clone, Default)]
struct Worker(Arc<Ledger>);

#[derive(Default)]
struct Ledger {
    attempts: Mutex<BTreeMap<String, Begun>>,
    starts: AtomicUsize,
    watches: AtomicUsize,
    cancels: AtomicUsize,
    /// Answers to `Start` that get lost.
    lost: AtomicUsize,
    /// Streams that break after their first message.
    breaks: AtomicUsize,
    /// How long `Start` takes, whether or not somebody waits for it.
    slow: Duration,
    /// Whether it ends what it is told to.
    stubborn: bool,
}

/// What was asked for, and every state since.
type Begun = (StartRequest, watch::Sender<Vec<State>>);

fn take(count: &AtomicUsize) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

fn running(message: &str) -> State {
    State::Running(Running { progress: None, message: message.to_owned() })
}

fn succeeded(output: &Value) -> State {
    State::Succeeded(Succeeded { output: Some(values::to_proto(output).unwrap()) })
}

/// The state that was said last, and every one after it.
fn from_the_last(mut said: watch::Receiver<Vec<State>>) -> impl Stream<Item = State> {
    let at = said.borrow_and_update().len() - 1;
    futures::stream::unfold((said, at), async |(mut said, at)| {
        let state = said.wait_for(|said| said.len() > at).await.ok()?[at].clone();
        Some((state, (said, at + 1)))
    })
}

impl Worker {
    fn serve(&self, address: SocketAddr) -> Server {
        Server::grpc(address, Tonic::builder(), Routes::new(TaskServiceServer::new(self.clone())))
    }

    fn say(&self, state: State) {
        self.0.attempts.lock().unwrap()[&attempt().name].1.send_modify(|said| said.push(state));
    }

    async fn begin(&self, request: StartRequest) -> Result<Response<StartResponse>, Status> {
        tokio::time::sleep(self.0.slow).await;
        let mut attempts = self.0.attempts.lock().unwrap();
        let newest = attempts.values().map(|(known, _)| known.token).max();
        if newest.is_some_and(|newest| newest > request.token) {
            return Err(Status::failed_precondition("there is a later attempt"));
        }
        let name = request.name.clone();
        attempts.entry(name).or_insert_with(|| (request, watch::Sender::new(vec![running("begun")])));
        if take(&self.0.lost) { Err(Status::unavailable("lost")) } else { Ok(Response::new(StartResponse {})) }
    }

    fn knows(&self) -> usize {
        self.0.attempts.lock().unwrap().len()
    }

    async fn until_watched(&self) {
        until("somebody watches", || self.0.watches.load(Ordering::SeqCst) > 0).await;
    }
}

#[tonic::async_trait]
impl TaskService for Worker {
    async fn start(&self, request: Request<StartRequest>) -> Result<Response<StartResponse>, Status> {
        self.0.starts.fetch_add(1, Ordering::SeqCst);
        let worker = self.clone();
        tokio::spawn(async move { worker.begin(request.into_inner()).await }).await.unwrap()
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let attempts = self.0.attempts.lock().unwrap();
        let (_, states) = attempts.get(&request.into_inner().name).ok_or_else(|| Status::not_found("who?"))?;
        let states = from_the_last(states.subscribe()).map(|state| Ok(WatchResponse { state: Some(state) }));
        self.0.watches.fetch_add(1, Ordering::SeqCst);
        if take(&self.0.breaks) {
            let broken = tokio_stream::once(Err(Status::internal("broken")));
            return Ok(Response::new(Box::pin(states.take(1).chain(broken))));
        }
        Ok(Response::new(Box::pin(states)))
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Result<Response<CancelResponse>, Status> {
        self.0.cancels.fetch_add(1, Ordering::SeqCst);
        let attempts = self.0.attempts.lock().unwrap();
        let (_, states) = attempts.get(&request.into_inner().name).ok_or_else(|| Status::not_found("who?"))?;
        if !self.0.stubborn {
            states.send_modify(|said| said.push(State::Cancelled(Cancelled {})));
        }
        Ok(Response::new(CancelResponse {}))
    }
}

fn service() -> Service {
    let pace = Pace {
        pauses: (Duration::from_millis(5), Duration::from_millis(50)),
        start: Duration::from_millis(200),
        patience: Duration::from_secs(2),
        steady: Duration::from_secs(10),
        grace: Duration::from_millis(500),
    };
    Service { channels: Channels::new(), pace }
}

fn to(server: &Server) -> document::Service {
    document::Service { endpoint: server.at(""), kind: "train".to_owned(), spec: json!({"rows": 3, "from": ["a"]}) }
}

struct Run {
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<Ended>,
}

/// Runs the attempt beside the test.
fn run(spec: document::Service, begin: Begin) -> Run {
    let cancel = CancellationToken::new();
    let token = cancel.clone();
    let task = tokio::spawn(async move { service().run(&attempt(), &spec, begin, &token).await });
    Run { cancel, task }
}

impl Run {
    async fn ended(self) -> Ended {
        tokio::time::timeout(Duration::from_secs(20), self.task).await.expect("it never ends").unwrap()
    }
}

#[tokio::test]
async fn a_service_is_told_what_to_do_and_says_what_came_of_it() {
    let worker = Worker::default();
    let server = worker.serve(Server::any());
    let run = run(to(&server), Begin::New);
    worker.until_watched().await;
    worker.say(running("half"));
    worker.say(succeeded(&json!({"rows": 3, "share": 0.5})));

    let ended = run.ended().await;
    assert_eq!(ended.end, End::Succeeded(Some(json!({"rows": 3, "share": 0.5}))));
    assert_eq!(ended.log, "begun\nhalf\n");
    let attempts = worker.0.attempts.lock().unwrap();
    let (request, _) = &attempts[&attempt().name];
    let spec = values::to_json(request.spec.clone().unwrap()).unwrap();
    assert_eq!(spec, json!({"rows": 3, "from": ["a"]}));
    let expected = StartRequest {
        name: "nightly-7-load-3-2".to_owned(),
        token: 41,
        kind: "train".to_owned(),
        spec: request.spec.clone(),
        dag: "nightly".to_owned(),
        run: 7,
        task: "load".to_owned(),
        item: Some(3),
        attempt: 2,
    };
    assert_eq!(*request, expected);
}

#[tokio::test]
async fn the_ends_of_a_service_are_those_of_the_attempt() {
    let failed = Failed { message: "no rows".to_owned(), code: "EMPTY".to_owned(), permanent: true };
    let failure = Failure { message: "no rows".to_owned(), code: "EMPTY".to_owned(), exit_code: None, permanent: true };
    let cancelled = Failure {
        message: "the service has cancelled it".to_owned(),
        code: "CANCELLED".to_owned(),
        ..Failure::default()
    };
    for (state, expected) in [
        (State::Succeeded(Succeeded { output: None }), End::Succeeded(None)),
        (succeeded(&Value::Null), End::Succeeded(Some(Value::Null))),
        (State::Failed(failed), End::Failed(failure)),
        (State::Interrupted(Interrupted { message: "spot".to_owned() }), End::Interrupted("spot".to_owned())),
        (State::Cancelled(Cancelled {}), End::Failed(cancelled)),
    ] {
        let worker = Worker::default();
        let server = worker.serve(Server::any());
        let run = run(to(&server), Begin::New);
        worker.until_watched().await;
        worker.say(state);
        assert_eq!(run.ended().await.end, expected);
    }
}

#[tokio::test]
async fn an_output_over_the_limit_is_refused() {
    let numbers = json!({"nested": vec![json!([[]]); MAX_OUTPUT / 5]});
    assert!(numbers.to_string().len() > MAX_OUTPUT);
    for output in [json!("x".repeat(MAX_OUTPUT)), numbers] {
        let worker = Worker::default();
        let server = worker.serve(Server::any());
        let run = run(to(&server), Begin::New);
        worker.until_watched().await;
        worker.say(succeeded(&output));
        let failure = failure(run.ended().await);
        assert!(failure.permanent && failure.message.contains("(1 MiB) are kept"), "{}", failure.message);
    }
    // The largest that there may be: one on the wire is six times that.
    let worker = Worker::default();
    let server = worker.serve(Server::any());
    let run = run(to(&server), Begin::New);
    worker.until_watched().await;
    worker.say(succeeded(&json!(vec![1; MAX_OUTPUT / 2 - 1])));
    let ended = run.ended().await;
    assert!(matches!(ended.end, End::Succeeded(_)), "{:?}", failure(ended));
}

#[tokio::test]
async fn a_start_whose_answer_is_lost_is_made_again_and_begins_nothing_new() {
    let worker = Worker::default();
    worker.0.lost.store(3, Ordering::SeqCst);
    let server = worker.serve(Server::any());
    let run = run(to(&server), Begin::New);
    worker.until_watched().await;
    worker.say(succeeded(&json!(1)));
    assert_eq!(run.ended().await.end, End::Succeeded(Some(json!(1))));
    assert_eq!((worker.0.starts.load(Ordering::SeqCst), worker.knows()), (4, 1));
}

#[tokio::test]
async fn a_stream_that_breaks_is_opened_again() {
    let worker = Worker::default();
    worker.0.breaks.store(5, Ordering::SeqCst);
    let server = worker.serve(Server::any());
    let run = run(to(&server), Begin::New);
    until("it watches again", || worker.0.watches.load(Ordering::SeqCst) == 6).await;
    worker.say(succeeded(&json!(1)));
    let ended = run.ended().await;
    assert_eq!(ended.end, End::Succeeded(Some(json!(1))));
    assert_eq!(ended.log, "begun\n", "a state that is said again is no news");
    assert_eq!(worker.0.starts.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_another_process_began_is_adopted() {
    let worker = Worker::default();
    let server = worker.serve(Server::any());
    let first = run(to(&server), Begin::New);
    worker.until_watched().await;
    first.task.abort();
    worker.say(running("still"));

    let second = run(to(&server), Begin::Again);
    until("it watches again", || worker.0.watches.load(Ordering::SeqCst) == 2).await;
    worker.say(succeeded(&json!(1)));
    assert_eq!(second.ended().await.end, End::Succeeded(Some(json!(1))));
    assert_eq!((worker.0.starts.load(Ordering::SeqCst), worker.knows()), (2, 1));
}

#[tokio::test]
async fn a_service_that_was_killed_and_remembers_goes_on() {
    let worker = Worker::default();
    let server = worker.serve(Server::any());
    let run = run(to(&server), Begin::New);
    worker.until_watched().await;
    let address = server.kill();
    worker.say(succeeded(&json!(1)));
    let _server = worker.serve(address);
    assert_eq!(run.ended().await.end, End::Succeeded(Some(json!(1))));
}

#[tokio::test]
async fn a_service_that_was_killed_and_forgot_has_lost_it() {
    let worker = Worker::default();
    let server = worker.serve(Server::any());
    let run = run(to(&server), Begin::New);
    worker.until_watched().await;
    let _server = Worker::default().serve(server.kill());
    let End::Interrupted(message) = run.ended().await.end else { panic!("it was lost") };
    assert!(message.contains("does not know `nightly-7-load-3-2`: it is lost"), "{message}");
}

#[tokio::test]
async fn a_service_that_stays_away_is_given_up() {
    let worker = Worker::default();
    let server = worker.serve(Server::any());
    let run = run(to(&server), Begin::New);
    worker.until_watched().await;
    server.kill();
    let failure = failure(run.ended().await);
    assert_eq!((failure.code.as_str(), failure.permanent), ("UNAVAILABLE", false));
    assert!(failure.message.starts_with("`millrace.scheduler.v1.TaskService/Watch` of "), "{}", failure.message);
}

#[tokio::test]
async fn a_service_that_is_not_there_ends_the_attempt() {
    let spec = document::Service { endpoint: format!("http://{}", nowhere()), kind: String::new(), spec: Value::Null };
    let failure = failure(run(spec, Begin::New).ended().await);
    assert_eq!((failure.code.as_str(), failure.permanent), ("UNAVAILABLE", false));
    assert!(
        failure.message.ends_with("UNAVAILABLE: tcp connect error: Connection refused (os error 111)"),
        "{}",
        failure.message
    );
}

#[tokio::test]
async fn an_attempt_that_a_later_one_has_overtaken_is_refused() {
    let worker = Worker::default();
    let later = StartRequest { name: "nightly-7-load-3-3".to_owned(), token: 42, ..StartRequest::default() };
    worker.start(Request::new(later)).await.unwrap();
    let server = worker.serve(Server::any());
    let failure = failure(run(to(&server), Begin::Again).ended().await);
    assert_eq!((failure.code.as_str(), failure.permanent), ("FAILED_PRECONDITION", true));
    assert!(failure.message.ends_with("there is a later attempt"), "{}", failure.message);
}

#[tokio::test]
async fn a_spec_that_cannot_be_carried_begins_nothing() {
    let worker = Worker::default();
    let server = worker.serve(Server::any());
    let spec = document::Service { spec: json!({"id": u64::MAX}), ..to(&server) };
    let failure = failure(run(spec, Begin::New).ended().await);
    assert!(failure.permanent && failure.message.starts_with("spec: `/id`: "), "{}", failure.message);
    assert_eq!(worker.knows(), 0);
}

#[tokio::test]
async fn cancelling_tells_the_service_and_waits_for_it() {
    let worker = Worker::default();
    let server = worker.serve(Server::any());
    let run = run(to(&server), Begin::New);
    worker.until_watched().await;
    run.cancel.cancel();
    assert_eq!(run.ended().await.end, End::Cancelled);
    assert_eq!(worker.0.cancels.load(Ordering::SeqCst), 1);
    assert!(matches!(worker.0.attempts.lock().unwrap()[&attempt().name].1.borrow().last(), Some(State::Cancelled(_))));
}

#[tokio::test]
async fn what_is_just_beginning_is_told_to_end_once_it_has_begun() {
    let worker = Worker(Arc::new(Ledger { slow: Duration::from_millis(200), ..Ledger::default() }));
    let server = worker.serve(Server::any());
    let run = run(to(&server), Begin::New);
    until("it is about to begin", || worker.0.starts.load(Ordering::SeqCst) == 1).await;
    run.cancel.cancel();
    assert_eq!(run.ended().await.end, End::Cancelled);
    until("it has begun", || worker.knows() == 1).await;
    let attempts = worker.0.attempts.lock().unwrap();
    assert!(matches!(attempts[&attempt().name].1.borrow().last(), Some(State::Cancelled(_))));
}

#[tokio::test]
async fn what_was_done_before_the_word_came_is_done() {
    let worker = Worker(Arc::new(Ledger { stubborn: true, ..Ledger::default() }));
    let server = worker.serve(Server::any());
    let run = run(to(&server), Begin::New);
    worker.until_watched().await;
    run.cancel.cancel();
    until("it is told to end", || worker.0.cancels.load(Ordering::SeqCst) == 1).await;
    worker.say(succeeded(&json!(1)));
    assert_eq!(run.ended().await.end, End::Succeeded(Some(json!(1))));
}

#[tokio::test]
async fn a_service_that_does_not_listen_is_given_up() {
    let worker = Worker(Arc::new(Ledger { stubborn: true, ..Ledger::default() }));
    let server = worker.serve(Server::any());
    let run = run(to(&server), Begin::New);
    worker.until_watched().await;
    let told = Instant::now();
    run.cancel.cancel();
    assert_eq!(run.ended().await.end, End::Cancelled);
    assert!(told.elapsed() >= Duration::from_millis(500), "{:?}", told.elapsed());
}

#[tokio::test]
async fn what_may_have_begun_is_told_to_end_without_beginning_it() {
    let worker = Worker::default();
    let server = worker.serve(Server::any());
    for (begin, cancels) in [(Begin::New, 0), (Begin::Again, 1)] {
        let cancelled = CancellationToken::new();
        cancelled.cancel();
        assert_eq!(service().run(&attempt(), &to(&server), begin, &cancelled).await.end, End::Cancelled);
        assert_eq!(worker.0.cancels.load(Ordering::SeqCst), cancels);
    }
    assert_eq!(worker.0.starts.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn streams_that_go_on_keep_no_call_from_getting_through() {
    let worker = Worker::default();
    let tonic = Tonic::builder().max_concurrent_streams(1);
    let server = Server::grpc(Server::any(), tonic, Routes::new(TaskServiceServer::new(worker.clone())));
    let (service, spec, cancel) = (service(), to(&server), CancellationToken::new());
    let other = Attempt { name: "nightly-7-load-4-1".to_owned(), task: "other".to_owned(), ..attempt() };
    let first = async { service.run(&attempt(), &spec, Begin::New, &cancel).await.end };
    let second = async {
        worker.until_watched().await;
        service.run(&other, &spec, Begin::New, &cancel).await.end
    };
    let told = async {
        until("both have begun", || worker.knows() == 2).await;
        cancel.cancel();
    };
    let (one, two, ()) = tokio::join!(first, second, told);
    assert_eq!((one, two), (End::Cancelled, End::Cancelled));
    assert_eq!(worker.0.cancels.load(Ordering::SeqCst), 2);
}

#[test]
fn a_log_keeps_its_end() {
    let mut log = Log::default();
    for line in ["a", "a", "", "b\nc", "b\nc", "a", "aa", "a"] {
        log.add(line);
    }
    assert_eq!(log.0, "a\nb\nc\na\naa\na\n");
    log.add(&"ä".repeat(MAX_LOG));
    assert!(log.0.len() <= MAX_LOG && log.0.ends_with("ä\n"), "{}", log.0.len());
}
