//! What attempts do, and how they are found again.
//!
//! ```text
//! Attempt + rendered spec --run(Begin::New)---> side effect under the attempt's name --> Ended
//!                         --run(Begin::Again)-> the side effect of that name is looked for and adopted: never a second
//!                                               one. Where it is known to be gone, the attempt was interrupted.
//! ```
//!
//! An executor does not know of runs or of the database: it gets an attempt and a spec in which everything is rendered, and
//! says how it ended. It may be asked again after its own process was killed. To be told to end, it has a
//! [`CancellationToken`]; it answers with [`End::Cancelled`] when what it began has ended.

mod calls;
mod grpc;
mod http;
mod job;
mod process;
mod rpc;
mod secrets;
mod service;
#[cfg(test)]
mod testing;
mod values;
mod wait;

pub use grpc::{Checked, Grpc};
pub use http::Http;
pub use job::{Items, Jobs, Wanted};
pub(crate) use job::{OURS, secret_key};
pub use process::{Processes, shim};
pub use rpc::Channels;
pub use secrets::Secrets;
pub use service::Service;
pub use wait::{NO_KAFKA, Want};

use std::{fmt::Display, time::Duration};

use jiff::{SignedDuration, Timestamp};
use millrace_runtime::ConfigError;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use self::wait::Waits;
use crate::{engine::Work, store::Store};

/// The largest output that is kept with its task, as JSON: 1 MiB.
pub const MAX_OUTPUT: usize = 1 << 20;
/// How much of the end of a log is kept with its attempt: 64 KiB.
pub const MAX_LOG: usize = 64 << 10;

/// An attempt, as those know it who carry it out.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// `<dag>-r<run>-t<task>[-i<item>]-n<attempt>-<token>`: one for each attempt for ever, the same whoever looks after it. Lower-case
    /// letters, digits and dashes.
    pub name: String,
    /// Its fencing token: greater for a later attempt of the same task.
    pub token: i64,
    /// Where it was launched: what was begun there is found there.
    pub place: String,
    /// The DAG's name.
    pub dag: String,
    /// The run's number.
    pub run: i64,
    /// The task's name.
    pub task: String,
    /// The item of a mapped task, from 0.
    pub item: Option<u32>,
    /// From 1.
    pub number: u32,
    /// When it was launched, as the database had it.
    pub launched_at: Timestamp,
}

impl Attempt {
    /// How long ago it was launched; nothing where clocks do not agree.
    pub fn age(&self) -> Duration {
        Timestamp::now().duration_since(self.launched_at).max(SignedDuration::ZERO).unsigned_abs()
    }
}

/// Whether an attempt begins, or may have begun under another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Nobody has begun it.
    New,
    /// Somebody was to begin it: what there is of its name is adopted.
    Again,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// How.
    pub end: End,
    /// The end of its log, at most [`MAX_LOG`] bytes; empty where it has none.
    pub log: String,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// It has done its work, and this came of it; at most [`MAX_OUTPUT`].
    Succeeded(Option<Value>),
    /// It has failed.
    Failed(Failure),
    /// It was ended by something that is not its fault, for a person to read. It is tried again, and that does not count.
    Interrupted(String),
    /// It was told to end, and has.
    Cancelled,
}

/// Why an attempt failed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Failure {
    /// For a person: what, where, what to do.
    pub message: String,
    /// For retry predicates: `404`, `UNAVAILABLE`, what a service says.
    pub code: String,
    /// Of a process.
    pub exit_code: Option<i32>,
    /// Trying again is of no use.
    pub permanent: bool,
}

impl Ended {
    /// Without a log.
    pub fn new(end: End) -> Self {
        Self { end, log: String::new() }
    }

    /// A failure that trying again may mend.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(End::Failed(Failure { message: message.into(), ..Failure::default() }))
    }

    /// A failure that trying again does not mend.
    pub fn hopeless(message: impl Into<String>) -> Self {
        Self::new(End::Failed(Failure { message: message.into(), permanent: true, ..Failure::default() }))
    }

    /// Success, unless the output is over the limit.
    pub fn succeeded(output: Option<Value>) -> Self {
        let size = output.as_ref().map_or(0, |output| output.to_string().len());
        if size > MAX_OUTPUT {
            return Self::hopeless(over(size));
        }
        Self::new(End::Succeeded(output))
    }
}

