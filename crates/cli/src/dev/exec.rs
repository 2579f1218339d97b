//! `millrace dev exec -- program ..`: a program that finds the stack.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use millrace_devstack::{self as devstack, Ports, Stack};

use super::{Place, signals::Ends};

/// How long the program may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(10);

/// Runs a program with the stack's addresses in its environment, and ends with its exit code.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Start Kafka, Postgres and the stand-in for AWS for this program alone, in a folder of their own that goes with them.
    #[arg(long)]
    throwaway: bool,
    /// Base of the throwaway stack's ports. Without it: the first that is free.
    #[arg(long, value_name = "PORT", requires = "throwaway", value_parser = clap::value_parser!(u16).range(1024..=i64::from(devstack::ports::MAX_BASE)))]
    port_base: Option<u16>,
    /// End when the process that started this one ends.
    #[arg(long)]
    with_parent: bool,
    /// The program and its arguments.
    #[arg(required = true, last = true, value_name = "PROGRAM")]
    command: Vec<OsString>,
}

impl Args {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let Self { place, throwaway, port_base, with_parent, command } = self;
        if !throwaway {
            return beside(&place, &command);
        }
        let mut ends = Ends::new(with_parent)?;
        let folder = Folder::new()?;
        let ports = port_base.map_or_else(devstack::ports::free_base, |base| Ok(Ports::from_base(base)))?;
        let start = Stack::builder(&folder.0).port_base(ports.base()).start();
        let stack = tokio::select! {
            stack = start => stack?,
            _ = ends.next() => bail!("stopped before the stores were ready"),
        };
        let status = run(&stack, &command, &mut ends).await;
        stack.shutdown().await?;
        drop(folder);
        let status = status?;
        if !status.success() {
            // All is stopped; what is left is to pass on how it ended.
            std::process::exit(code(status));
        }
        Ok(())
    }
}

/// Becomes the program: the stack is somebody else's.
fn beside(place: &Place, command: &[OsString]) -> anyhow::Result<()> {
    let running = devstack::find(&place.dir)?;
    let [program, args @ ..] = command else { bail!("no program is named") };
    let failure = std::process::Command::new(program).args(args).envs(running.env).exec();
    Err(failure).with_context(|| format!("run {}", program.display()))
}

async fn run(stack: &Stack, command: &[OsString], ends: &mut Ends) -> anyhow::Result<ExitStatus> {
    let child = stack.spawn("exec", command, |command| {
        // It is not the terminal's foreground, which would stop it as soon as it reads.
        if !std::io::stdin().is_terminal() {
            command.stdin(Stdio::inherit());
        }
        // Its own stack has its own folder, and says where.
        command.env("MILLRACE_DIR", stack.dir());
    })?;
    tokio::select! {
        status = child.wait() => Ok(status),
        _ = ends.next() => Ok(child.stop(GRACE).await),
    }
}

/// As a shell has it: 128 and the number of the signal.
fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// A folder that is removed with its content when this is dropped. Postgres may run as another user: it must reach it.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("millrace-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&path).with_context(|| format!("make folder {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is in the system's own folder for such things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
