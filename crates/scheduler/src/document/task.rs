use std::collections::BTreeMap;

use millrace_core::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One task: what it waits for, what it does (exactly one of `noop`, `sleep`, `process`, `http`, `grpc`, `service`, `job`
/// and `wait`), and what happens when that fails. Texts inside what it does are templates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Task {
    /// The tasks that it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// What must have become of them.
    #[serde(default)]
    pub when: Rule,
    /// A condition in CEL over `params`, `tasks` and `run`, looked at once `when` holds: where it is false, the task is
    /// skipped.
    #[serde(default, rename = "if", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// One instance for each item of a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_each: Option<ForEach>,
    /// A template to start from, and its parameters.
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Parameters of the template.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub with: BTreeMap<String, Value>,
    /// Does nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noop: Option<Noop>,
    /// Lets time pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sleep: Option<Sleep>,
    /// Runs a command beside the scheduler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// Sends a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
    /// Calls a unary method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<Grpc>,
    /// Has a `TaskService` do it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// Runs a Kubernetes Job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Job>,
    /// Waits for something to be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Wait>,
    /// What happens when it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// How long its parts may take.
    #[serde(default)]
    pub timeout: Timeouts,
    /// Slots that it holds while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolUse>,
    /// In place of the DAG's priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i16>,
}

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "as the fields of a task")]
pub enum Action<'a> {
    Noop(&'a Noop),
    Sleep(&'a Sleep),
    Process(&'a Process),
    Http(&'a Http),
    Grpc(&'a Grpc),
    Service(&'a Service),
    Job(&'a Job),
    Wait(&'a Wait),
}

impl Task {
    /// Everything that it says to do: one thing, in a task that was checked.
    pub fn actions(&self) -> impl Iterator<Item = Action<'_>> {
        let Self { noop, sleep, process, http, grpc, service, job, wait, .. } = self;
        [
            noop.as_ref().map(Action::Noop),
            sleep.as_ref().map(Action::Sleep),
            process.as_ref().map(Action::Process),
            http.as_ref().map(Action::Http),
            grpc.as_ref().map(Action::Grpc),
            service.as_ref().map(Action::Service),
            job.as_ref().map(Action::Job),
            wait.as_ref().map(Action::Wait),
        ]
        .into_iter()
        .flatten()
    }
}

impl Action<'_> {
    /// The field that says it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Noop(_) => "noop",
            Self::Sleep(_) => "sleep",
            Self::Process(_) => "process",
            Self::Http(_) => "http",
            Self::Grpc(_) => "grpc",
            Self::Service(_) => "service",
            Self::Job(_) => "job",
            Self::Wait(_) => "wait",
        }
    }
}

/// What must have become of the tasks that one waits for. Names and meanings are Airflow's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// All have succeeded.
    #[default]
    AllSuccess,
    /// All have failed, or could not run because of a failure.
    AllFailed,
    /// All are done, whatever became of them.
    AllDone,
    /// All were skipped.
    AllSkipped,
    /// One has succeeded; the others need not be done.
    OneSuccess,
    /// One has failed; the others need not be done.
    OneFailed,
    /// One has succeeded or failed, or could not run because of a failure; the others need not be done.
    OneDone,
    /// All are done and none has failed: each has succeeded or was skipped.
    NoneFailed,
    /// The same, and one at least has succeeded.
    NoneFailedMinOneSuccess,
    /// All are done and none was skipped.
    NoneSkipped,
    /// Nothing: it can run at once.
    Always,
}

/// One instance for each item of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForEach {
    /// A list, or a template that gives one: `"{{ tasks.extract.output.shards }}"`. At most 100,000 items.
    #[serde(rename = "in")]
    pub items: Value,
    /// What an item is called in the instance's templates.
    #[serde(default = "item", rename = "as")]
    #[schemars(regex(pattern = "^[a-z_][a-z0-9_]{0,62}$"))]
    pub name: String,
    /// Instances that run at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_parallel: Option<u32>,
}

fn item() -> String {
    "item".to_owned()
}

/// What happens when a task fails.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Retry {
    /// How often it is tried again. An interruption that is not the task's fault is not counted.
    #[schemars(range(max = 1_000))]
    pub max: u32,
    /// How long before it is tried again.
    pub backoff: Backoff,
    /// A condition in CEL over `exit_code`, `code`, `message` and `attempt`: where it holds, it is not tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unless: Option<String>,
}

/// Pauses between tries.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Backoff {
    /// The first pause.
    pub initial: Span,
    /// How much longer each is than the one before.
    #[schemars(range(min = 1.0, max = 100.0))]
    pub factor: f64,
    /// The longest.
    pub max: Span,
    /// How much of a pause is chance.
    pub jitter: Jitter,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial: Span::seconds(10), factor: 2.0, max: Span::seconds(600), jitter: Jitter::Full }
    }
}

