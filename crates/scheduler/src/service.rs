//! gRPC: `millrace.scheduler.v1.SchedulerService`.

mod convert;
mod waits;

use std::collections::{BTreeMap, BTreeSet};

use millrace_core::Faults;
use millrace_proto::scheduler::v1::{
    self as pb,
    scheduler_service_server::{SchedulerService, SchedulerServiceServer},
    why_request::What,
};
use millrace_runtime::grpc;
use serde_json::Value;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::{
    Error,
    apply::{self, Abilities},
    exec::{Executors, Grpc},
    state::RunState,
    store::{Flow, FlowId, FlowRow, NewRun, RunId, RunQuery, RunRow, Store},
    why,
};

/// Bytes of a request: many documents at once.
const MAX_REQUEST: usize = 16 * 1024 * 1024;
/// How many of the next moments of a schedule are told.
const NEXT: usize = 5;
/// The most runs and attempts of an answer, and the most slots.
const MOST: u32 = 1_000;
const MOST_SLOTS: u32 = 10_000;
/// Instances of a mapped task of which it is told what they wait for.
const ITEMS: i64 = 20;

type Answer<T> = Result<Response<T>, Status>;

/// The service over a store.
pub struct Service {
    store: Store,
    grpc: Grpc,
    abilities: Abilities,
    /// What looks for what is waited for.
    executors: Option<Executors>,
}

impl Service {
    /// Over a store. `grpc` knows which methods there are.
    pub fn new(store: Store, grpc: Grpc, abilities: Abilities) -> Self {
        Self { store, grpc, abilities, executors: None }
    }

    /// With what looks for what is waited for, when somebody asks why.
    #[must_use]
    pub fn with_executors(self, executors: Executors) -> Self {
        Self { executors: Some(executors), ..self }
    }

    /// For a server.
    pub fn server(self) -> SchedulerServiceServer<Self> {
        SchedulerServiceServer::new(self).max_decoding_message_size(MAX_REQUEST)
    }

    async fn flow(&self, dag: Option<pb::DagRef>) -> Result<Flow, Error> {
        let pb::DagRef { dag, binding } = dag.ok_or_else(|| Error::Invalid("ref: expected a DAG".to_owned()))?;
        let flow = self.store.flow(&dag, &binding).await?.filter(|flow| flow.active);
        match flow {
            Some(flow) => Ok(flow),
            None => Err(self.no_flow(&dag, &binding).await?),
        }
    }

    /// What is there in place of what was asked for.
    async fn no_flow(&self, dag: &str, binding: &str) -> Result<Error, Error> {
        let flows = self.store.flows_of(dag).await?;
        let bindings: Vec<&str> = flows.iter().filter(|it| it.flow.active).map(|it| it.flow.binding.as_str()).collect();
        Ok(Error::NotFound(match (bindings.as_slice(), binding) {
            ([], _) => format!("DAG {dag:?}: `millrace dag list` shows what there is"),
            ([""], binding) => format!("binding {binding:?} of DAG {dag:?}: it has none"),
            (_, "") => format!("DAG {dag:?} without a binding: it has {}", bindings.join(", ")),
            (_, binding) => format!("binding {binding:?} of DAG {dag:?}: it has {}", bindings.join(", ")),
        }))
    }

    async fn flow_row(&self, flow: FlowId) -> Result<FlowRow, Error> {
        self.store.flow_row(flow).await?.ok_or_else(|| Error::Strange(format!("flow {} is gone", flow.0)))
    }

    async fn run(&self, run: i64) -> Result<RunRow, Error> {
        self.store.run(RunId(run)).await?.ok_or_else(|| Error::NotFound(format!("run {run}")))
    }

    /// A flow as it is told, with its plan.
    async fn dag(&self, row: FlowRow) -> Result<pb::Dag, Error> {
        let plan = self.store.plan(row.flow.hash).await?;
        Ok(convert::dag(row, &plan))
    }

