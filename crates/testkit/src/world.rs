//! A stack of a test's own, with documents, a model and a key.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, ensure};
use millrace_demo::{Generator, Settings, write_training_file};
use millrace_devstack::{Stack, ports};
use millrace_postgres::{Args as PostgresArgs, Pool};
use tempfile::TempDir;
use tokio::{process::Command, time::Instant};

use crate::{models::Models, receiver::Receiver};

/// Event time at which the made-up training mail begins: 2026-01-01.
const TRAINING_START: i64 = 1_767_225_600_000;

/// The receiver that the demo's document names.
const RECEIVER: &str = "ops-webhook";

/// A command that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Finished {
    /// The standard output as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }
}

/// How a world is to be.
#[derive(Debug)]
pub struct Builder {
    documents: Option<PathBuf>,
    training: Option<PathBuf>,
    environment: Vec<(String, String)>,
    champion: bool,
}

impl Builder {
    /// Documents of the test's own: a folder that is copied. Else the demo's.
    #[must_use]
    pub fn documents(mut self, folder: impl Into<PathBuf>) -> Self {
        self.documents = Some(folder.into());
        self
    }

    /// A labelled Avro file to train the model with. Else made-up mail.
    #[must_use]
    pub fn training(mut self, file: impl Into<PathBuf>) -> Self {
        self.training = Some(file.into());
        self
    }

    /// The scorer takes its model from the registry, where the one that is trained is made the champion.
    #[must_use]
    pub fn models_from_registry(mut self) -> Self {
        self.champion = true;
        self.environment("MILLRACE_MODELS_FROM", "registry")
    }

    /// A variable for all services.
    #[must_use]
    pub fn environment(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Starts everything, applies the demo's pipeline, trains its model and makes a key for it.
    pub async fn start(self) -> anyhow::Result<World> {
        let folder = tempfile::Builder::new().prefix("millrace-").tempdir()?;
        let documents = folder.path().join("pipelines");
        match &self.documents {
            Some(given) => copy(given, &documents)?,
            None => millrace_demo::write_documents(&documents)?,
        }
        let mut builder =
            Stack::builder(folder.path().join("stack")).port_base(ports::free_base()?.base()).pipelines(&documents);
        let receiver = Receiver::start().await?;
        for (name, value) in receiver.environment(RECEIVER).into_iter().chain(self.environment) {
            builder = builder.service_env(&name, &value);
        }
        let stack = builder.start().await?;
        let database = value(&stack, "DATABASE_URL");
        let pool = PostgresArgs::from_url(database).pool()?;
        let world = World { stack: Some(stack), folder: Some(folder), documents, pool, receiver };
        world.prepare(self.training, self.champion).await?;
        Ok(world)
    }
}

/// A stack of a test's own.
pub struct World {
    stack: Option<Stack>,
    folder: Option<TempDir>,
    documents: PathBuf,
    pool: Pool,
    receiver: Receiver,
}

impl World {
    /// The demo's pipeline on a stack of its own, unless said otherwise.
    pub fn builder() -> Builder {
        Builder { documents: None, training: None, environment: Vec::new(), champion: false }
    }

    async fn prepare(&self, training: Option<PathBuf>, champion: bool) -> anyhow::Result<()> {
        let stack = self.stack();
        stack.start("registry").await?;
        stack.write_env()?;
        let document = self.documents.join("mail-trust.yaml");
        self.must("pipeline apply", ["pipeline".as_ref(), "apply".as_ref(), document.as_os_str()]).await?;
        let file = match training {
            Some(file) => file,
            None => self.made_up_training()?,
        };
        let bundle = stack.models().join(millrace_demo::NAME);
        self.train(&file, &bundle, &[]).await?;
        if champion {
            let mut models = Models::of(self)?;
            let model = models.push(&bundle).await?;
            models.promote(&model).await?;
        }
        stack.start_services().await?;
        let made =
            self.must("keys create", ["keys", "create", "--name", "test", "--pipeline", millrace_demo::NAME]).await?;
        stack.set_env("MILLRACE_API_KEY", made.stdout.trim());
        stack.write_env()?;
        Ok(())
    }

    /// A labelled file of made-up mail.
    pub fn made_up_training(&self) -> anyhow::Result<PathBuf> {
        let file = self.folder().join("training.avro");
        write_training_file(&file, Generator::new(Settings::new(1, TRAINING_START)), 6_000)?;
        Ok(file)
    }

