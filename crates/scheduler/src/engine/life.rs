//! The time between two registrations of an engine.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use millrace_postgres::{Listener, listen::Event};
use millrace_runtime::Shutdown;
use tokio::{
    task::{Id, JoinError, JoinSet},
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{Engine, PAUSE, work};
use crate::{
    error::Result,
    exec::Begin,
    state::Class,
    store::{CANCEL, InstanceId, Launch, Outcome, READY, Report, RunId, RunInfo, Share},
};

/// Reports of one transaction, and tasks of one claim.
const BATCH: usize = 500;
/// Runs that are known at a time; of more, those that nothing is carried out of are read again.
const RUNS: usize = 10_000;
/// When what this version cannot read is tried again: another version may.
const LATER: Duration = Duration::from_mins(1);
/// Longer than a statement can go on in the database after its connection is gone.
const DOUBT: Duration = Duration::from_mins(1);
/// How often everything is looked at that no notification speaks of.
const SWEEP: Duration = Duration::from_secs(1);

pub(super) struct Life<'a> {
    engine: &'a Arc<Engine>,
    instance: InstanceId,
    listener: Listener,
    runs: HashMap<RunId, Arc<RunInfo>>,
    attempts: JoinSet<Report>,
    live: HashMap<i64, Live>,
    tokens: HashMap<Id, i64>,
    done: Vec<Report>,
    retries: BinaryHeap<Reverse<Instant>>,
    /// Something may be ready.
    hungry: bool,
    /// Something may have been left for want of room.
    starved: bool,
    /// Until then the database may do what it could not say: there may be attempts that this does not know of.
    doubt: Option<Instant>,
    sweep: Interval,
}

/// An attempt that is carried out.
struct Live {
    cancel: CancellationToken,
    /// Whether it takes room.
    counts: bool,
    background: bool,
    /// Whether somebody else can go on with it when this process ends.
    adoptable: bool,
    abort: tokio::task::AbortHandle,
}

/// Why a life ends.
enum Over {
    Shutdown,
    Lost,
}

impl<'a> Life<'a> {
    pub(super) async fn begin(engine: &'a Arc<Engine>) -> Result<Self> {
        let Engine { store, settings, executors, .. } = &**engine;
        store.look_for_pools().await?;
        let instance = store.register(&settings.name, executors.place(), settings.lease).await?;
        let listener = Listener::start(store.pool(), &[READY, CANCEL]);
        let mut life = Self {
            engine,
            instance,
            listener,
            runs: HashMap::new(),
            attempts: JoinSet::new(),
            live: HashMap::new(),
            tokens: HashMap::new(),
            done: Vec::new(),
            retries: BinaryHeap::new(),
            hungry: true,
            starved: false,
            doubt: None,
            sweep: sweep(),
        };
        tracing::info!(instance = instance.0, name = settings.name, "working");
        life.adopt(store.take_over(instance, Some(&settings.name)).await?).await?;
        Ok(life)
    }

