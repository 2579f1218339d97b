//! `millrace dev up --detach`: a keeper in the background, watched until it says that all is ready.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};
use millrace_devstack as devstack;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::{signals::Ends, up};
use crate::Output;

/// The keeper's last line.
pub(super) const READY: &str = "ready";

/// Starts the keeper and relays what it says. Returns when all is ready.
pub(super) async fn start(args: &up::Args, output: Output) -> anyhow::Result<()> {
    let begin = Instant::now();
    let mut ends = Ends::new(false)?;
    let log = log(args.dir())?;
    let program = std::env::current_exe().context("find this program")?;
    let mut command = Command::new(program);
    command.args(args.keeper_args()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    // Neither Ctrl-C nor the end of this terminal is meant for it.
    command.process_group(0);
    let mut keeper = tokio::process::Command::from(command).spawn().context("start the keeper")?;
    let lines = keeper.stdout.take().context("read from the keeper")?;
    let mut lines = BufReader::new(lines).lines();
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line.context("read from the keeper")?,
            _ = ends.next() => {
                devstack::down(args.dir()).await?;
                bail!("stopped before all was ready");
            }
        };
        match line.as_deref() {
            Some(READY) => break,
            Some(line) if output.is_json() => eprintln!("{line}"),
            Some(line) => output.line(line)?,
            None => {
                let status = keeper.wait().await.context("wait for the keeper")?;
                let said = std::fs::read_to_string(args.dir().join("logs/up.log")).unwrap_or_default();
                let said = said.trim().trim_start_matches("error: ");
                bail!(if said.is_empty() { status.to_string() } else { said.to_owned() });
            }
        }
    }
    let result = serde_json::json!({ "seconds": begin.elapsed().as_secs_f64(), "dir": args.dir() });
    output.value(&result, |_| "it runs in the background; `millrace dev down` ends it".to_owned())
}

/// What the keeper says when it fails.
fn log(dir: &std::path::Path) -> anyhow::Result<std::fs::File> {
    let logs = dir.join("logs");
    std::fs::create_dir_all(&logs).with_context(|| format!("make folder {}", logs.display()))?;
    let path = logs.join("up.log");
    std::fs::File::create(&path).with_context(|| format!("open {}", path.display()))
}