    /// Trains a bundle of the demo's model into a folder, with settings of the test's own: `--rounds`, `10`.
    pub async fn train(&self, file: &Path, out: &Path, settings: &[&str]) -> anyhow::Result<()> {
        let document = self.documents.join("mail-trust.yaml");
        let features = self.documents.join("features.yaml");
        let mut args: Vec<&OsStr> = ["train", "--positive", "spam,phish", "--negative", "ham"].map(OsStr::new).to_vec();
        for (flag, value) in [("--pipeline", &*document), ("--features", &features), ("--out", out)] {
            args.extend([OsStr::new(flag), value.as_os_str()]);
        }
        args.extend(settings.iter().map(OsStr::new));
        args.push(file.as_os_str());
        let done = self.run("millrace-scorer", args).await?;
        ensure!(done.code == Some(0), "train: {done:?}");
        Ok(())
    }

    async fn must<A: AsRef<OsStr>>(&self, what: &str, args: impl IntoIterator<Item = A>) -> anyhow::Result<Finished> {
        let done = self.cli(args).await?;
        ensure!(done.code == Some(0), "{what}: {done:?}");
        Ok(done)
    }

    /// Runs `millrace` as a user of this stack does.
    pub async fn cli<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> anyhow::Result<Finished> {
        self.run("millrace", args).await
    }

    /// Runs one of our binaries with the stack's addresses in the environment.
    pub async fn run<A: AsRef<OsStr>>(
        &self,
        binary: &str,
        args: impl IntoIterator<Item = A>,
    ) -> anyhow::Result<Finished> {
        self.execute(self.stack().binaries().join(binary).as_ref(), args).await
    }

    /// Runs any program with the stack's addresses in the environment.
    pub async fn execute<A: AsRef<OsStr>>(
        &self,
        program: &OsStr,
        args: impl IntoIterator<Item = A>,
    ) -> anyhow::Result<Finished> {
        let output = Command::new(program)
            .args(args)
            .envs(self.stack().env())
            .env("MILLRACE_ADMIN_TOKEN", self.stack().admin_token())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("run {}", program.display()))?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Finished { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) })
    }

    /// The stack, for faults.
    pub fn stack(&self) -> &Stack {
        self.stack.as_ref().expect("it is taken only when the world ends")
    }

    /// A folder for the test's own files.
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().expect("it is taken only when the world ends").path()
    }

    /// The documents of the pipeline.
    pub fn documents(&self) -> &Path {
        &self.documents
    }

    /// The bodies of the webhooks that came, each id once.
    pub fn told(&self) -> Vec<String> {
        self.receiver.told()
    }

    /// A variable of the stack's contract.
    pub fn env(&self, name: &str) -> String {
        value(self.stack(), name)
    }

    /// SIGKILL, then a start: a crash.
    pub async fn crash(&self, part: &str) -> anyhow::Result<()> {
        self.stack().kill(part).await?;
        self.stack().start(part).await?;
        Ok(())
    }

    /// Waits until Postgres is there again, then returns a connection.
    pub async fn client(&self) -> anyhow::Result<millrace_postgres::Client> {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            match self.pool.get().await {
                Ok(client) if client.simple_query("SELECT 1").await.is_ok() => return Ok(client),
                other if Instant::now() > deadline => return Ok(other?),
                _ => self.pool.forget_idle(),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The one number that a query gives; 0 while its table is not there.
    pub async fn number(&self, sql: &str) -> i64 {
        let Ok(client) = self.client().await else { return 0 };
        match client.query_one(sql, &[]).await {
            Ok(row) => row.get(0),
            Err(error) if error.code().is_some_and(|code| code.code() == "42P01") => 0,
            Err(error) => panic!("{sql}: {error:?}"),
        }
    }

    /// The texts of a query's first column.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        let client = self.client().await.unwrap_or_else(|error| panic!("reach Postgres: {error:#}"));
        let rows = client.query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Stops everything.
    pub async fn end(mut self) -> anyhow::Result<()> {
        match self.stack.take() {
            Some(stack) => Ok(stack.shutdown().await?),
            None => Ok(()),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.stack.take());
        if std::thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            eprintln!("the logs of the failed test are in {}", folder.keep().join("stack/logs").display());
        }
    }
}

fn value(stack: &Stack, name: &str) -> String {
    let found = stack.env().into_iter().find(|(known, _)| known == name);
    found.unwrap_or_else(|| panic!("the stack does not set {name}")).1
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
