use std::time::{Duration, Instant};

use backon::{BackoffBuilder as _, ExponentialBuilder, Retryable as _};
use bytes::Bytes;
use millrace_proto::scheduler::v1::{
    CancelRequest, StartRequest, WatchRequest, WatchResponse, task_service_client::TaskServiceClient,
    task_service_server::SERVICE_NAME, watch_response::State,
};
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status, transport::Channel};

use super::{
    Attempt, Begin, Channels, End, Ended, Failure, MAX_LOG, calls,
    rpc::{self, Lane, Raw},
    values,
};
use crate::document;

/// How long things are tried, and how often.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// The first pause between two tries, and the longest.
    pauses: (Duration, Duration),
    /// How long a service may be away that is to begin an attempt.
    start: Duration,
    /// How long one may be away that may have begun it: to give up is to have it done a second time.
    patience: Duration,
    /// A stream that has been open for so long shows that the service is there, though it says nothing.
    steady: Duration,
    /// How long an attempt may take to end that was told to.
    grace: Duration,
}

const PACE: Pace = Pace {
    pauses: (Duration::from_millis(200), Duration::from_secs(10)),
    start: Duration::from_secs(10),
    patience: Duration::from_mins(10),
    steady: Duration::from_secs(10),
    grace: Duration::from_secs(30),
};

/// Has services do it that implement `millrace.scheduler.v1.TaskService`.
///
/// ```text
/// Start (again, under the same name, where its answer was lost) -> Watch until it has ended --> Ended
///                                                                    |  a stream that breaks is opened again
///                                                        cancelled --+--> Cancel -> Watch, for so long
/// ```
///
/// What another process began is adopted by starting it again under its name, which leaves it as it is. What the attempt
/// says while it runs is its log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Service {
    channels: Channels,
    pace: Pace,
}

impl Service {
    /// With connections that are shared.
    pub fn new(channels: Channels) -> Self {
        Self { channels, pace: PACE }
    }

    /// Starts the attempt, or finds it again, and waits for its end.
    pub async fn run(
        &self,
        attempt: &Attempt,
        spec: &document::Service,
        begin: Begin,
        cancel: &CancellationToken,
    ) -> Ended {
        let remote = match self.remote(attempt, spec) {
            Ok(remote) => remote,
            Err(problem) => return Ended::hopeless(problem),
        };
        let mut log = Log::default();
        let overdue = async {
            cancel.cancelled().await;
            tokio::time::sleep(self.pace.grace).await;
        };
        let end = tokio::select! {
            end = remote.carry_out(begin, cancel, &mut log) => end,
            () = overdue => {
                let (attempt, endpoint) = (&attempt.name, &spec.endpoint);
                tracing::warn!(attempt, endpoint, "told to end, and nobody says that it has: given up");
                End::Cancelled
            }
        };
        Ended { end, log: log.0 }
    }

    fn remote(&self, attempt: &Attempt, spec: &document::Service) -> Result<Remote, String> {
        let Attempt { name, token, dag, run, task, item, number, launched_at: _, place: _ } = attempt.clone();
        let document::Service { endpoint, kind, spec } = spec;
        let spec = values::to_proto(spec).map_err(|misfit| format!("spec: {misfit}"))?;
        let calls = self.channels.get(endpoint, Lane::Calls)?;
        let watches = self.channels.get(endpoint, Lane::watch(&name))?;
        let request =
            StartRequest { name, token, kind: kind.clone(), spec: Some(spec), dag, run, task, item, attempt: number };
        Ok(Remote {
            endpoint: endpoint.clone(),
            request,
            calls: TaskServiceClient::new(calls),
            watches,
            pace: self.pace,
        })
    }
}

/// An attempt, as a service has it.
struct Remote {
    endpoint: String,
    request: StartRequest,
    calls: TaskServiceClient<Channel>,
    watches: Channel,
    pace: Pace,
}

impl Remote {
    async fn carry_out(&self, begin: Begin, cancel: &CancellationToken, log: &mut Log) -> End {
        if cancel.is_cancelled() && begin == Begin::New {
            return End::Cancelled;
        }
        if !cancel.is_cancelled() {
            // Not dropped when it is cancelled: what arrives after the word to end would never end.
            match self.start(begin, cancel).await {
                Err(status) if !cancel.is_cancelled() => return self.failed("Start", &status),
                Ok(()) | Err(_) => {}
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                end = self.watch(log) => return unasked(end),
            }
        }
        self.cancel().await;
        match self.watch(log).await {
            // It was done before the word came.
            End::Succeeded(output) => End::Succeeded(output),
            End::Failed(_) | End::Interrupted(_) | End::Cancelled => End::Cancelled,
        }
    }

    async fn start(&self, begin: Begin, cancel: &CancellationToken) -> Result<(), Status> {
        let patience = match begin {
            Begin::New => self.pace.start,
            Begin::Again => self.pace.patience,
        };
        let start = || async { self.calls.clone().start(self.request.clone()).await.map(drop) };
        start
            .retry(self.pauses().with_total_delay(Some(patience)))
            .when(|status| may_have_arrived(status) && !cancel.is_cancelled())
            .notify(|status, _| self.note("Start", status))
            .await
    }