    async fn apply(&self, request: pb::ApplyRequest) -> Result<pb::ApplyResponse, Error> {
        let texts = request.documents.iter().map(|it| (it.name.as_str(), it.text.as_str()));
        let given = match apply::parse(texts) {
            Ok(given) => given,
            Err(faults) => return Ok(refused(faults)),
        };
        // All that is wrong is said together, and nobody is kept waiting in a transaction.
        let put = |dry_run| apply::apply(&given, &self.store, self.abilities, dry_run);
        let (unknown, planned) = tokio::join!(apply::unknown_methods(&given, &self.grpc), put(true));
        let changes = match planned? {
            Ok(changes) if unknown.is_empty() => changes,
            Ok(_) => return Ok(refused(Faults(unknown))),
            Err(Faults(mut faults)) => {
                faults.extend(unknown);
                faults.sort();
                return Ok(refused(Faults(faults)));
            }
        };
        let changes = if request.dry_run {
            changes
        } else {
            match put(false).await? {
                Ok(changes) => changes,
                Err(faults) => return Ok(refused(faults)),
            }
        };
        Ok(pb::ApplyResponse { changes: changes.into_iter().map(convert::change).collect(), faults: vec![] })
    }

    async fn start_run(&self, request: pb::StartRunRequest) -> Result<pb::StartRunResponse, Error> {
        let flow = self.flow(request.r#ref).await?;
        let plan = self.store.plan(flow.hash).await?;
        let given = convert::params(request.params);
        let bound = self.store.binding_params(&flow).await?;
        let params = plan.params.resolve([&bound, &given]).map_err(|problems| Error::params(&problems))?;
        let at = match request.logical_date {
            Some(at) => convert::instant(at)?,
            None => self.store.now().await?,
        };
        let key = match request.key {
            key if key.is_empty() => format!("manual__{at}__{}", &Uuid::new_v4().simple().to_string()[..8]),
            key if key.len() > 250 => return Err(Error::Invalid("key: more than 250 bytes".to_owned())),
            key => key,
        };
        let binding_hash = flow.binding_hash;
        let run = NewRun { binding_hash, logical_at: Some(at), params, ..NewRun::by_hand(flow.id, &plan, key) };
        let added = self.store.add_run(&run).await?;
        let id = match added {
            Some(id) => id,
            None => self
                .store
                .run_of_key(flow.id, &run.key)
                .await?
                .ok_or_else(|| Error::Strange("a run that is there and is not".to_owned()))?,
        };
        Ok(pb::StartRunResponse { run: Some(convert::run(self.run(id.0).await?)), existed: added.is_none() })
    }

    async fn why(&self, request: pb::WhyRequest) -> Result<Vec<why::Waiting>, Error> {
        let now = self.store.now().await?;
        match request.what {
            None => Err(Error::Invalid("what: expected a run or a DAG".to_owned())),
            Some(What::Ref(dag)) => {
                let flow = self.flow_row(self.flow(Some(dag)).await?.id).await?;
                let plan = self.store.plan(flow.flow.hash).await?;
                Ok(why::flow(&flow, &plan, now))
            }
            Some(What::Run(run)) => {
                let run = self.run(run).await?;
                let plan = self.store.plan(run.hash).await?;
                let mut tasks = self.store.tasks(run.id).await?;
                let mapped: Vec<i16> = tasks.iter().filter(|it| it.items_left > 0).map(|it| it.task).collect();
                for task in mapped {
                    tasks.extend(self.store.waiting_items(run.id, task, ITEMS).await?);
                }
                let (flow, pools) = (self.flow_row(run.flow).await?, self.store.pools().await?);
                let pools: BTreeMap<_, _> = pools.into_iter().map(|pool| (pool.id, pool)).collect();
                let instances = self.store.instances().await?;
                let around = why::Surroundings { flow: &flow, pools: &pools, instances, now };
                let mut waiting = why::run(&run, &plan, &tasks, &around);
                waiting.extend(self.waits(&run, &plan).await?);
                Ok(waiting)
            }
        }
    }

    async fn attempts(&self, request: pb::ListAttemptsRequest) -> Result<pb::ListAttemptsResponse, Error> {
        let pb::ListAttemptsRequest { run, task, item, limit } = request;
        let run = self.run(run).await?;
        let plan = self.store.plan(run.hash).await?;
        let number = match task.as_str() {
            "" => None,
            name => {
                let number = plan.graph.number(name).ok_or_else(|| Error::NotFound(format!("task {name:?}")))?;
                Some(number as i16)
            }
        };
        let item = item.map(|item| i32::try_from(item).unwrap_or(i32::MAX));
        let attempts = self.store.attempts(run.id, number, item, limited(limit, 100, MOST)).await?;
        Ok(pb::ListAttemptsResponse { attempts: attempts.into_iter().map(|it| convert::attempt(it, &plan)).collect() })
    }
}

fn refused(Faults(faults): Faults) -> pb::ApplyResponse {
    pb::ApplyResponse { changes: vec![], faults: faults.into_iter().map(convert::fault).collect() }
}

/// What is asked for, or a default of it, and no more than the most.
fn limited(asked: u32, default: u32, most: u32) -> usize {
    (if asked == 0 { default } else { asked.min(most) }) as usize
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        if matches!(error, Error::Strange(_) | Error::Document { .. }) {
            tracing::error!(%error, "call failed");
        }
        grpc::status(error.code(), error.to_string())
    }
}

