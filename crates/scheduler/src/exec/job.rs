//! Kubernetes Jobs: each is made once under the name of its attempt, and found again by that name.
//!
//! ```text
//! make (the one that is there, is it) -> wait, by one watch for all --finished--> pods: output, exit code, log --> Ended
//!                                          |  cancelled, or it can never run: its time is over (`Jobs::stop`)
//!                                          +--> wait until its pods have ended
//! ```
//!
//! # Why a Job does not run twice
//!
//! - Its name is of its attempt and of nothing else; whoever makes it a second time is told that it is there (409), and
//!   looks by its annotations whether it is the same. Kubernetes does not replace its pod (`job::manifest`).
//! - Nothing here ever deletes a Job. One that is to end has its time be over, and stays under its name until it was kept
//!   for as long as Jobs are. A scheduler that takes over, and one that was slow and comes late, find it.
//! - Thus where there is none of the name, an attempt that was launched a shorter while ago than Jobs are kept was not
//!   begun, and can be. One that is older may have ended, and been removed, while no scheduler was there: it is an
//!   interruption, and what follows has another name.
//!
//! A request that is on its way for longer than a lease may still make a Job that was given up. Its token is older than that
//! of the attempt that followed.

mod look;
mod result;
mod spec;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use jiff::Timestamp;
use millrace_core::Code;
use millrace_kubernetes::{Cluster, Error, Finish, Following, Job, Jobs as Client, Pod, Problem, Seen, State};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Attempt, Begin, End, Ended, Failure, MAX_LOG};
use crate::document;
use result::Left;
pub(crate) use spec::{OURS, secret_key};

/// Says on a Job why it was ended.
const STOPPED_FOR: &str = "millrace.dev/stopped-for";

/// What is said of a Job that has no pods at all, as Kubernetes' own events have it.
const NO_PODS: &str = "FailedCreate";

const NO_CLUSTER: &str =
    "this scheduler has no Kubernetes cluster: give it --kubeconfig (MILLRACE_KUBECONFIG), as the others have";

/// How long things are waited for.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// The first pause between two tries, and the longest.
    pauses: (Duration, Duration),
    /// How often a Job is looked at of which nothing is heard.
    look: Duration,
    /// How long a pod may lack its image.
    image: Duration,
    /// How long it may lack what it is to be given: a secret, a right.
    parts: Duration,
    /// How long it may lack a node.
    node: Duration,
    /// How long the log of what is cancelled may take.
    log: Duration,
}

const PACE: Pace = Pace {
    pauses: (Duration::from_millis(200), Duration::from_secs(10)),
    look: Duration::from_mins(1),
    image: Duration::from_mins(1),
    parts: Duration::from_mins(1),
    node: Duration::from_mins(15),
    log: Duration::from_secs(5),
};

/// A Job that is to run, everything in it rendered.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// As the document has it.
    pub spec: document::Job,
    /// How long it may run.
    pub limit: Option<Duration>,
    /// Its items, where it is one Job for all of them.
    pub shards: Option<Items>,
}

/// The items of a Job with shards.
#[derive(Clone, Debug, PartialEq)]
pub struct Items {
    /// Each.
    pub values: Vec<serde_json::Value>,
    /// How many at once.
    pub parallel: Option<u32>,
    /// How often each is tried again.
    pub retries: u32,
}

/// Runs Jobs in a cluster; by default there is none. Cheap to clone.
#[derive(Clone, Default)]
pub struct Jobs(Option<Arc<Inner>>);

struct Inner {
    cluster: Cluster,
    client: Client,
    keep: Duration,
}

impl Jobs {
    /// In a cluster, if there is one. `keep` is how long Jobs are kept that have ended: longer than schedulers may all be
    /// down.
    pub fn new(cluster: Option<Cluster>, keep: Duration) -> Self {
        Self(cluster.map(|cluster| Arc::new(Inner { client: cluster.jobs(), cluster, keep })))
    }

    /// Whether there is a cluster.
    pub fn are_there(&self) -> bool {
        self.0.is_some()
    }

    /// Makes the Job of an attempt, or adopts it, and waits for its end. Dropping the future lets it run on.
    pub async fn run(&self, attempt: &Attempt, wanted: &Wanted, begin: Begin, cancel: &CancellationToken) -> Ended {
        let Some(inner) = &self.0 else { return nowhere(cancel).await };
        let job = match spec::job(attempt, wanted, inner.cluster.namespace(), inner.keep) {
            Ok(job) => job,
            Err(problem) => return Ended::hopeless(problem),
        };
        let following = inner.client.follow(&job.key);
        let (client, keep) = (&inner.client, inner.keep);
        let mut one = One { client, keep, attempt, job: &job, following, cancel, pace: PACE };
        one.carry_out(begin).await
    }

