//! The parts while they run: started, watched, started again, stopped.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;

use crate::aws::Aws;
use crate::env::Env;
use crate::event::{Event, Reporter};
use crate::folder::Folder;
use crate::kafka::Kafka;
use crate::keeper::Backoff;
use crate::leash;
use crate::postgres::Postgres;
use crate::process::Process;
use crate::service::{self, Settings};
use crate::{Error, Part, Ports, Result};

/// Longer than the services' own shutdown budget.
const GRACE: Duration = Duration::from_secs(35);

/// How long a part may take to be ready. After a crash, Kafka and Postgres read their logs first.
const PATIENCE: Duration = Duration::from_mins(1);

const POLL: Duration = Duration::from_millis(50);

/// All that is needed to start any part at any time.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(super) folder: Folder,
    pub(super) run: PathBuf,
    pub(super) ports: Ports,
    pub(super) settings: Settings,
    kafka: Kafka,
    postgres: Postgres,
    aws: Aws,
    env: std::sync::Mutex<Env>,
    /// What the services are told beside that.
    service_env: std::sync::Mutex<Env>,
    slots: HashMap<Part, Mutex<Slot>>,
    reporter: Reporter,
    closed: AtomicBool,
}

/// One part's process. Whoever starts or stops it holds the slot's lock meanwhile.
#[derive(Debug, Default)]
struct Slot {
    process: Option<Process>,
    keeper: Option<AbortHandle>,
}

impl Slot {
    fn running(&self) -> Option<&Process> {
        self.process.as_ref().filter(|process| process.is_running())
    }

    /// From here on nobody starts it again. The keeper changes the process only under the lock that the caller holds.
    fn give_up(&mut self) -> Option<Process> {
        if let Some(keeper) = self.keeper.take() {
            keeper.abort();
        }
        self.process.take().filter(Process::is_running)
    }
}

/// What [`Parts`] are made from, once all of it is prepared.
pub(super) struct Prepared {
    pub(super) folder: Folder,
    pub(super) run: PathBuf,
    pub(super) ports: Ports,
    pub(super) settings: Settings,
    pub(super) kafka: Kafka,
    pub(super) postgres: Postgres,
    pub(super) aws: Aws,
    pub(super) env: Env,
    pub(super) service_env: Env,
    pub(super) reporter: Reporter,
}

impl From<Prepared> for Parts {
    fn from(prepared: Prepared) -> Self {
        let Prepared { folder, run, ports, settings, kafka, postgres, aws, env, service_env, reporter } = prepared;
        let slots = Part::ALL.into_iter().map(|part| (part, Mutex::default())).collect();
        let (env, service_env, closed) = (env.into(), service_env.into(), AtomicBool::new(false));
        Self { folder, run, ports, settings, kafka, postgres, aws, env, service_env, slots, reporter, closed }
    }
}

impl Parts {
    pub(super) async fn start(self: &Arc<Self>, part: Part) -> Result<()> {
        let mut slot = self.slots[&part].lock().await;
        if slot.running().is_some() {
            return Ok(());
        }
        let begin = Instant::now();
        slot.give_up();
        if part.is_service() {
            self.env(|env| env.add_services(self.ports, &self.settings.admin_token));
            self.migrate(part).await?;
        }
        let process = self.launch(part).await?;
        slot.process = Some(process.clone());
        if let Err(error) = self.ready(part, &process).await {
            process.kill().await;
            return Err(error);
        }
        self.reporter.report(Event::Ready(part, begin.elapsed()));
        slot.keeper = Some(tokio::spawn(Arc::clone(self).keep(part, process)).abort_handle());
        Ok(())
    }

    pub(super) async fn stop(&self, part: Part) -> Result<()> {
        let mut slot = self.slots[&part].lock().await;
        let process = slot.give_up().ok_or(Error::PartNotRunning(part))?;
        process.stop(part.stop_signal(), GRACE).await;
        Ok(())
    }

    pub(super) async fn kill(&self, part: Part) -> Result<()> {
        let mut slot = self.slots[&part].lock().await;
        let process = slot.give_up().ok_or(Error::PartNotRunning(part))?;
        process.kill().await;
        Ok(())
    }

    /// Services first, at once; then what they stand on.
    pub(super) async fn stop_all(&self) {
        self.reporter.report(Event::Stopping);
        self.close();
        let services = Part::SERVICES.map(|part| self.stop(part));
        let [registry, gateway, scorer, importer, objects, archiver, alerter, scheduler] = services;
        // One that does not run has nothing to stop.
        let _ = tokio::join!(registry, gateway, scorer, importer, objects, archiver, alerter, scheduler);
        let [kafka, postgres, aws] = Part::STORES.map(|part| self.stop(part));
        let _ = tokio::join!(kafka, postgres, aws);
    }