#[tonic::async_trait]
impl SchedulerService for Service {
    async fn apply(&self, request: Request<pb::ApplyRequest>) -> Answer<pb::ApplyResponse> {
        Ok(Response::new(self.apply(request.into_inner()).await?))
    }

    async fn list_dags(&self, request: Request<pb::ListDagsRequest>) -> Answer<pb::ListDagsResponse> {
        let mut dags = Vec::new();
        for row in self.store.flows(&request.into_inner().prefix).await? {
            dags.push(self.dag(row).await?);
        }
        Ok(Response::new(pb::ListDagsResponse { dags }))
    }

    async fn get_dag(&self, request: Request<pb::GetDagRequest>) -> Answer<pb::GetDagResponse> {
        let flow = self.flow(request.into_inner().r#ref).await?;
        let plan = self.store.plan(flow.hash).await?;
        let now = self.store.now().await?;
        let moments = std::iter::successors(plan.timetable.as_ref().and_then(|it| it.due_after(now)), |last| {
            plan.timetable.as_ref().and_then(|it| it.due_after(last.at))
        });
        let next = moments.take(NEXT).map(|moment| convert::timestamp(moment.at)).collect();
        let tasks = (0..plan.graph.len()).map(|task| plan.graph.name(task).to_owned()).collect();
        let dag = convert::dag(self.flow_row(flow.id).await?, &plan);
        Ok(Response::new(pb::GetDagResponse { dag: Some(dag), document: plan.text.clone(), tasks, next }))
    }

    async fn start_run(&self, request: Request<pb::StartRunRequest>) -> Answer<pb::StartRunResponse> {
        Ok(Response::new(self.start_run(request.into_inner()).await?))
    }

    async fn list_runs(&self, request: Request<pb::ListRunsRequest>) -> Answer<pb::ListRunsResponse> {
        let pb::ListRunsRequest { r#ref, states, limit, before } = request.into_inner();
        let flows = match r#ref {
            None => None,
            Some(asked) => {
                let rows = self.store.flows_of(&asked.dag).await?;
                let of_it = |row: &&FlowRow| asked.binding.is_empty() || row.flow.binding == asked.binding;
                let flows: Vec<_> = rows.iter().filter(of_it).map(|row| row.flow.id).collect();
                if flows.is_empty() {
                    return Err(self.no_flow(&asked.dag, &asked.binding).await?.into());
                }
                Some(flows)
            }
        };
        let states: BTreeSet<i32> = states.into_iter().collect();
        let states = states.into_iter().map(convert::run_state).collect::<Result<Vec<RunState>, Error>>()?;
        let before = (before > 0).then_some(RunId(before));
        let query = RunQuery { flows, states, before, limit: limited(limit, 50, MOST) };
        let runs = self.store.runs(&query).await?.into_iter().map(convert::run).collect();
        Ok(Response::new(pb::ListRunsResponse { runs }))
    }

    async fn get_run(&self, request: Request<pb::GetRunRequest>) -> Answer<pb::GetRunResponse> {
        let run = self.run(request.into_inner().run).await?;
        let plan = self.store.plan(run.hash).await?;
        let tasks = self.store.tasks(run.id).await?;
        let tasks = tasks.into_iter().map(|task| convert::task(task, &plan)).collect();
        Ok(Response::new(pb::GetRunResponse { run: Some(convert::run(run)), tasks }))
    }

    async fn list_attempts(&self, request: Request<pb::ListAttemptsRequest>) -> Answer<pb::ListAttemptsResponse> {
        Ok(Response::new(self.attempts(request.into_inner()).await?))
    }

    async fn cancel_run(&self, request: Request<pb::CancelRunRequest>) -> Answer<pb::CancelRunResponse> {
        let run = self.run(request.into_inner().run).await?;
        if run.state.is_final() {
            let message = format!("run {} has ended already: {}", run.id.0, run.state.as_str());
            return Err(Error::Invalid(message).into());
        }
        self.store.cancel(&[run.id], "told to end").await?;
        Ok(Response::new(pb::CancelRunResponse { run: Some(convert::run(self.run(run.id.0).await?)) }))
    }

    async fn set_paused(&self, request: Request<pb::SetPausedRequest>) -> Answer<pb::SetPausedResponse> {
        let pb::SetPausedRequest { r#ref, paused } = request.into_inner();
        let flow = self.flow(r#ref).await?;
        self.store.set_paused(flow.id, paused).await?;
        let dag = self.dag(self.flow_row(flow.id).await?).await?;
        Ok(Response::new(pb::SetPausedResponse { dag: Some(dag) }))
    }

    async fn why(&self, request: Request<pb::WhyRequest>) -> Answer<pb::WhyResponse> {
        let waiting = self.why(request.into_inner()).await?;
        let waiting = waiting.into_iter().map(|it| pb::Waiting { what: it.what, unmet: it.unmet }).collect();
        Ok(Response::new(pb::WhyResponse { waiting }))
    }

    async fn list_slots(&self, request: Request<pb::ListSlotsRequest>) -> Answer<pb::ListSlotsResponse> {
        let pb::ListSlotsRequest { r#ref, from, to, limit } = request.into_inner();
        let flow = self.flow(r#ref).await?;
        let (from, to) = (from.map(convert::instant).transpose()?, to.map(convert::instant).transpose()?);
        let slots = self.store.slots(flow.id, from, to, limited(limit, 100, MOST_SLOTS)).await?;
        Ok(Response::new(pb::ListSlotsResponse { slots: slots.into_iter().map(convert::slot).collect() }))
    }

    async fn list_pools(&self, _: Request<pb::ListPoolsRequest>) -> Answer<pb::ListPoolsResponse> {
        let pools = self.store.pools().await?.into_iter().map(convert::pool).collect();
        Ok(Response::new(pb::ListPoolsResponse { pools }))
    }

    async fn set_pool(&self, request: Request<pb::SetPoolRequest>) -> Answer<pb::SetPoolResponse> {
        let pb::SetPoolRequest { name, slots } = request.into_inner();
        let fits = |it: char| it.is_ascii_alphanumeric() || "-_.".contains(it);
        if name.is_empty() || name.len() > 63 || !name.chars().all(fits) {
            let message = format!("name {name:?}: expected letters, digits, dashes, dots and underscores, at most 63");
            return Err(Error::Invalid(message).into());
        }
        self.store.set_pool(&name, slots).await?;
        let pool = self.store.pools().await?.into_iter().find(|pool| pool.name == name);
        Ok(Response::new(pb::SetPoolResponse { pool: pool.map(convert::pool) }))
    }

    async fn clear_run(&self, request: Request<pb::ClearRunRequest>) -> Answer<pb::ClearRunResponse> {
        let pb::ClearRunRequest { run, tasks, latest, dry_run } = request.into_inner();
        let cleared = self.store.clear(RunId(run), &tasks, latest, dry_run).await?;
        Ok(Response::new(pb::ClearRunResponse { tasks: cleared.tasks, differences: cleared.differences }))
    }

    async fn backfill(&self, request: Request<pb::BackfillRequest>) -> Answer<pb::BackfillResponse> {
        let request = request.into_inner();
        let flow = self.flow(request.r#ref.clone()).await?;
        let given: BTreeMap<String, Value> = convert::params(request.params.clone());
        let backfill = convert::backfill(&request, given)?;
        let planned = self.store.backfill(&flow, &backfill, request.dry_run).await?;
        Ok(Response::new(convert::planned(planned)))
    }
}
