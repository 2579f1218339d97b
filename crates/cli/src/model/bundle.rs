//! Bundles on their way to the registry and back.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read as _, Write as _},
    path::Path,
};

use anyhow::{Context as _, bail};
use millrace_proto::registry::v1::{
    ModelRef, Piece, PullModelRequest, PushModelRequest, pull_model_response,
    push_model_request::{Begin, Part},
};
use millrace_scoring::Bundle;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::Client;
use crate::connect::{answer, explain};

/// Bytes of a file that are sent at once.
const PIECE: usize = 256 << 10;
/// Pieces that wait for the registry.
const AHEAD: usize = 8;
const MANIFEST: &str = "manifest.json";

/// What a push came to.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Pushed {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) known: bool,
}

/// What is read of a manifest: where its files are.
#[derive(Deserialize)]
struct Listed {
    files: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    file: String,
}

fn listed(manifest: &str) -> anyhow::Result<Listed> {
    serde_json::from_str(manifest).context("read the bundle's manifest")
}

/// Checks a bundle as a scorer would, and sends it.
pub(super) async fn push(client: &mut Client, folder: &Path, by: String) -> anyhow::Result<Pushed> {
    Bundle::load(folder).with_context(|| format!("{} is no bundle", folder.display()))?;
    let manifest = fs::read_to_string(folder.join(MANIFEST)).context("read the bundle's manifest")?;
    let (sender, receiver) = mpsc::channel(AHEAD);
    let folder = folder.to_owned();
    let reading = tokio::task::spawn_blocking(move || send(&folder, manifest, by, &sender));
    let answered = client.push_model(ReceiverStream::new(receiver)).await;
    // What cannot be read here is the reason of what the registry then misses; one that refuses hears no more, which is none.
    reading.await??;
    let answered = answer(answered)?;
    let ModelRef { name, version } = answered.model.unwrap_or_default();
    Ok(Pushed { name, version, known: answered.known })
}

fn send(folder: &Path, manifest: String, by: String, to: &mpsc::Sender<PushModelRequest>) -> anyhow::Result<()> {
    let files = listed(&manifest)?.files;
    let send = |part| to.blocking_send(PushModelRequest { part: Some(part) }).is_ok();
    if !send(Part::Begin(Begin { manifest, by })) {
        return Ok(());
    }
    for (key, Entry { file }) in files {
        let path = folder.join(file);
        let mut input = File::open(&path).with_context(|| format!("read {}", path.display()))?;
        loop {
            let mut bytes = Vec::with_capacity(PIECE);
            (&mut input).take(PIECE as u64).read_to_end(&mut bytes)?;
            let is_last = bytes.len() < PIECE;
            if !send(Part::Piece(Piece { file: key.clone(), bytes })) || is_last {
                break;
            }
        }
    }
    Ok(())
}

/// Gets a bundle, checks it as a scorer would, and puts it into the folder.
pub(super) async fn pull(client: &mut Client, model: &ModelRef, out: &Path) -> anyhow::Result<()> {
    let beside = tempfile::tempdir().context("make a folder for the bundle")?;
    let request = PullModelRequest { model: Some(model.clone()) };
    let mut parts = answer(client.pull_model(request).await)?;
    let mut files: Option<BTreeMap<String, Entry>> = None;
    let mut open: Option<(String, File)> = None;
    while let Some(answer) = parts.message().await.map_err(|status| explain(&status))? {
        match (answer.part, &files) {
            (Some(pull_model_response::Part::Manifest(text)), None) => {
                fs::write(beside.path().join(MANIFEST), &text)?;
                files = Some(listed(&text)?.files);
            }
            (Some(pull_model_response::Part::Piece(Piece { file: key, bytes })), Some(files)) => {
                let mut file = match open.take() {
                    Some((current, file)) if current == key => file,
                    _ => File::create(beside.path().join(name(files, &key)?))?,
                };
                file.write_all(&bytes)?;
                open = Some((key, file));
            }
            _ => bail!("the registry sent something else than a manifest and then its files"),
        }
    }
    drop(open);
    Bundle::load(beside.path()).context("the bundle did not come whole")?;
    let names = files.iter().flat_map(BTreeMap::values).map(|entry| entry.file.as_str());
    // To the byte, the manifest last: who reads meanwhile finds the bundle of before, or this one.
    for name in names.chain([MANIFEST]) {
        place(&beside.path().join(name), out, name).with_context(|| format!("write {}", out.join(name).display()))?;
    }
    Ok(())
}

/// Copies a file beside its place, makes it durable, renames it.
fn place(from: &Path, folder: &Path, name: &str) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let beside = folder.join(format!(".{name}.{}", std::process::id()));
    fs::copy(from, &beside)?;
    File::open(&beside)?.sync_all()?;
    fs::rename(beside, folder.join(name))
}

/// The file's name in its folder, and in no other.
fn name<'a>(files: &'a BTreeMap<String, Entry>, key: &str) -> anyhow::Result<&'a str> {
    let name = files.get(key).map(|entry| entry.file.as_str()).with_context(|| format!("no file {key} was listed"))?;
    if name.contains(['/', '\\']) || name.starts_with('.') {
        bail!("{name:?} is not a file of the bundle's folder");
    }
    Ok(name)
}