    /// Nothing is started again from here on.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    pub(super) async fn pid(&self, part: Part) -> Option<u32> {
        self.slots[&part].lock().await.running().map(Process::pid)
    }

    pub(super) fn env<T>(&self, f: impl FnOnce(&mut Env) -> T) -> T {
        // A panic elsewhere leaves the list whole: each change of it is one step.
        f(&mut self.env.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_service_env(&self, name: &str, value: &str) {
        self.service_env.lock().unwrap_or_else(PoisonError::into_inner).set(name, value);
    }

    /// The stack's addresses, then what is added to them or changed in them.
    fn env_of_services(&self) -> Vec<(String, String)> {
        let mut env = self.env(|env| env.to_vec());
        env.extend(self.service_env.lock().unwrap_or_else(PoisonError::into_inner).to_vec());
        env
    }

    async fn migrate(&self, part: Part) -> Result<()> {
        let env = self.env_of_services();
        let Some(command) = self.settings.migrate(part, &self.run, self.ports, &env)? else { return Ok(()) };
        let name = service::migration(part);
        let process = self.spawn(command, &name)?;
        let status = process.ended().await;
        if status.success() { Ok(()) } else { Err(self.ended(&name, status)) }
    }

    async fn launch(&self, part: Part) -> Result<Process> {
        let command = match part {
            Part::Kafka => self.kafka.command(&self.run),
            Part::Aws => self.aws.command(&self.run),
            Part::Postgres => {
                self.postgres.recover().await?;
                self.postgres.command(&self.run)
            }
            _ => {
                let env = self.env_of_services();
                let mut command = self.settings.serve(part, &self.run, self.ports, &env)?;
                command.current_dir(self.folder.part(part.name())?);
                command
            }
        };
        self.spawn(command, part.name())
    }

    fn spawn(&self, mut command: Command, name: &str) -> Result<Process> {
        let log = self.folder.rotate_log(name)?;
        leash::log_to(&mut command, &log).map_err(Error::io("open log of", Path::new(name)))?;
        Process::spawn(command, &self.run, name)
    }

    /// Waits until the part answers, or ends, or for too long.
    async fn ready(&self, part: Part, process: &Process) -> Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if !process.is_running() {
                return Err(self.ended(part.name(), process.ended().await));
            }
            let is_ready = match (part, self.ports.admin(part)) {
                (Part::Postgres, _) => self.postgres.is_ready(process.pid()),
                (Part::Aws, _) => self.aws.is_ready().await,
                (_, Some(admin)) => service::is_ready(admin).await,
                _ => self.kafka.is_ready().await,
            };
            if is_ready {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
        let (log, tail) = (self.folder.log(part.name()), self.folder.tail(part.name()));
        Err(Error::NotReady { part, after: PATIENCE, log, tail })
    }

    fn ended(&self, name: &str, status: ExitStatus) -> Error {
        let (log, tail) = (self.folder.log(name), self.folder.tail(name));
        Error::Ended { name: name.to_owned(), status: status.to_string(), log, tail }
    }

    /// Starts a part again whenever it ends by itself. Aborted by who wants it down.
    async fn keep(self: Arc<Self>, part: Part, mut process: Process) {
        let mut backoff = Backoff::new(Instant::now());
        loop {
            let status = process.ended().await;
            let reason = self.reason(part, status);
            let verdict = backoff.crashed(Instant::now(), &reason);
            if self.closed.load(Ordering::Relaxed) {
                return;
            }
            if verdict.is_news {
                self.reporter.report(Event::Crashed { part, reason });
            }
            tokio::time::sleep(verdict.wait).await;
            let Some(next) = self.start_again(part).await else { continue };
            backoff.started(Instant::now());
            process = next;
            if self.ready(part, &process).await.is_ok() {
                self.reporter.report(Event::Recovered(part, backoff.starts()));
            }
        }
    }

    /// `None` when it cannot be started now.
    async fn start_again(&self, part: Part) -> Option<Process> {
        let mut slot = self.slots[&part].lock().await;
        if self.closed.load(Ordering::Relaxed) {
            return None;
        }
        let process = self.launch(part).await.ok()?;
        slot.process = Some(process.clone());
        Some(process)
    }

    /// `exit status: 1: <last line of its log>`
    fn reason(&self, part: Part, status: ExitStatus) -> String {
        let tail = self.folder.tail(part.name());
        match tail.lines().last() {
            Some(line) => format!("{status}: {}", line.trim()),
            None => status.to_string(),
        }
    }
}