/// How much of a pause is chance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Jitter {
    /// Nothing.
    None,
    /// All of it: from zero to the whole.
    #[default]
    Full,
}

/// How long the parts of a task may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Timeouts {
    /// From the moment at which it could run to the one at which it does; then it fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<Span>,
    /// One try; then it is cancelled and has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution: Option<Span>,
}

/// Slots of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PoolUse {
    /// The pool; a binding may give it another name.
    #[schemars(length(min = 1))]
    pub name: String,
    /// How many slots.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100_000))]
    pub slots: u32,
}

fn one() -> u32 {
    1
}

/// Does nothing: a place where branches meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Noop {}

/// Lets time pass, without holding anything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sleep {
    /// How long.
    #[serde(rename = "for")]
    pub length: Span,
}

/// A command, without a shell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Process {
    /// The program and its arguments.
    #[schemars(length(min = 1))]
    pub argv: Vec<String>,
    /// Beside `PATH`, `HOME`, `TZ` and what the scheduler says of the run.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Names of secrets by the names of the environment variables that hold them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    /// Where it runs; without one, in a folder of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// From SIGTERM to SIGKILL.
    #[serde(default = "half_a_minute")]
    pub grace: Span,
}

fn half_a_minute() -> Span {
    Span::seconds(30)
}

/// A request. Any answer of 2xx is a success; 408, 429 and 5xx may be tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Http {
    /// `GET`, `POST` and so on.
    #[serde(default = "post")]
    #[schemars(regex(pattern = "^[A-Z]+$"))]
    pub method: String,
    /// Where to.
    #[schemars(length(min = 1))]
    pub url: String,
    /// Headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Names of secrets by the names of the headers that hold them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    /// Sent as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
}

fn post() -> String {
    "POST".to_owned()
}

/// A unary method. The run, the attempt and its token are in the metadata.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grpc {
    /// `http://ingest:8080`, or https.
    #[schemars(length(min = 1))]
    pub endpoint: String,
    /// `package.Service/Method`, found by server reflection.
    #[schemars(regex(pattern = "^[A-Za-z_][A-Za-z0-9_.]*/[A-Za-z_][A-Za-z0-9_]*$"))]
    pub method: String,
    /// The message, as JSON has it.
    #[serde(default)]
    pub request: Value,
    /// More metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Names of secrets by the names of the metadata that hold them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
}

/// Something that a service does which implements `millrace.scheduler.v1.TaskService`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Service {
    /// `http://worker:8080`, or https.
    #[schemars(length(min = 1))]
    pub endpoint: String,
    /// What kind of task it is, where the service knows several.
    #[serde(default)]
    pub kind: String,
    /// What the service needs to know.
    #[serde(default)]
    pub spec: Value,
}

/// A Kubernetes Job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Job {
    /// The image, or the name that a binding gives it.
    #[schemars(length(min = 1))]
    pub image: String,
    /// In place of the image's entry point.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// The container's environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Names of Kubernetes secrets, as `name/key`, by the names of the environment variables that hold them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    /// The namespace; without one, the scheduler's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The service account of its pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// Requests and limits, as Kubernetes has them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<String, BTreeMap<String, String>>,
    /// All instances of a mapped task are one indexed Job.
    #[serde(default)]
    pub indexed: bool,
    /// It may be interrupted: that is a try again which does not count.
    #[serde(default)]
    pub spot: bool,
}

/// Waits for something to be there: exactly one of the fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wait {
    /// An object of S3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<WaitObject>,
    /// A message of SQS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<WaitMessage>,
    /// A topic that is complete up to a moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<WaitTopic>,
    /// A run of another DAG.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<WaitRun>,
}

/// An object of S3.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WaitObject {
    /// `s3://bucket/key`; `s3://bucket/folder/`: anything below it; `s3://bucket/folder/part-*.avro`: anything like it, with
    /// `*` and `?` in the last part.
    #[schemars(regex(pattern = "^s3://"))]
    pub uri: String,
    /// Bytes that it has at least.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub min_size: u64,
    /// It was written at this moment or later: what an earlier run has left is not it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde wants it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A message of SQS: one for this task, which then is its output and no longer in the queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WaitMessage {
    /// The queue's URL.
    #[schemars(length(min = 1))]
    pub queue: String,
}

/// A topic of Kafka: every partition has a record whose timestamp is not before a moment, so that what came before is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WaitTopic {
    /// The topic.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The moment; without one, the end of the data interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// So long after the moment, a partition that has no such record is complete as well: nothing is written to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Span>,
}

/// A run of another DAG that has succeeded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WaitRun {
    /// The DAG.
    #[schemars(length(min = 1))]
    pub dag: String,
    /// The binding, where the DAG has some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<String>,
    /// Its logical date; without one, that of this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logical_date: Option<String>,
}
