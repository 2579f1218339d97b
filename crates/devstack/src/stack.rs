//! The stack as its starter holds it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::process::Command;

use crate::aws::Aws;
use crate::cache;
use crate::env::Env;
use crate::event::{Event, Reporter};
use crate::folder::Folder;
use crate::guard::{self, Guard};
use crate::kafka::Kafka;
use crate::postgres::Postgres;
use crate::service::{self, Settings};
use crate::{Error, Part, Ports, Result, prerequisites, running};

mod child;
mod parts;

pub use child::Child;
use parts::{Parts, Prepared};

/// How a stack is to be.
#[derive(Debug)]
#[must_use]
pub struct Builder {
    dir: PathBuf,
    ports: Ports,
    services: bool,
    binaries: Option<PathBuf>,
    pipelines: Option<PathBuf>,
    models: Option<PathBuf>,
    service_env: Env,
    reporter: Reporter,
}

impl Builder {
    /// The base of all ports.
    pub fn port_base(mut self, base: u16) -> Self {
        self.ports = Ports::from_base(base);
        self
    }

    /// Whether [`start`](Self::start) also starts the services, in order and without anything between them.
    pub fn services(mut self, services: bool) -> Self {
        self.services = services;
        self
    }

    /// Where the services' binaries are; else beside this executable.
    pub fn binaries(mut self, folder: impl Into<PathBuf>) -> Self {
        self.binaries = Some(folder.into());
        self
    }

    /// Pipeline documents for the services: a file, or a folder of them.
    pub fn pipelines(mut self, path: impl Into<PathBuf>) -> Self {
        self.pipelines = Some(path.into());
        self
    }

    /// Model bundles for the scorer, one a folder; else `models` in the stack's folder.
    pub fn models(mut self, folder: impl Into<PathBuf>) -> Self {
        self.models = Some(folder.into());
        self
    }

    /// A variable for all services.
    pub fn service_env(mut self, name: &str, value: &str) -> Self {
        self.service_env.set(name, value);
        self
    }

    /// Where events go; else into the log.
    pub fn reporter(mut self, reporter: Reporter) -> Self {
        self.reporter = reporter;
        self
    }

    /// Starts Kafka, Postgres and the stand-in for AWS side by side, and the services when asked for; returns when all of it is ready.
    pub async fn start(self) -> Result<Stack> {
        let folder = Folder::create(&self.dir)?;
        let lock = running::lock(&folder, self.ports).await?;
        running::forget(&folder);
        if guard::sweep(&folder)? {
            self.reporter.report(Event::Swept);
        }
        let guard = Guard::start(&folder, &lock)?;
        let parts: &[Part] = if self.services { &Part::ALL } else { &Part::STORES };
        self.ports.check_free(parts)?;

        let java = prerequisites::java().await?;
        let programs = cache::programs(&folder, guard.run(), &self.reporter).await?;
        let aws = Aws::new(&folder, &programs.aws, self.ports)?;
        let password = folder.secret("postgres-password")?;
        let (kafka, postgres) = tokio::try_join!(
            Kafka::prepare(&folder, guard.run(), java, &programs.kafka, self.ports),
            Postgres::prepare(&folder, guard.run(), &programs.postgres, self.ports, &password),
        )?;
        let settings = Settings {
            binaries: self.binaries.map_or_else(service::beside_us, Ok)?,
            pipelines: self.pipelines,
            models: self.models.unwrap_or_else(|| folder.path().join("models")),
            model_cache: folder.path().join("model-cache"),
            scheduler: folder.path().join("scheduler"),
            admin_token: folder.secret("admin-token")?,
        };
        let mut env = Env::stores(self.ports, &password);
        if let Some(pipelines) = &settings.pipelines {
            // Of commands that read the document themselves.
            env.set("MILLRACE_PIPELINES", &pipelines.display());
        }
        let (run, ports, reporter) = (guard.run().to_owned(), self.ports, self.reporter);
        let service_env = self.service_env;
        let parts = Prepared { folder, run, ports, settings, kafka, postgres, aws, env, service_env, reporter };
        let stack = Stack { parts: Arc::new(parts.into()), guard, _lock: lock };
        let [kafka, postgres, aws] = Part::STORES.map(|part| stack.parts.start(part));
        tokio::try_join!(kafka, postgres, aws)?;
        if self.services {
            stack.start_services().await?;
        }
        Ok(stack)
    }
}

/// A running stack. Dropped, it stops everything, in a less orderly way than [`shutdown`](Self::shutdown) does.
#[derive(Debug)]
pub struct Stack {
    parts: Arc<Parts>,
    guard: Guard,
    /// Also held by the guard.
    _lock: File,
}

impl Stack {
    /// A stack whose data, logs and addresses are in `dir`.
    pub fn builder(dir: impl Into<PathBuf>) -> Builder {
        Builder {
            dir: dir.into(),
            ports: Ports::default(),
            services: false,
            binaries: None,
            pipelines: None,
            models: None,
            service_env: Env::default(),
            reporter: Reporter::default(),
        }
    }

