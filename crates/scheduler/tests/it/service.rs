//! What those see who ask over gRPC.

use millrace_proto::scheduler::v1::{
    self as pb, DagRef, scheduler_service_server::SchedulerService as _, why_request::What,
};
use millrace_scheduler::{
    apply::Abilities,
    exec::{Channels, Grpc, Secrets},
    service::Service,
};
use tonic::{Code, Request};

use crate::world::World;

const DAG: &str = "apiVersion: millrace.dev/v1\nkind: Dag\nmetadata: {name: hourly}\nspec:\n  params: {model: {type: string, default: champion}}\n  schedule: {cron: '5 * * * *', timezone: America/New_York}\n  tasks:\n    a: {noop: {}}\n    b: {needs: [a], pool: {name: gpu}, noop: {}}\n    c: {needs: [b], noop: {}}\n";

fn document(name: &str, text: &str) -> pb::Document {
    pb::Document { name: name.to_owned(), text: text.to_owned() }
}

fn of(dag: &str) -> DagRef {
    DagRef { dag: dag.to_owned(), binding: String::new() }
}

struct Client(Service);

impl Client {
    async fn apply(&self, text: &str, dry_run: bool) -> pb::ApplyResponse {
        let request = pb::ApplyRequest { documents: vec![document("dags/hourly.yaml", text)], dry_run };
        self.0.apply(Request::new(request)).await.unwrap().into_inner()
    }

    async fn start(&self, key: &str) -> Result<pb::StartRunResponse, tonic::Status> {
        let request = pb::StartRunRequest { r#ref: Some(of("hourly")), key: key.to_owned(), ..Default::default() };
        Ok(self.0.start_run(Request::new(request)).await?.into_inner())
    }

    async fn why(&self, run: i64) -> Vec<pb::Waiting> {
        self.0.why(Request::new(pb::WhyRequest { what: Some(What::Run(run)) })).await.unwrap().into_inner().waiting
    }
}

#[tokio::test]
async fn a_document_is_checked_planned_and_put_in_force() {
    let world = World::new().await;
    let client =
        Client(Service::new(world.store.clone(), Grpc::new(Channels::new(), Secrets::default()), Abilities::default()));
    let faults = client.apply(&DAG.replace("needs: [a]", "needs: [nobody]"), false).await.faults;
    let said: Vec<String> =
        faults.iter().map(|it| format!("{}:{}: {}: {}", it.document, it.line, it.path, it.message)).collect();
    assert!(said.iter().any(|it| it.starts_with("dags/hourly.yaml:9: $.spec.tasks.b.needs[0]: ")), "{said:?}");
    assert!(said.iter().any(|it| it.contains("millrace dag pool gpu")), "all at once: {said:?}");

    let pool = pb::SetPoolRequest { name: "gpu".to_owned(), slots: 0 };
    client.0.set_pool(Request::new(pool)).await.unwrap();
    let planned = client.apply(DAG, true).await;
    assert_eq!(planned.changes[0].action(), pb::change::Action::Create);
    let nobody = client.start("x").await.unwrap_err();
    assert_eq!(
        (nobody.code(), nobody.message()),
        (Code::NotFound, "there is no DAG \"hourly\": `millrace dag list` shows what there is")
    );
    client.apply(DAG, false).await;
    assert_eq!(client.apply(DAG, true).await.changes[0].action(), pb::change::Action::Unchanged);
    let changed = client.apply(&DAG.replace("5 * * * *", "6 * * * *"), true).await;
    assert_eq!(changed.changes[0].details, [r#"spec.schedule.cron: "5 * * * *" -> "6 * * * *""#]);

    world.store.fire().await.unwrap();
    let dag =
        client.0.get_dag(Request::new(pb::GetDagRequest { r#ref: Some(of("hourly")) })).await.unwrap().into_inner();
    assert_eq!(dag.tasks, ["a", "b", "c"]);
    assert_eq!(dag.next.len(), 5);
    let summary = dag.dag.unwrap();
    assert_eq!(summary.schedule, "5 * * * * America/New_York");
    assert_eq!(summary.next_at, Some(dag.next[0]));
    world.database.remove().await.unwrap();
}

#[tokio::test]
async fn a_run_is_started_once_for_its_key_and_says_what_it_waits_for() {
    let world = World::new().await;
    let client =
        Client(Service::new(world.store.clone(), Grpc::new(Channels::new(), Secrets::default()), Abilities::default()));
    world.store.set_pool("gpu", 0).await.unwrap();
    client.apply(DAG, false).await;
    let first = client.start("mine").await.unwrap();
    let again = client.start("mine").await.unwrap();
    assert_eq!((first.existed, again.existed), (false, true));
    let run = first.run.unwrap();
    assert_eq!(run.id, again.run.unwrap().id);

    let waiting = client.why(run.id).await;
    assert_eq!(waiting[0].what, "task a");
    assert!(waiting[0].unmet[0].contains("no scheduler is working"), "{waiting:?}");
    assert_eq!(
        (waiting[1].what.as_str(), waiting[1].unmet.as_slice()),
        ("task b", ["task a is ready".to_owned()].as_slice())
    );
    let a = world.store.claim(millrace_scheduler::store::InstanceId(1), 1).await.unwrap().remove(0);
    let done = millrace_scheduler::store::Outcome::Succeeded(Some(serde_json::json!({"rows": 7})));
    world.store.finish(&[millrace_scheduler::store::Report::new(a.token, done)]).await.unwrap();
    let waiting = client.why(run.id).await;
    assert!(waiting[0].unmet[0].starts_with("pool gpu: 0 of 0 slots are in use, it needs 1"), "{waiting:?}");

    let shown = client.0.get_run(Request::new(pb::GetRunRequest { run: run.id })).await.unwrap().into_inner();
    assert_eq!(shown.tasks[0].state(), pb::TaskState::TaskSucceeded);
    assert!(shown.tasks[0].output.is_some());
    let ended = client.0.cancel_run(Request::new(pb::CancelRunRequest { run: run.id })).await.unwrap().into_inner();
    assert_eq!(ended.run.unwrap().state(), pb::RunState::RunCancelled);
    assert!(client.why(run.id).await.is_empty());
    let twice = client.0.cancel_run(Request::new(pb::CancelRunRequest { run: run.id })).await.unwrap_err();
    assert_eq!(twice.code(), Code::InvalidArgument, "{twice}");
    let listed = pb::ListRunsRequest { r#ref: Some(of("hourly")), ..Default::default() };
    assert_eq!(client.0.list_runs(Request::new(listed)).await.unwrap().into_inner().runs.len(), 1);
    world.database.remove().await.unwrap();
}

#[tokio::test]
async fn parameters_are_checked_by_their_schemas() {
    let world = World::new().await;
    let client =
        Client(Service::new(world.store.clone(), Grpc::new(Channels::new(), Secrets::default()), Abilities::default()));
    world.store.set_pool("gpu", 1).await.unwrap();
    client.apply(DAG, false).await;
    let params = |name: &str, value: serde_json::Value| {
        let fields = [(name.to_owned(), value)].into_iter().collect();
        pb::StartRunRequest {
            r#ref: Some(of("hourly")),
            params: Some(millrace_proto::json::to_struct(&fields)),
            ..Default::default()
        }
    };
    for (request, expected) in [
        (params("model", serde_json::json!(7)), "parameter \"model\" 7 is not of type \"string\""),
        (params("modle", serde_json::json!("x")), "parameter \"modle\" is not a parameter; there are: model"),
    ] {
        let refused = client.0.start_run(Request::new(request)).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, expected));
    }
    world.database.remove().await.unwrap();
}