    /// Tells it to end. Where that does not get through, nothing is lost but time.
    async fn cancel(&self) {
        let cancel = || async {
            let request = CancelRequest { name: self.request.name.clone(), token: self.request.token };
            self.calls.clone().cancel(request).await.map(drop)
        };
        let told =
            cancel.retry(self.pauses()).when(may_have_arrived).notify(|status, _| self.note("Cancel", status)).await;
        match told {
            Err(status) if status.code() != Code::NotFound => {
                let (attempt, endpoint) = (&self.request.name, &self.endpoint);
                tracing::warn!(attempt, endpoint, error = %rpc::told(&status), "cannot tell an attempt to end");
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// Waits for its end.
    async fn watch(&self, log: &mut Log) -> End {
        let mut pauses = self.pauses().build();
        let mut heard = Instant::now();
        loop {
            let opened = Instant::now();
            let status = match self.follow(log, &mut heard).await {
                Ok(end) => return end,
                Err(status) => status,
            };
            if status.code() == Code::NotFound {
                let Self { endpoint, request, .. } = self;
                return End::Interrupted(format!("{endpoint} does not know `{}`: it is lost", request.name));
            }
            if opened.elapsed() >= self.pace.steady {
                (pauses, heard) = (self.pauses().build(), Instant::now());
            }
            if rpc::is_permanent(status.code()) || heard.elapsed() >= self.pace.patience {
                return self.failed("Watch", &status);
            }
            self.note("Watch", &status);
            tokio::time::sleep(pauses.next().unwrap_or(self.pace.pauses.1)).await;
        }
    }

    /// Follows one stream, to the attempt's end or to the stream's.
    async fn follow(&self, log: &mut Log, heard: &mut Instant) -> Result<End, Status> {
        let request = WatchRequest { name: self.request.name.clone(), token: self.request.token };
        let request = Request::new(Bytes::from(request.encode_to_vec()));
        let mut grpc = rpc::ready(self.watches.clone()).await?;
        let mut states = grpc.server_streaming(request, rpc::path(SERVICE_NAME, "Watch")?, Raw).await?.into_inner();
        while let Some(bytes) = states.message().await? {
            *heard = Instant::now();
            let response = match WatchResponse::decode(bytes) {
                Ok(response) => response,
                Err(error) => return Ok(hopeless(format!("{} says what cannot be read: {error}", self.endpoint))),
            };
            if let Some(end) = response.state.and_then(|state| end(state, log)) {
                return Ok(end);
            }
        }
        Err(Status::unavailable("the stream ended before the attempt did"))
    }

    fn failed(&self, method: &str, status: &Status) -> End {
        rpc::failed(&format!("`{SERVICE_NAME}/{method}` of {}", self.endpoint), status).end
    }

    fn note(&self, method: &str, status: &Status) {
        let (attempt, endpoint) = (&self.request.name, &self.endpoint);
        tracing::debug!(attempt, endpoint, method, error = %rpc::told(status), "call failed, trying again");
    }

    fn pauses(&self) -> ExponentialBuilder {
        let (first, longest) = self.pace.pauses;
        ExponentialBuilder::new().with_min_delay(first).with_max_delay(longest).with_jitter().without_max_times()
    }
}

/// Whether nobody knows what became of a call: it may be made again, as every call here may be made twice.
fn may_have_arrived(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Unknown | Code::DeadlineExceeded | Code::Cancelled)
}

/// The end that a service tells of, if it is one.
fn end(state: State, log: &mut Log) -> Option<End> {
    match state {
        State::Running(running) => {
            log.add(&running.message);
            None
        }
        State::Succeeded(succeeded) => Some(match succeeded.output.map(values::to_json).transpose() {
            Ok(output) => Ended::succeeded(output).end,
            Err(misfit) => hopeless(format!("output: {misfit}")),
        }),
        State::Failed(failed) => Some(End::Failed(Failure {
            message: calls::short(failed.message),
            code: calls::short(failed.code),
            exit_code: None,
            permanent: failed.permanent,
        })),
        State::Interrupted(interrupted) => Some(End::Interrupted(calls::short(interrupted.message))),
        State::Cancelled(_) => Some(End::Cancelled),
    }
}

/// The end of an attempt that nobody here has told to end.
fn unasked(end: End) -> End {
    match end {
        End::Cancelled => rpc::failure("the service has cancelled it".to_owned(), Code::Cancelled).end,
        end => end,
    }
}

fn hopeless(message: String) -> End {
    Ended::hopeless(message).end
}

/// What an attempt says while it runs, a line each; the end of it.
#[derive(Debug, Default)]
struct Log(String);

impl Log {
    /// A service says its state again when its stream is opened again: what was said last is not added.
    fn add(&mut self, line: &str) {
        let before = self.0.strip_suffix('\n').and_then(|said| said.strip_suffix(line));
        let again = before.is_some_and(|before| before.is_empty() || before.ends_with('\n'));
        if line.is_empty() || again {
            return;
        }
        self.0.push_str(line);
        self.0.push('\n');
        if self.0.len() > MAX_LOG {
            let cut = self.0.ceil_char_boundary(self.0.len() - MAX_LOG);
            self.0.drain(..cut);
        }
    }
}

#[cfg(test)]
mod tests;