    /// Starts a part and returns when it is ready; one that runs is left alone. A service's schema is migrated first.
    pub async fn start(&self, name: &str) -> Result<()> {
        self.parts.start(name.parse()?).await
    }

    /// Starts all services, each after what it needs, then writes the `env` file.
    pub async fn start_services(&self) -> Result<()> {
        self.parts.start(Part::Registry).await?;
        tokio::try_join!(
            self.parts.start(Part::Gateway),
            self.parts.start(Part::Scorer),
            self.parts.start(Part::Importer),
            self.parts.start(Part::ImporterObjects),
            self.parts.start(Part::Archiver),
            self.parts.start(Part::Alerter),
            self.parts.start(Part::Scheduler),
        )?;
        self.write_env()
    }

    /// Asks a part to end, insists after its grace, and leaves it down.
    pub async fn stop(&self, name: &str) -> Result<()> {
        self.parts.stop(name.parse()?).await
    }

    /// SIGKILL. The part stays down until it is started again.
    pub async fn kill(&self, name: &str) -> Result<()> {
        self.parts.kill(name.parse()?).await
    }

    /// [`stop`](Self::stop), then [`start`](Self::start).
    pub async fn restart(&self, name: &str) -> Result<()> {
        self.stop(name).await?;
        self.start(name).await
    }

    /// The pid of a part that runs.
    pub async fn pid(&self, name: &str) -> Result<Option<u32>> {
        Ok(self.parts.pid(name.parse()?).await)
    }

    /// What a program needs to reach what was started so far: names and values.
    pub fn env(&self) -> Vec<(String, String)> {
        self.parts.env(|env| env.to_vec())
    }

    /// Adds a variable to the `env` file, such as a key that somebody made.
    pub fn set_env(&self, name: &str, value: &str) {
        self.parts.env(|env| env.set(name, value));
    }

    /// Writes `env` in the stack's folder.
    pub fn write_env(&self) -> Result<()> {
        self.parts.env(|env| env.write(&self.parts.folder))
    }

    /// The stack's folder, absolute.
    pub fn dir(&self) -> &Path {
        self.parts.folder.path()
    }

    /// Its ports.
    pub fn ports(&self) -> Ports {
        self.parts.ports
    }

    /// The token of the gateway's key service.
    pub fn admin_token(&self) -> &str {
        &self.parts.settings.admin_token
    }

    /// A secret that is made once, and found by every later start in this folder: 48 hexadecimal digits.
    pub fn secret(&self, name: &str) -> Result<String> {
        self.parts.folder.secret(name)
    }

    /// Keeps a secret that somebody else made, readable by the owner only.
    pub fn remember(&self, name: &str, secret: &str) -> Result<()> {
        self.parts.folder.remember(name, secret)
    }

    /// A secret of an earlier start.
    pub fn remembered(&self, name: &str) -> Option<String> {
        self.parts.folder.remembered(name)
    }

    /// Adds a variable to what services are started with from here on.
    pub fn set_service_env(&self, name: &str, value: &str) {
        self.parts.set_service_env(name, value);
    }

    /// Where the scorer looks for its models.
    pub fn models(&self) -> &Path {
        &self.parts.settings.models
    }

    /// Where the services' binaries are.
    pub fn binaries(&self) -> &Path {
        &self.parts.settings.binaries
    }

    /// A log file of the stack: of a part or a step.
    pub fn log(&self, name: &str) -> PathBuf {
        self.parts.folder.log(name)
    }

    /// Runs a program on the stack's leash, with the stack's addresses: whatever becomes of us, it ends with the stack.
    ///
    /// `prepare` may set arguments' surroundings: folder, outputs, more variables.
    pub fn spawn(
        &self,
        name: &str,
        command: &[std::ffi::OsString],
        prepare: impl FnOnce(&mut Command),
    ) -> Result<Child> {
        Child::spawn(&self.parts, name, command, prepare)
    }

    /// Runs a program like [`spawn`](Self::spawn) to its end, with both outputs in its own log file.
    pub async fn run(&self, name: &str, command: &[std::ffi::OsString]) -> Result<std::process::ExitStatus> {
        let log = self.parts.folder.rotate_log(name)?;
        let copy = log.try_clone().map_err(Error::io("open log of", Path::new(name)))?;
        let child = self.spawn(name, command, |command| _ = command.stdout(copy).stderr(log))?;
        Ok(child.wait().await)
    }

    /// Stops the services, then what they stand on, and waits for all of them.
    pub async fn shutdown(mut self) -> Result<()> {
        self.parts.stop_all().await;
        running::forget(&self.parts.folder);
        self.guard.finish();
        Ok(())
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // The guard, dropped after this, stops them: nobody may start them again.
        self.parts.close();
    }
}
