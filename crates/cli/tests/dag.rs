//! `millrace dag`, as a process, against a scheduler that says what it is told to say: what is asked of it, and how the
//! command ends.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use std::{
    collections::VecDeque,
    path::Path,
    process::{Output, Stdio},
    sync::{Arc, Mutex, MutexGuard},
};

use millrace_proto::{
    json,
    scheduler::v1::{
        ApplyRequest, ApplyResponse, BackfillRequest, BackfillResponse, CancelRunRequest, CancelRunResponse, Change,
        ClearRunRequest, ClearRunResponse, Dag, DagRef, Fault, GetDagRequest, GetDagResponse, GetRunRequest,
        GetRunResponse, ListAttemptsRequest, ListAttemptsResponse, ListDagsRequest, ListDagsResponse,
        ListEventsRequest, ListEventsResponse, ListPoolsRequest, ListPoolsResponse, ListRunsRequest, ListRunsResponse,
        ListSlotsRequest, ListSlotsResponse, NewEvent, Pool, RecordEventsRequest, RecordEventsResponse, RecordedEvent,
        Run, RunState, SetPausedRequest, SetPausedResponse, SetPoolRequest, SetPoolResponse, StartRunRequest,
        StartRunResponse, Task, TaskState, WhyRequest, WhyResponse,
        change::Action,
        scheduler_service_server::{SchedulerService, SchedulerServiceServer},
        why_request::What,
    },
};
use serde_json::{Value, json};
use tonic::{Request, Response, Status, transport::server::TcpIncoming};

/// What was asked, and what is answered next.
#[derive(Default)]
struct Script {
    applied: Vec<ApplyRequest>,
    apply: ApplyResponse,
    started: Vec<StartRunRequest>,
    /// What a run looks like, one look after the other; the last one stays.
    looks: VecDeque<Result<GetRunResponse, Status>>,
    listed: Vec<ListRunsRequest>,
    cancelled: Vec<i64>,
    backfills: Vec<BackfillRequest>,
    moments: Vec<prost_types::Timestamp>,
    clears: Vec<ClearRunRequest>,
    paused: Vec<SetPausedRequest>,
    asked_why: Vec<WhyRequest>,
    attempts: Vec<ListAttemptsRequest>,
    slots: Vec<ListSlotsRequest>,
    pools: Vec<SetPoolRequest>,
    events: Vec<RecordEventsRequest>,
    asked_events: Vec<ListEventsRequest>,
}

/// A scheduler in name only.
#[derive(Clone, Default)]
struct Scheduler(Arc<Mutex<Script>>);

impl Scheduler {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap()
    }

    /// Serves on a free port; returns its address.
    fn serve(&self) -> String {
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = incoming.local_addr().unwrap().to_string();
        let service = SchedulerServiceServer::new(self.clone());
        tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
        address
    }
}

fn run_17(state: RunState) -> Run {
    let r#ref = Some(DagRef { dag: "hourly".to_owned(), binding: "acme".to_owned() });
    Run { id: 17, r#ref, key: "k".to_owned(), kind: "manual".to_owned(), state: state as i32, ..Run::default() }
}

fn at(text: &str) -> prost_types::Timestamp {
    let at: jiff::Timestamp = text.parse().unwrap();
    prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() }
}