    /// What keeps the pods of an attempt's Job from running, by a look of now. Nothing: they run, or have.
    pub(super) async fn unmet(&self, attempt: &Attempt, wanted: &Wanted) -> Vec<String> {
        let Some(inner) = &self.0 else { return vec![NO_CLUSTER.to_owned()] };
        let job = match spec::job(attempt, wanted, inner.cluster.namespace(), inner.keep) {
            Ok(job) => job,
            Err(problem) => return vec![problem],
        };
        let looked = look::unmet(&inner.client, &job).await;
        looked.unwrap_or_else(|error| vec![format!("cannot look at Job {}: {error}", job.key.name)])
    }
}

/// Another replica may have what this one lacks. Not at once: this one may be the next to be asked.
async fn nowhere(cancel: &CancellationToken) -> Ended {
    tokio::select! {
        () = sleep(Duration::from_secs(10)) => {}
        () = cancel.cancelled() => return Ended::new(End::Cancelled),
    }
    Ended::new(End::Interrupted(NO_CLUSTER.to_owned()))
}

/// One attempt.
struct One<'a> {
    client: &'a Client,
    keep: Duration,
    attempt: &'a Attempt,
    job: &'a Job,
    following: Following,
    cancel: &'a CancellationToken,
    pace: Pace,
}

/// What becomes of the beginning.
enum Begun {
    There(State),
    Ended(End),
}

