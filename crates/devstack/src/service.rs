//! The services' command lines, all of it by the environment as a chart would set it.

use std::env;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use crate::leash::{self, Leash};
use crate::{Error, Part, Ports, Result, http};

/// Milliseconds after which the allocator gives freed memory back. Its default of a second keeps a sixth more resident
/// under load (importer: 141 MiB instead of 124) and is no faster; 30 ms are slower.
const PURGE_DELAY: (&str, &str) = ("MIMALLOC_PURGE_DELAY", "100");

/// How long process tasks go on after a stack that has ended.
const FENCE: &str = "10s";

/// What the services are told beside addresses.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where the binaries are.
    pub(crate) binaries: PathBuf,
    /// Pipeline documents: a file, or a folder of them.
    pub(crate) pipelines: Option<PathBuf>,
    /// One model bundle a folder.
    pub(crate) models: PathBuf,
    /// What the scorer keeps of the registry's models, where it takes them from there.
    pub(crate) model_cache: PathBuf,
    /// What the scheduler's process tasks do.
    pub(crate) scheduler: PathBuf,
    /// Of the gateway's key service.
    pub(crate) admin_token: String,
}

impl Settings {
    /// The binary of a service, which must be there.
    pub(crate) fn binary(&self, part: Part) -> Result<OsString> {
        let name = if part == Part::ImporterObjects { Part::Importer } else { part };
        let path = self.binaries.join(format!("millrace-{name}"));
        if path.is_file() { Ok(path.into()) } else { Err(Error::NoBinary(path)) }
    }

    /// What starts the service. `env` has the stack's addresses, and what a user or a test adds or wants otherwise.
    pub(crate) fn serve(&self, part: Part, run: &Path, ports: Ports, env: &[(String, String)]) -> Result<Command> {
        let verb = match part {
            Part::Scorer | Part::Importer => "stream",
            Part::ImporterObjects => "objects",
            _ => "serve",
        };
        let binary = self.binary(part)?;
        Ok(self.with_env(part, ports, env, leash::command(run, part.name(), Leash::FIRST, &binary, &[verb])))
    }

    /// What brings its Postgres schema up to date, for a service that has one.
    pub(crate) fn migrate(
        &self,
        part: Part,
        run: &Path,
        ports: Ports,
        env: &[(String, String)],
    ) -> Result<Option<Command>> {
        if matches!(part, Part::Scorer | Part::ImporterObjects | Part::Archiver) {
            return Ok(None);
        }
        let binary = self.binary(part)?;
        let command = leash::command(run, &migration(part), Leash::FIRST, &binary, &["migrate"]);
        Ok(Some(self.with_env(part, ports, env, command)))
    }

    fn with_env(&self, part: Part, ports: Ports, env: &[(String, String)], mut command: Command) -> Command {
        let addresses = [("HTTP", ports.http(part)), ("GRPC", ports.grpc(part)), ("ADMIN", ports.admin(part))];
        for (name, address) in addresses {
            if let Some(address) = address {
                command.env(format!("MILLRACE_{name}_ADDR"), address.to_string());
            }
        }
        // What the scheduler's process tasks call by name.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::iter::once(self.binaries.clone()).chain(std::env::split_paths(&path));
        if let Ok(paths) = std::env::join_paths(paths) {
            command.env("PATH", paths);
        }
        command.env("MILLRACE_INSTANCE_ID", format!("{part}-0"));
        command.env("MILLRACE_MODELS", &self.models).env("MILLRACE_MODEL_CACHE", &self.model_cache);
        command.env("MILLRACE_SCHEDULER_FOLDER", &self.scheduler).env("MILLRACE_SCHEDULER_FENCE", FENCE);
        command.env("MILLRACE_ADMIN_TOKEN", &self.admin_token);
        if std::env::var_os(PURGE_DELAY.0).is_none() {
            command.env(PURGE_DELAY.0, PURGE_DELAY.1);
        }
        if let Some(pipelines) = &self.pipelines {
            command.env("MILLRACE_PIPELINES", pipelines);
        }
        command.envs(env.iter().map(|(name, value)| (name, value)));
        // The client's half of the contract is nothing for a service.
        command.env_remove("MILLRACE_API_KEY");
        command
    }
}

/// The name of a service's migration in logs and reports.
pub(crate) fn migration(part: Part) -> String {
    format!("{part}-migrate")
}

/// True when the service says so itself.
pub(crate) async fn is_ready(admin: SocketAddr) -> bool {
    const PATIENCE: Duration = Duration::from_secs(2);
    matches!(http::get(admin, "/readyz", PATIENCE).await, Ok((200, _)))
}

/// Where cargo puts the binaries: beside this executable, or one folder up from a test's (`release/deps/it-0123`).
pub(crate) fn beside_us() -> Result<PathBuf> {
    let here = env::current_exe().map_err(Error::io("find", Path::new("/proc/self/exe")))?;
    let folder = here.parent().unwrap_or(Path::new("."));
    let up = folder.parent().filter(|_| folder.ends_with("deps") || folder.ends_with("examples"));
    Ok(up.unwrap_or(folder).to_owned())
}