#[tonic::async_trait]
impl SchedulerService for Scheduler {
    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        let mut script = self.script();
        script.applied.push(request.into_inner());
        Ok(Response::new(script.apply.clone()))
    }

    async fn list_dags(&self, request: Request<ListDagsRequest>) -> Result<Response<ListDagsResponse>, Status> {
        let names = ["hourly", "nightly"].into_iter().filter(|name| name.starts_with(&request.get_ref().prefix));
        let dag =
            |name: &str| Dag { r#ref: Some(DagRef { dag: name.to_owned(), binding: String::new() }), ..Dag::default() };
        Ok(Response::new(ListDagsResponse { dags: names.map(dag).collect() }))
    }

    async fn get_dag(&self, request: Request<GetDagRequest>) -> Result<Response<GetDagResponse>, Status> {
        let DagRef { dag, .. } = request.into_inner().r#ref.unwrap();
        Err(Status::not_found(format!("no DAG `{dag}`; there are: hourly, nightly")))
    }

    async fn start_run(&self, request: Request<StartRunRequest>) -> Result<Response<StartRunResponse>, Status> {
        self.script().started.push(request.into_inner());
        Ok(Response::new(StartRunResponse { run: Some(run_17(RunState::RunQueued)), existed: false }))
    }

    async fn list_runs(&self, request: Request<ListRunsRequest>) -> Result<Response<ListRunsResponse>, Status> {
        self.script().listed.push(request.into_inner());
        Ok(Response::new(ListRunsResponse { runs: vec![run_17(RunState::RunFailed)] }))
    }

    async fn get_run(&self, _: Request<GetRunRequest>) -> Result<Response<GetRunResponse>, Status> {
        let looks = &mut self.script().looks;
        let look = if looks.len() > 1 { looks.pop_front() } else { looks.front().cloned() };
        look.unwrap_or_else(|| Err(Status::not_found("no such run"))).map(Response::new)
    }

    async fn list_attempts(
        &self,
        request: Request<ListAttemptsRequest>,
    ) -> Result<Response<ListAttemptsResponse>, Status> {
        self.script().attempts.push(request.into_inner());
        Ok(Response::new(ListAttemptsResponse::default()))
    }

    async fn cancel_run(&self, request: Request<CancelRunRequest>) -> Result<Response<CancelRunResponse>, Status> {
        self.script().cancelled.push(request.into_inner().run);
        Ok(Response::new(CancelRunResponse { run: Some(run_17(RunState::RunCancelled)) }))
    }

    async fn clear_run(&self, request: Request<ClearRunRequest>) -> Result<Response<ClearRunResponse>, Status> {
        self.script().clears.push(request.into_inner());
        let tasks = vec!["score".to_owned(), "load".to_owned()];
        Ok(Response::new(ClearRunResponse { tasks, differences: vec!["task load: added".to_owned()] }))
    }

    async fn set_paused(&self, request: Request<SetPausedRequest>) -> Result<Response<SetPausedResponse>, Status> {
        let request = request.into_inner();
        let dag = Dag { r#ref: request.r#ref.clone(), paused: request.paused, ..Dag::default() };
        self.script().paused.push(request);
        Ok(Response::new(SetPausedResponse { dag: Some(dag) }))
    }

    async fn why(&self, request: Request<WhyRequest>) -> Result<Response<WhyResponse>, Status> {
        self.script().asked_why.push(request.into_inner());
        Ok(Response::new(WhyResponse::default()))
    }

    async fn list_slots(&self, request: Request<ListSlotsRequest>) -> Result<Response<ListSlotsResponse>, Status> {
        self.script().slots.push(request.into_inner());
        Ok(Response::new(ListSlotsResponse::default()))
    }

    async fn backfill(&self, request: Request<BackfillRequest>) -> Result<Response<BackfillResponse>, Status> {
        let request = request.into_inner();
        let mut script = self.script();
        let id = if request.dry_run { 0 } else { 5 };
        script.backfills.push(request);
        Ok(Response::new(BackfillResponse { moments: script.moments.clone(), estimate: None, id }))
    }

    async fn record_events(
        &self,
        request: Request<RecordEventsRequest>,
    ) -> Result<Response<RecordEventsResponse>, Status> {
        let mut script = self.script();
        script.events.push(request.into_inner());
        let existed = script.events.len() > 1;
        Ok(Response::new(RecordEventsResponse { events: vec![RecordedEvent { seq: 7, existed }] }))
    }

    async fn list_events(&self, request: Request<ListEventsRequest>) -> Result<Response<ListEventsResponse>, Status> {
        self.script().asked_events.push(request.into_inner());
        Ok(Response::new(ListEventsResponse::default()))
    }

    async fn list_pools(&self, _: Request<ListPoolsRequest>) -> Result<Response<ListPoolsResponse>, Status> {
        let pool = Pool { name: "gpu".to_owned(), slots: 3, used: 2, waiting: 1 };
        Ok(Response::new(ListPoolsResponse { pools: vec![pool] }))
    }

    async fn set_pool(&self, request: Request<SetPoolRequest>) -> Result<Response<SetPoolResponse>, Status> {
        let request = request.into_inner();
        let pool = Pool { name: request.name.clone(), slots: request.slots, ..Pool::default() };
        self.script().pools.push(request);
        Ok(Response::new(SetPoolResponse { pool: Some(pool) }))
    }
}

/// How a command ended, and what it said.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ended {
    fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        serde_json::from_str(&self.stdout).unwrap()
    }
}