    pub(super) async fn live(mut self, shutdown: &Shutdown) {
        let mut lease = AbortOnDropHandle::new(tokio::spawn(hold(Arc::clone(self.engine), self.instance)));
        let over = loop {
            match self.step(shutdown, &mut lease).await {
                Ok(None) => {}
                Ok(Some(over)) => break over,
                Err(error) => {
                    tracing::warn!(%error, "cannot work, trying again");
                    self.hungry = true;
                    self.doubt = Some(Instant::now() + DOUBT);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        match over {
            Over::Lost => {
                tracing::warn!(instance = self.instance.0, attempts = self.live.len(), "lease lost, beginning anew");
            }
            Over::Shutdown => self.drain().await,
        }
    }

    /// Reports and claims for as long as there is something to, then waits for what is next.
    async fn step(&mut self, shutdown: &Shutdown, lease: &mut AbortOnDropHandle<()>) -> Result<Option<Over>> {
        while self.hungry || !self.done.is_empty() {
            self.report(!shutdown.is_triggered()).await?;
            if shutdown.is_triggered() {
                return Ok(Some(Over::Shutdown));
            }
            if self.hungry {
                self.claim().await?;
            }
            self.collect();
            // Also while there is always something to do.
            tokio::select! {
                biased;
                _ = &mut *lease => return Ok(Some(Over::Lost)),
                _ = self.sweep.tick() => self.sweep().await?,
                event = self.listener.next() => self.heard(&event).await?,
                () = std::future::ready(()) => {}
            }
        }
        let due = self.retries.peek().map(|Reverse(due)| *due);
        tokio::select! {
            Some(ended) = self.attempts.join_next_with_id(), if !self.attempts.is_empty() => {
                self.ended(ended);
                self.collect();
            }
            event = self.listener.next() => self.heard(&event).await?,
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                self.retries.pop();
                self.hungry = true;
            }
            _ = self.sweep.tick() => self.sweep().await?,
            _ = &mut *lease => return Ok(Some(Over::Lost)),
            () = shutdown.wait() => return Ok(Some(Over::Shutdown)),
        }
        Ok(None)
    }

    /// Tells the store what became of attempts, as many as one transaction takes; with `claim`, that takes what follows at once.
    /// Where the store will not have them, one by one.
    async fn report(&mut self, claim: bool) -> Result<()> {
        let mut batch = self.done.len().min(BATCH);
        let room = self.room();
        let claim = (claim && room.most > 0).then_some((self.instance, room));
        while batch > 0 {
            match self.engine.store.finish_and_claim(&self.done[..batch], claim).await {
                Ok((finished, launches)) => {
                    self.engine.metrics.finished(batch, &finished);
                    self.done.drain(..batch);
                    for (run, _) in finished.ended {
                        self.runs.remove(&run);
                    }
                    let Some(launches) = launches else {
                        self.hungry |= finished.ready > 0 || finished.freed;
                        return Ok(());
                    };
                    // It has looked at all there was.
                    self.hungry = finished.freed;
                    return self.claimed(launches, room).await;
                }
                Err(error) if error.is_retriable() => return Err(error),
                Err(_) if batch > 1 => batch = 1,
                Err(error) => {
                    // The attempt stays as it is, and is looked at again when this life is over.
                    tracing::error!(%error, token = self.done[0].token, "report was refused by the database: given up");
                    self.done.remove(0);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// How much can be carried out beside what is.
    fn room(&self) -> Share {
        let settings = &self.engine.settings;
        let counted = self.live.values().filter(|live| live.counts);
        let (mut all, mut background) = (0, 0);
        for live in counted {
            all += 1;
            background += usize::from(live.background);
        }
        let most = settings.parallelism.saturating_sub(all).min(BATCH);
        Share { most, background: settings.background.saturating_sub(background) }
    }

    async fn claim(&mut self) -> Result<()> {
        self.hungry = false;
        let room = self.room();
        self.starved = room.most == 0 || room.background == 0;
        if room.most == 0 {
            return Ok(());
        }
        let launches = self.engine.store.claim(self.instance, room).await?;
        self.claimed(launches, room).await
    }

    async fn claimed(&mut self, launches: Vec<Launch>, room: Share) -> Result<()> {
        self.starved = room.background == 0;
        // Less than there was room for: that was all.
        self.hungry |= launches.len() == room.most;
        self.engine.metrics.launched(&launches);
        let runs: Vec<RunId> = launches.iter().map(|launch| launch.key.run).collect();
        self.start(launches, Begin::New).await?;
        // All that there was room for in the background: there may be more when some of it is done.
        let is_background = |run: &&RunId| self.runs.get(*run).is_some_and(|it| it.class == Class::Background);
        self.starved |= room.background > 0 && runs.iter().filter(is_background).count() >= room.background;
        Ok(())
    }

    /// Takes over attempts that others have launched.
    async fn adopt(&mut self, launches: Vec<Launch>) -> Result<()> {
        self.engine.metrics.adopted(launches.len());
        self.start(launches, Begin::Again).await
    }

    /// Has attempts carried out. They are launched: whatever happens here, each must come to an end.
    async fn start(&mut self, launches: Vec<Launch>, begin: Begin) -> Result<()> {
        let is_known =
            |it: &&Launch| self.runs.get(&it.key.run).is_some_and(|run: &Arc<RunInfo>| run.epoch == it.epoch);
        let mut unknown: Vec<RunId> =
            launches.iter().filter(|launch| !is_known(launch)).map(|launch| launch.key.run).collect();
        unknown.sort_unstable();
        unknown.dedup();
        if !unknown.is_empty() {
            if self.runs.len() + unknown.len() > RUNS {
                self.runs.clear();
            }
            let engine = self.engine;
            match engine.insist("read runs", || engine.store.run_infos(&unknown)).await {
                Ok(infos) => self.runs.extend(infos),
                // One of them cannot be read by this version: the others can.
                Err(_) => {
                    for run in unknown {
                        let one = [run];
                        match engine.insist("read a run", || engine.store.run_infos(&one)).await {
                            Ok(infos) => self.runs.extend(infos),
                            Err(error) => tracing::error!(%error, run = run.0, "cannot read a run"),
                        }
                    }
                }
            }
        }
        for launch in launches {
            let Some(run) = self.runs.get(&launch.key.run).cloned() else {
                let error = format!("run {} cannot be read by this version", launch.key.run.0);
                self.done.push(Report::new(launch.token, Outcome::Interrupted { error, retry_after: LATER }));
                continue;
            };
            if work::is_plain(&run.plan.tasks[launch.key.task as usize], &launch) {
                self.done.push(Report::new(launch.token, Outcome::Succeeded(None)));
            } else {
                self.spawn(launch, run, begin);
            }
        }
        self.engine.metrics.live(self.live.len());
        Ok(())
    }

    fn spawn(&mut self, launch: Launch, run: Arc<RunInfo>, begin: Begin) {
        let planned = &run.plan.tasks[launch.key.task as usize];
        let waits = planned.task.sleep.is_some() || planned.task.wait.is_some();
        let calls = planned.task.http.is_some() || planned.task.grpc.is_some();
        let (token, background) = (launch.token, run.class == Class::Background);
        let cancel = CancellationToken::new();
        if launch.cancelled {
            cancel.cancel();
        }
        let abort = self.attempts.spawn(Arc::clone(self.engine).perform(launch, run, begin, cancel.clone()));
        self.tokens.insert(abort.id(), token);
        self.live.insert(token, Live { cancel, counts: !waits, background, adoptable: !calls, abort });
    }

    /// Everything that has ended by now.
    fn collect(&mut self) {
        while let Some(ended) = self.attempts.try_join_next_with_id() {
            self.ended(ended);
        }
    }

    fn ended(&mut self, ended: Result<(Id, Report), JoinError>) {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let Some(token) = self.tokens.remove(&id) else { return };
        self.live.remove(&token);
        self.hungry |= std::mem::take(&mut self.starved);
        let report = match ended {
            Ok((_, report)) => report,
            Err(error) => {
                tracing::error!(%error, token, "attempt ended by a fault of the scheduler");
                let outcome = Outcome::Failed {
                    error: "a fault of the scheduler; its log says more".to_owned(),
                    retry_after: None,
                };
                Report::new(token, outcome)
            }
        };
        if let Outcome::Failed { retry_after: Some(after), .. } | Outcome::Interrupted { retry_after: after, .. } =
            &report.outcome
        {
            // A little later than that: the database counts from its own now.
            self.retries.push(Reverse(Instant::now() + *after + Duration::from_millis(5)));
        }
        self.done.push(report);
    }

    async fn heard(&mut self, event: &Event) -> Result<()> {
        match event {
            // What was said before is lost.
            Event::Connected => self.sweep().await,
            Event::Notified { channel, .. } if channel == CANCEL => self.end_cancelled().await,
            Event::Notified { payload, .. } => {
                // Its own are of what it has claimed already.
                self.hungry |= payload != self.engine.store.voice();
                Ok(())
            }
        }
    }

    async fn end_cancelled(&mut self) -> Result<()> {
        for token in self.engine.store.cancelled(self.instance).await? {
            if let Some(live) = self.live.get(&token) {
                live.cancel.cancel();
            }
        }
        Ok(())
    }

    async fn sweep(&mut self) -> Result<()> {
        let store = &self.engine.store;
        store.look_for_pools().await?;
        self.end_cancelled().await?;
        let gone = self.engine.store.take_over(self.instance, None).await?;
        self.adopt(gone).await?;
        if let Some(until) = self.doubt {
            let mut launches = self.engine.store.launches_of(self.instance).await?;
            let done: HashSet<i64> = self.done.iter().map(|report| report.token).collect();
            launches.retain(|launch| !self.live.contains_key(&launch.token) && !done.contains(&launch.token));
            self.adopt(launches).await?;
            if Instant::now() >= until {
                self.doubt = None;
            }
        }
        self.hungry = true;
        // Of what cannot be read by this version nothing else is to suffer.
        let store = &self.engine.store;
        if let Err(error) = store.fail_impatient().await {
            tracing::warn!(%error, "cannot fail tasks that were ready for too long");
        }
        for run in store.overdue().await? {
            if let Err(error) = store.cancel(&[run], "the run took longer than its timeout").await {
                tracing::warn!(%error, run = run.0, "cannot end a run that took too long");
            }
        }
        Ok(())
    }

    /// Leaves what others can go on with to them, and waits for the rest.
    async fn drain(mut self) {
        for live in self.live.values().filter(|live| live.adoptable) {
            live.abort.abort();
        }
        let left = self.live.values().filter(|live| live.adoptable).count();
        let engine = Arc::clone(self.engine);
        let finish = async {
            while let Some(ended) = self.attempts.join_next_with_id().await {
                let aborted = matches!(&ended, Err(error) if error.is_cancelled());
                if !aborted {
                    self.ended(ended);
                }
            }
            while !self.done.is_empty() {
                if let Err(error) = self.report(false).await {
                    tracing::warn!(%error, "cannot report, trying again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        if timeout(engine.settings.drain, finish).await.is_err() {
            tracing::warn!("calls have not ended in time; others find them interrupted");
        }
        match engine.store.retire(self.instance).await {
            Ok(()) => tracing::info!(left, "left to others"),
            Err(error) => tracing::warn!(%error, "others have to wait for the lease"),
        }
    }
}

fn sweep() -> Interval {
    let mut sweep = interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    sweep
}

/// Renews a lease until it is lost: taken over, or expired by our own clock while the database was away.
async fn hold(engine: Arc<Engine>, instance: InstanceId) {
    let lease = engine.settings.lease;
    let mut renewed = Instant::now();
    let mut tick = interval(lease / 4);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let asked = Instant::now();
        match timeout(lease / 2, engine.store.renew(instance, lease)).await {
            Ok(Ok(true)) => renewed = asked,
            Ok(Ok(false)) => return,
            Ok(Err(error)) => tracing::warn!(%error, "cannot renew the lease"),
            Err(_) => tracing::warn!("cannot renew the lease in time"),
        }
        if renewed.elapsed() >= lease {
            return;
        }
    }
}