/// What is said of an output that is over the limit.
pub fn over(size: impl Display) -> String {
    format!(
        "output of {size} bytes; at most {MAX_OUTPUT} (1 MiB) are kept with a task: put it into object storage and give its address"
    )
}

/// How long somebody who asks what an attempt waits for waits himself.
const LOOK: Duration = Duration::from_secs(3);

/// Everything that can be done.
#[derive(Clone)]
pub struct Executors {
    processes: Processes,
    http: Http,
    grpc: Grpc,
    service: Service,
    jobs: Jobs,
    waits: Waits,
}

impl Executors {
    /// With the commands that run here, the secrets of calls, and the runs that others wait for. What AWS has is where the
    /// environment says; no Kafka and no cluster are known.
    pub fn new(processes: Processes, secrets: &Secrets, store: Store) -> Result<Self, ConfigError> {
        let channels = Channels::new();
        Ok(Self {
            processes,
            http: Http::new(secrets.clone())?,
            grpc: Grpc::new(channels.clone(), secrets.clone()),
            service: Service::new(channels),
            jobs: Jobs::default(),
            waits: Waits::new(store, &millrace_aws::Args::default().client()),
        })
    }

    /// Waits for what that client reaches.
    #[must_use]
    pub fn with_aws(self, client: &millrace_aws::Client) -> Self {
        Self { waits: self.waits.with_aws(client), ..self }
    }

    /// Runs Jobs.
    #[must_use]
    pub fn with_jobs(self, jobs: Jobs) -> Self {
        Self { jobs, ..self }
    }

    /// Waits for topics.
    #[must_use]
    pub fn with_kafka(self, admin: millrace_kafka::Admin) -> Self {
        Self { waits: self.waits.with_kafka(admin), ..self }
    }

    /// What an attempt still waits for, by a look of now, for people: a wait for what is not there, a Job for what its pods
    /// lack. Nothing where it goes on. `logical_at` is the moment that its run is about.
    pub async fn unmet(&self, attempt: &Attempt, work: &Work, logical_at: Option<Timestamp>) -> Vec<String> {
        let look = async {
            match work {
                Work::Wait(want) => vec![self.waits.unmet(want, logical_at).await],
                Work::Job(wanted) => self.jobs.unmet(attempt, wanted).await,
                Work::Noop | Work::Sleep(_) | Work::Process(_) | Work::Http(_) | Work::Grpc(_) | Work::Service(_) => {
                    Vec::new()
                }
            }
        };
        let late = || vec![format!("nobody has said within {} s what it waits for", LOOK.as_secs())];
        tokio::time::timeout(LOOK, look).await.unwrap_or_else(|_| late())
    }

    /// What calls methods, and knows which there are.
    pub fn grpc(&self) -> &Grpc {
        &self.grpc
    }

    /// Where what is begun here is found again.
    pub fn place(&self) -> &str {
        self.processes.place()
    }

    /// Carries an attempt out. `logical_at` is the moment that its run is about.
    pub async fn run(
        &self,
        attempt: &Attempt,
        work: &Work,
        logical_at: Option<Timestamp>,
        begin: Begin,
        cancel: &CancellationToken,
    ) -> Ended {
        match work {
            Work::Noop => Ended::succeeded(None),
            Work::Sleep(time) => sleep(attempt, *time, cancel).await,
            Work::Process(spec) => self.processes.run(attempt, spec, begin, cancel).await,
            Work::Wait(want) => self.waits.run(attempt, want, logical_at, begin, cancel).await,
            Work::Http(spec) => self.http.run(attempt, spec, begin, cancel).await,
            Work::Grpc(spec) => self.grpc.run(attempt, spec, begin, cancel).await,
            Work::Service(spec) => self.service.run(attempt, spec, begin, cancel).await,
            Work::Job(wanted) => self.jobs.run(attempt, wanted, begin, cancel).await,
        }
    }
}

/// Lets time pass; of an attempt that was begun by another process, what is left of it.
pub async fn sleep(attempt: &Attempt, time: std::time::Duration, cancel: &CancellationToken) -> Ended {
    tokio::select! {
        () = tokio::time::sleep(time.saturating_sub(attempt.age())) => Ended::succeeded(None),
        () = cancel.cancelled() => Ended::new(End::Cancelled),
    }
}