/// Runs `millrace dag` in a folder, with nothing but the scheduler's address in its environment, and nobody at its terminal.
async fn dag(address: &str, dir: &Path, args: &[&str]) -> Ended {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.arg("dag").args(args).current_dir(dir).stdin(Stdio::null());
    command.env("MILLRACE_SCHEDULER_GRPC", address).env_remove("MILLRACE_OUTPUT");
    let Output { status, stdout, stderr } = command.output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// A scheduler, its address, and a folder with nothing above it that is ours.
fn scene() -> (Scheduler, String, tempfile::TempDir) {
    let scheduler = Scheduler::default();
    let address = scheduler.serve();
    (scheduler, address, tempfile::tempdir().unwrap())
}

fn change(action: Action) -> ApplyResponse {
    let change =
        Change { kind: "Dag".to_owned(), name: "hourly".to_owned(), action: action as i32, ..Change::default() };
    ApplyResponse { changes: vec![change], faults: Vec::new() }
}

#[tokio::test]
async fn documents_are_sent_one_by_one_with_the_lines_of_their_file() {
    let (scheduler, address, dir) = scene();
    std::fs::write(dir.path().join("all.yaml"), "kind: Dag\n---\nkind: Binding\n").unwrap();
    scheduler.script().apply = change(Action::Create);

    let ended = dag(&address, dir.path(), &["apply", "all.yaml"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("create  Dag   hourly"), "{}", ended.stdout);
    let sent = scheduler.script().applied.pop().unwrap();
    assert!(!sent.dry_run);
    let documents: Vec<(&str, &str)> =
        sent.documents.iter().map(|document| (document.name.as_str(), document.text.as_str())).collect();
    assert_eq!(documents, [("all.yaml", "kind: Dag\n"), ("all.yaml", "\n---\nkind: Binding\n")]);

    dag(&address, dir.path(), &["apply", "--dry-run", "all.yaml"]).await;
    assert!(scheduler.script().applied.pop().unwrap().dry_run);
}

#[tokio::test]
async fn faults_come_all_at_once_and_end_with_64() {
    let (scheduler, address, dir) = scene();
    std::fs::write(dir.path().join("a.yaml"), "kind: Dag\n").unwrap();
    let fault = |line, message: &str| Fault {
        document: "a.yaml".to_owned(),
        path: "$.spec".to_owned(),
        line,
        message: message.to_owned(),
    };
    scheduler.script().apply = ApplyResponse { changes: Vec::new(), faults: vec![fault(7, "late"), fault(2, "early")] };
    let ended = dag(&address, dir.path(), &["apply", "a.yaml"]).await;
    assert_eq!(ended.code, Some(64));
    assert_eq!(ended.stderr, "error: a.yaml:2: $.spec: early\n  a.yaml:7: $.spec: late\n");
    assert_eq!(ended.stdout, "");

    let ended = dag(&address, dir.path(), &["apply", "none.yaml"]).await;
    assert_eq!(ended.code, Some(64));
    assert!(ended.stderr.contains("none.yaml:1:1: $: cannot be read"), "{}", ended.stderr);
    assert_eq!(scheduler.script().applied.len(), 1, "what cannot be read is not sent");
}

#[tokio::test]
async fn a_plan_ends_with_2_only_where_it_was_asked_and_something_would_change() {
    let (scheduler, address, dir) = scene();
    std::fs::write(dir.path().join("a.yaml"), "kind: Dag\n").unwrap();
    for (action, args, code) in [
        (Action::Update, &["plan", "a.yaml", "--exit-code"][..], 2),
        (Action::Update, &["plan", "a.yaml"], 0),
        (Action::Unchanged, &["plan", "a.yaml", "--exit-code"], 0),
    ] {
        scheduler.script().apply = change(action);
        let ended = dag(&address, dir.path(), args).await;
        assert_eq!(ended.code, Some(code), "{action:?} {args:?} {}", ended.stderr);
        assert!(ended.stdout.contains("nothing was changed"), "{}", ended.stdout);
        assert!(scheduler.script().applied.pop().unwrap().dry_run);
    }
}

#[tokio::test]
async fn a_run_has_its_parameters_and_moment() {
    let (scheduler, address, dir) = scene();
    std::fs::write(dir.path().join("params.yaml"), "model: champion\nlimit: 1\n").unwrap();
    let mut args = vec!["run", "hourly/acme", "--param", "limit=10", "--param", "day=2026-11-21", "--output", "json"];
    args.extend(["--params-file", "params.yaml", "--key", "k", "--logical-date", "2026-11-21T10:00[America/New_York]"]);
    let started = dag(&address, dir.path(), &args).await.json();
    assert_eq!((&started["id"], &started["state"]), (&json!(17), &json!("queued")));

    let sent = scheduler.script().started.pop().unwrap();
    assert_eq!(sent.r#ref, Some(DagRef { dag: "hourly".to_owned(), binding: "acme".to_owned() }));
    assert_eq!(sent.key, "k");
    assert_eq!(sent.logical_date, Some(at("2026-11-21T15:00:00Z")));
    let params = Value::Object(json::from_struct(sent.params.unwrap()));
    assert_eq!(params, json!({ "model": "champion", "limit": 10, "day": "2026-11-21" }));
}

/// A run with one task.
fn look(run: RunState, task: TaskState) -> GetRunResponse {
    let task = Task { name: "score".to_owned(), state: task as i32, attempts: 1, ..Task::default() };
    GetRunResponse { run: Some(run_17(run)), tasks: vec![task] }
}

#[tokio::test]
async fn a_run_is_followed_to_its_end_and_its_failure_is_the_commands() {
    let (scheduler, address, dir) = scene();
    scheduler.script().looks = VecDeque::from([
        Ok(look(RunState::RunRunning, TaskState::TaskActive)),
        Err(Status::unavailable("restarting")),
        Ok(look(RunState::RunFailed, TaskState::TaskFailed)),
    ]);
    let ended = dag(&address, dir.path(), &["run", "hourly/acme", "--wait"]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert_eq!(ended.stdout, "run 17 of hourly/acme: failed\n");
    let said: Vec<&str> =
        ended.stderr.lines().map(|line| line.split_once("Z  ").map_or(line, |(_, told)| told)).collect();
    let expected = [
        "run 17 of hourly/acme: queued",
        "score  active",
        "restarting (Unavailable); trying again",
        "score  failed",
        "error: run 17 has failed at score; `millrace dag logs 17` shows the ends of the logs",
    ];
    assert_eq!(said, expected);

    scheduler.script().looks = VecDeque::from([Ok(look(RunState::RunSucceeded, TaskState::TaskSucceeded))]);
    let ended = dag(&address, dir.path(), &["run", "hourly/acme", "--wait", "--output", "json"]).await.json();
    assert_eq!((&ended["state"], &ended["tasks"][0]["state"]), (&json!("succeeded"), &json!("succeeded")));
}

#[tokio::test]
async fn a_backfill_begins_only_with_consent() {
    let (scheduler, address, dir) = scene();
    scheduler.script().moments = vec![at("2026-11-21T10:00:00Z"), at("2026-11-21T11:00:00Z")];
    let args = ["backfill", "hourly", "--from", "2026-11-21", "--to", "2026-11-22", "--all", "--max-parallel", "4"];
    let with = |more: &'static [&str]| [&args[..], more].concat();

    let ended = dag(&address, dir.path(), &with(&[])).await;
    assert_eq!(ended.code, Some(64), "nobody can be asked");
    let plan = "2 runs of hourly, from 2026-11-21T10:00:00Z to 2026-11-21T11:00:00Z";
    assert!(ended.stderr.starts_with(&format!("{plan}\nerror: standard input is no terminal")), "{}", ended.stderr);
    let planned = dag(&address, dir.path(), &with(&["--dry-run", "--output", "json"])).await.json();
    assert_eq!((&planned["count"], &planned["id"]), (&json!(2), &Value::Null));
    assert!(scheduler.script().backfills.iter().all(|request| request.dry_run));

    let ended = dag(&address, dir.path(), &with(&["--yes"])).await;
    assert_eq!(ended.stdout, format!("backfill 5 is under way: {plan}\n"));
    let [planned, begun] = &scheduler.script().backfills.split_off(2)[..] else { panic!("a plan and a deed") };
    assert_eq!(*planned, BackfillRequest { dry_run: true, ..begun.clone() });
    let expected = BackfillRequest {
        r#ref: Some(DagRef { dag: "hourly".to_owned(), binding: String::new() }),
        from: Some(at("2026-11-21T00:00:00Z")),
        to: Some(at("2026-11-22T00:00:00Z")),
        all: true,
        max_parallel: 4,
        ..BackfillRequest::default()
    };
    assert_eq!(*begun, expected);
}

#[tokio::test]
async fn a_backfill_backwards_is_a_mistake() {
    let (scheduler, address, dir) = scene();
    let ended = dag(&address, dir.path(), &["backfill", "h", "--from", "2026-11-22", "--to", "2026-11-21"]).await;
    assert_eq!(ended.code, Some(64));
    assert!(ended.stderr.contains("--to: expected a moment after 2026-11-22T00:00:00Z"), "{}", ended.stderr);
    assert!(scheduler.script().backfills.is_empty());
}

#[tokio::test]
async fn a_clear_says_first_what_it_would_do() {
    let (scheduler, address, dir) = scene();
    let ended = dag(&address, dir.path(), &["clear", "17", "--task", "score", "--latest", "-y"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let differences = "score, load\nthe DAG's document is not as it was:\n  task load: added\n";
    assert_eq!(ended.stderr, format!("of run 17 runs again: {differences}").replace("runs again", "would run again"));
    assert_eq!(ended.stdout, format!("of run 17 runs again: {differences}"));
    let request = |dry_run| ClearRunRequest { run: 17, tasks: vec!["score".to_owned()], latest: true, dry_run };
    assert_eq!(scheduler.script().clears, [request(true), request(false)]);
}

#[tokio::test]
async fn the_rest_asks_for_what_was_typed() {
    let (scheduler, address, dir) = scene();
    for args in [
        &["runs", "hourly/acme", "--state", "failed", "--state", "queued", "--limit", "7"][..],
        &["cancel", "17"],
        &["pause", "hourly"],
        &["resume", "hourly"],
        &["why", "17"],
        &["why", "hourly/acme"],
        &["logs", "17", "score", "--item", "0", "--attempt", "2"],
        &["slots", "hourly", "--from", "2026-11-21", "--limit", "5"],
        &["events", "s3", "--limit", "5", "--before", "9"],
        &["pool", "gpu", "--slots", "4"],
    ] {
        let ended = dag(&address, dir.path(), args).await;
        assert_eq!(ended.code, Some(0), "{args:?} {}", ended.stderr);
    }
    let script = scheduler.script();
    let hourly = || Some(DagRef { dag: "hourly".to_owned(), binding: String::new() });
    let acme = || DagRef { dag: "hourly".to_owned(), binding: "acme".to_owned() };
    let states = vec![RunState::RunFailed as i32, RunState::RunQueued as i32];
    assert_eq!(script.listed, [ListRunsRequest { r#ref: Some(acme()), states, limit: 7, before: 0 }]);
    assert_eq!(script.cancelled, [17]);
    assert_eq!(script.paused, [true, false].map(|paused| SetPausedRequest { r#ref: hourly(), paused }));
    let why = [What::Run(17), What::Ref(acme())].map(|what| WhyRequest { what: Some(what) });
    assert_eq!(script.asked_why, why);
    let attempts = ListAttemptsRequest { run: 17, task: "score".to_owned(), item: Some(0), limit: 1_000 };
    assert_eq!(script.attempts, [attempts]);
    let slots = ListSlotsRequest { r#ref: hourly(), from: Some(at("2026-11-21T00:00:00Z")), to: None, limit: 5 };
    assert_eq!(script.slots, [slots]);
    let events = ListEventsRequest { source: "s3".to_owned(), id: String::new(), limit: 5, before: 9 };
    assert_eq!(script.asked_events, [events]);
    assert_eq!(script.pools, [SetPoolRequest { name: "gpu".to_owned(), slots: 4 }]);
}

#[tokio::test]
async fn an_event_is_recorded_as_it_was_typed() {
    let (scheduler, address, dir) = scene();
    let typed = ["event", "s3", "--id", "e1", "--type", "made", "--subject", "in/a", "--data", r#"{"n": 1}"#];
    let ended = dag(&address, dir.path(), &typed).await;
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(0), "event e1 of source s3: recorded, number 7\n"),
        "{}",
        ended.stderr
    );
    let again = dag(&address, dir.path(), &[&typed[..], &["--output", "json"]].concat()).await.json();
    assert_eq!(again, json!({"source": "s3", "id": "e1", "number": 7, "existed": true}));
    let text = |text: &str| text.to_owned();
    let event = NewEvent { id: text("e1"), r#type: text("made"), subject: text("in/a"), data: text(r#"{"n": 1}"#) };
    let request = || RecordEventsRequest { source: text("s3"), events: vec![event.clone()] };
    assert_eq!(scheduler.script().events, [request(), request()]);
    let wrong = dag(&address, dir.path(), &["event", "s3", "--id", "e1", "--data", "n: 1"]).await;
    assert_eq!(wrong.code, Some(64));
    assert!(wrong.stderr.contains("--data: expected JSON"), "{}", wrong.stderr);
}

#[tokio::test]
async fn lists_are_tables_or_json() {
    let (_, address, dir) = scene();
    let pools = dag(&address, dir.path(), &["pools"]).await;
    assert_eq!(pools.stdout, "POOL  SLOTS  USED  WAITING\ngpu   3      2     1\n");
    let listed = dag(&address, dir.path(), &["list", "night", "--output", "json"]).await.json();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["dag"], "nightly");
}

#[tokio::test]
async fn what_is_not_there_and_who_is_not_there_is_said_plainly() {
    let (_, address, dir) = scene();
    let ended = dag(&address, dir.path(), &["show", "hurly"]).await;
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.stderr, "error: no DAG `hurly`; there are: hourly, nightly (NotFound)\n");

    let nobody = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap().local_addr().unwrap().to_string();
    let ended = dag(&nobody, dir.path(), &["list"]).await;
    assert_eq!(ended.code, Some(1));
    let expected = format!("error: reach the scheduler at {nobody}\n  because: tcp connect error: Connection refused");
    assert!(ended.stderr.starts_with(&expected), "{}", ended.stderr);

    let ended = dag(&address, dir.path(), &["runs", "hourly/"]).await;
    assert_eq!(ended.code, Some(64));
    assert!(ended.stderr.contains("expected DAG or DAG/BINDING"), "{}", ended.stderr);
}

#[tokio::test]
async fn completions_know_the_commands() {
    let shell = tokio::process::Command::new(env!("CARGO_BIN_EXE_millrace"))
        .args(["completions", "bash"])
        .output()
        .await
        .unwrap();
    let script = String::from_utf8(shell.stdout).unwrap();
    assert!(script.contains("millrace__subcmd__dag__subcmd__backfill"), "`dag backfill` is not completed");
}