impl One<'_> {
    async fn carry_out(&mut self, begin: Begin) -> Ended {
        let state = match self.begin(begin).await {
            Begun::There(state) => state,
            Begun::Ended(end) => return Ended::new(end),
        };
        if state.finish.is_none()
            && !self.cancel.is_cancelled()
            && let Err(error) = self.give_items(&state).await
        {
            self.stop(Some(&error)).await;
            return Ended::new(End::Failed(error));
        }
        self.wait(state).await
    }

    /// Makes the Job, or finds it.
    async fn begin(&self, begin: Begin) -> Begun {
        match begin {
            Begin::New if self.cancel.is_cancelled() => return Begun::Ended(End::Cancelled),
            Begin::New => {}
            Begin::Again => match self.look().await {
                Err(error) => return Begun::Ended(refused(&error)),
                Ok(Some(state)) => return Begun::There(state),
                Ok(None) if self.cancel.is_cancelled() => return Begun::Ended(End::Cancelled),
                Ok(None) if self.may_be_forgotten() => {
                    let why =
                        format!("Job {} is not there any more, and nobody has heard how it ended", self.job.key.name);
                    return Begun::Ended(End::Interrupted(why));
                }
                Ok(None) => {}
            },
        }
        self.make().await
    }

    async fn make(&self) -> Begun {
        let (mut pauses, mut tried) = (self.pauses(), false);
        loop {
            // Not dropped when it is cancelled: what arrives after the word to end would never end.
            let error = match self.client.create(self.job).await {
                Ok(state) => return Begun::There(state),
                Err(error) => error,
            };
            let refused = !error.is_retriable();
            if refused && !tried {
                return Begun::Ended(self::refused(&error));
            }
            if !refused {
                self.note("make a job", &error);
                tokio::select! {
                    () = sleep(pauses.next().unwrap_or(self.pace.pauses.1)) => {}
                    () = self.cancel.cancelled() => {}
                }
            }
            // One of those that were not answered may have got through.
            tried = true;
            if !refused && self.cancel.is_cancelled() {
                self.stop(None).await;
            } else if !refused {
                continue;
            }
            return match self.look().await {
                Ok(Some(state)) => Begun::There(state),
                Ok(None) | Err(_) if refused => Begun::Ended(self::refused(&error)),
                Ok(None) | Err(_) => Begun::Ended(End::Cancelled),
            };
        }
    }

    /// The Job as it is now. Nothing else than an answer will do: what is taken for gone is launched again. An error if it is
    /// of something else.
    async fn look(&self) -> Result<Option<State>, Error> {
        let mut pauses = self.pauses();
        loop {
            match self.client.get(self.job).await {
                Err(error) if !matches!(error, Error::Foreign { .. }) => self.note("look for a job", &error),
                other => return other,
            }
            sleep(pauses.next().unwrap_or(self.pace.pauses.1)).await;
        }
    }

    /// Whether its Job may have ended and been removed, while nobody was there to see it.
    fn may_be_forgotten(&self) -> bool {
        let age = Timestamp::now().duration_since(self.attempt.launched_at).unsigned_abs();
        // Half of it is for clocks.
        age > self.keep / 2
    }

    async fn give_items(&self, state: &State) -> Result<(), Failure> {
        let given = self.insist("give a job its items", || self.client.give_items(self.job, &state.uid)).await;
        given.map_err(|error| failure(&error))
    }

    /// Waits for the end of the Job and of its pods.
    async fn wait(&mut self, mut state: State) -> Ended {
        let (mut told, mut stopped, mut log) = (false, None, String::new());
        let begun = Instant::now();
        let (mut look, mut again) = (begun + self.pace.look, begun);
        loop {
            if state.finish.is_some() {
                // Whoever was told before may have ended it.
                let told = told || self.cancel.is_cancelled();
                return self.ended(&state, told, stopped, log).await;
            }
            if self.cancel.is_cancelled() && !told {
                told = true;
                log = tokio::time::timeout(self.pace.log, self.log_now()).await.unwrap_or_default();
                self.stop(None).await;
            }
            let due = match self.hopeless(&self.following.seen(), &state, begun) {
                _ if told || stopped.is_some() => look,
                Ok(next) => next.map_or(look, |next| next.min(look)),
                // What was seen last may be long ago, and a Job that runs is not to be ended for it.
                Err(_) if Instant::now() < again => again,
                Err(problem) if !self.is_still(&problem).await => {
                    again = Instant::now() + self.pace.look;
                    continue;
                }
                Err(problem) => {
                    let why = self.explained(problem).await;
                    log = tokio::time::timeout(self.pace.log, self.log_now()).await.unwrap_or_default();
                    self.stop(Some(&why)).await;
                    stopped = Some(why);
                    look
                }
            };
            tokio::select! {
                () = self.following.changed() => {}
                () = sleep_until(due) => {}
                () = self.cancel.cancelled(), if !told => continue,
            }
            let seen = self.following.seen();
            if seen.missed || Instant::now() >= look {
                look = Instant::now() + self.pace.look;
                match self.look().await {
                    Ok(Some(now)) => state = now,
                    Ok(None) | Err(_) => return self.gone(told, stopped, log),
                }
                if told {
                    let job = &self.job.key.name;
                    tracing::warn!(
                        job,
                        "told to end, and its pods have not: where their node is gone, delete them by force"
                    );
                }
            } else if let Some(now) = seen.job {
                state = now;
            }
        }
    }

    /// The end of a Job that somebody has deleted.
    fn gone(&self, told: bool, stopped: Option<Failure>, log: String) -> Ended {
        let end = match stopped {
            _ if told => End::Cancelled,
            Some(failure) => End::Failed(failure),
            None => End::Interrupted(format!("somebody has deleted Job {}", self.job.key.name)),
        };
        Ended { end, log }
    }

    /// How long a problem may last.
    fn patience(&self, reason: &str) -> Option<Duration> {
        match reason {
            "InvalidImageName" | "ErrImageNeverPull" => Some(Duration::ZERO),
            "ErrImagePull" | "ImagePullBackOff" | "ImageInspectError" | "RegistryUnavailable" => Some(self.pace.image),
            "CreateContainerConfigError" | "CreateContainerError" | NO_PODS => Some(self.pace.parts),
            "Unschedulable" => Some(self.pace.node),
            _ => None,
        }
    }

    /// The problem for which a Job is given up, or when that will be.
    fn hopeless(&self, seen: &Seen, state: &State, begun: Instant) -> Result<Option<Instant>, Problem> {
        let none = Problem { reason: NO_PODS.to_owned(), message: String::new() };
        let none = (state.pods == 0).then_some((none, begun));
        let all = seen.problems.values().cloned().chain(none);
        let first = all.filter_map(|(problem, since)| Some((since + self.patience(&problem.reason)?, problem)));
        match first.min_by_key(|(until, _)| *until) {
            Some((until, problem)) if until <= Instant::now() => Err(problem),
            Some((until, _)) => Ok(Some(until)),
            None => Ok(None),
        }
    }

    /// Whether a problem is one now.
    async fn is_still(&self, problem: &Problem) -> bool {
        let (mut any, mut stuck, mut goes_on) = (false, false, false);
        let listed = self.client.pods(&self.job.key, |pod| {
            any = true;
            let is_stuck = pod.problem.as_ref().is_some_and(|it| self.patience(&it.reason).is_some());
            stuck |= is_stuck;
            // Shards wait for each other's room: while one goes on, the Job does.
            goes_on |= self.job.shards.is_some() && !is_stuck && pod.succeeded.is_none();
            !goes_on
        });
        let listed = listed.await.is_ok() && !goes_on;
        listed && if problem.reason == NO_PODS { !any && self.cannot_have_pods().await } else { stuck }
    }

    /// Only a warning tells that there can be no pods: Kubernetes may be late, and quotas are given back.
    async fn cannot_have_pods(&self) -> bool {
        matches!(self.client.last_warning(&self.job.key).await, Ok(Some(why)) if !why.contains("exceeded quota"))
    }

    /// A problem, for a person. Of pods that cannot be made only Kubernetes' events tell.
    async fn explained(&self, mut problem: Problem) -> Failure {
        if problem.reason == NO_PODS {
            let told = self.client.last_warning(&self.job.key).await;
            problem.message = told.unwrap_or_else(|error| Some(error.to_string())).unwrap_or_default();
        }
        result::never_ran(&problem)
    }

    /// Ends its pods. Where that does not get through, there is nothing to do but to try again.
    async fn stop(&self, why: Option<&Failure>) {
        let why = why.map(result::noted);
        let said: Vec<(&str, &str)> = why.iter().map(|why| (STOPPED_FOR, why.as_str())).collect();
        let mut pauses = self.pauses();
        while let Err(error) = self.client.stop(&self.job.key, &said).await {
            self.note("end a job", &error);
            sleep(pauses.next().unwrap_or(self.pace.pauses.1)).await;
        }
    }

    /// What is told of a Job that has ended.
    async fn ended(&self, state: &State, told: bool, stopped: Option<Failure>, log: String) -> Ended {
        if told && state.finish != Some(Finish::Complete) {
            return Ended { end: End::Cancelled, log };
        }
        let noted = || state.annotations.get(STOPPED_FOR).and_then(|note| result::read_note(note));
        if let Some(failure) = stopped.or_else(noted).filter(|_| state.finish != Some(Finish::Complete)) {
            return Ended { end: End::Failed(failure), log };
        }
        let left = match self.insist("read the pods of a job", || self.left()).await {
            Ok(left) => left,
            Err(error) => return Ended { end: End::Failed(failure(&error)), log },
        };
        let left = left.or_last(self.following.seen().last);
        let log = self.logs(left.telling()).await;
        Ended { end: result::end(state, &left), log }
    }

    async fn left(&self) -> Result<Left, Error> {
        let mut left = Left::new(self.job.shards.as_ref().map(|shards| shards.items.len()));
        self.client.pods(&self.job.key, |pod| left.add(pod)).await?;
        Ok(left)
    }

    /// The log of what still runs.
    async fn log_now(&self) -> String {
        let mut pods = Vec::new();
        let listed = self.client.pods(&self.job.key, |pod| {
            pods.push(pod);
            pods.len() < result::TELLING
        });
        match listed.await {
            Ok(()) => self.logs(&pods).await,
            Err(_) => String::new(),
        }
    }

    /// The ends of the logs of pods, with what they are of where there are several.
    async fn logs(&self, pods: &[Pod]) -> String {
        let each = MAX_LOG / pods.len().max(1) - 64 * usize::from(pods.len() > 1);
        let mut logs = BTreeMap::new();
        for pod in pods {
            match self.client.tail(&self.job.key, &pod.name, each).await {
                Ok(log) => drop(logs.insert((pod.shard, &pod.name), log)),
                Err(error) => tracing::debug!(%error, pod = pod.name, "cannot read a log"),
            }
        }
        match (self.job.shards.is_some(), logs.len()) {
            (false, 0 | 1) => logs.into_values().next().unwrap_or_default(),
            _ => logs.iter().map(|((shard, pod), log)| result::headed(*shard, pod, log)).collect(),
        }
    }

    /// Does something again until Kubernetes has answered.
    async fn insist<T, F: Future<Output = Result<T, Error>>>(
        &self,
        what: &'static str,
        mut work: impl FnMut() -> F,
    ) -> Result<T, Error> {
        let (mut pauses, until) = (self.pauses(), Instant::now() + self.pace.parts);
        loop {
            match work().await {
                Err(error) if error.is_retriable() || (may_pass(&error) && Instant::now() < until) => {
                    self.note(what, &error);
                }
                other => return other,
            }
            sleep(pauses.next().unwrap_or(self.pace.pauses.1)).await;
        }
    }

    fn pauses(&self) -> impl Iterator<Item = Duration> + use<> {
        let (first, longest) = self.pace.pauses;
        ExponentialBuilder::new()
            .with_min_delay(first)
            .with_max_delay(longest)
            .with_jitter()
            .without_max_times()
            .build()
    }

    fn note(&self, what: &str, error: &Error) {
        let (attempt, job) = (&self.attempt.name, &self.job.key.name);
        tracing::warn!(attempt, job, what, %error, "kubernetes does not do it, trying again");
    }
}

/// Rights and credentials come back, at times.
fn may_pass(error: &Error) -> bool {
    matches!(error.code(), Code::PermissionDenied | Code::Unauthenticated)
}

/// What Kubernetes does not want.
fn refused(error: &Error) -> End {
    End::Failed(failure(error))
}

fn failure(error: &Error) -> Failure {
    use millrace_core::Code::{InvalidRequest, TooLarge};
    Failure {
        message: error.to_string(),
        code: error.reason().to_owned(),
        exit_code: None,
        permanent: matches!(error.code(), InvalidRequest | TooLarge),
    }
}
