//! `millrace dev logs`.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use super::Place;
use crate::Output;

/// How soon a new line is shown.
const POLL: Duration = Duration::from_millis(200);

/// How much of a log's end is looked at for its last lines.
const TAIL: u64 = 1024 * 1024;

/// Prints the end of a log, and what comes after it when asked to.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The part or step, such as `scorer`, `kafka`, `registry-migrate`, `train`. Without it: which logs there are.
    part: Option<String>,
    /// Go on with what is written from now on, also over a restart of the part.
    #[arg(long, short)]
    follow: bool,
    /// How many lines of the end.
    #[arg(long, short = 'n', default_value_t = 40)]
    lines: usize,
    #[command(flatten)]
    place: Place,
}

impl Args {
    pub(super) async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { part, follow, lines, place } = self;
        let logs = place.dir.join("logs");
        let Some(part) = part else { return list(&logs, output) };
        let path = logs.join(format!("{part}.log"));
        if !path.is_file() {
            bail!("there is no log of {part}; there are: {}", names(&logs).join(", "));
        }
        let mut position = end(&path, lines, output)?;
        if !follow {
            return Ok(());
        }
        loop {
            tokio::time::sleep(POLL).await;
            position = more(&path, position, output)?;
        }
    }
}

fn list(logs: &Path, output: Output) -> anyhow::Result<()> {
    output.rows(&names(logs), &["LOG"], |name| vec![name.clone()])
}

fn names(logs: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(logs).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| PathBuf::from(entry.file_name()))
        .filter(|path| path.extension().is_some_and(|ext| ext == "log"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}

/// Prints the last lines, and says where they end.
fn end(path: &Path, lines: usize, output: Output) -> anyhow::Result<u64> {
    let length = path.metadata().with_context(|| format!("read {}", path.display()))?.len();
    let text = read(path, length.saturating_sub(TAIL))?;
    let all: Vec<&str> = text.lines().collect();
    for line in &all[all.len().saturating_sub(lines)..] {
        output.line(line)?;
    }
    Ok(length)
}

/// Prints what came after `position`. A file that is shorter is that of a new start.
fn more(path: &Path, position: u64, output: Output) -> anyhow::Result<u64> {
    let Ok(length) = path.metadata().map(|metadata| metadata.len()) else { return Ok(0) };
    let from = if length < position { 0 } else { position };
    if length == from {
        return Ok(from);
    }
    let text = read(path, from)?;
    // A line that is not whole yet is printed when it is.
    let Some(whole) = text.rfind('\n') else { return Ok(from) };
    output.line(&text[..whole])?;
    Ok(from + whole as u64 + 1)
}

fn read(path: &Path, from: u64) -> anyhow::Result<String> {
    let what = || format!("read {}", path.display());
    let mut file = File::open(path).with_context(what)?;
    file.seek(SeekFrom::Start(from)).with_context(what)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).with_context(what)?;
    Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}
