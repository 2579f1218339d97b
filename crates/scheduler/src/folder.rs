//! A folder of documents that is watched: a Git checkout, a ConfigMap.
//!
//! What is in it is applied whole, and again when anything in it changes. A folder that is not in order changes nothing: its
//! faults are told, and what was in force stays.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use millrace_core::{Fault, Faults, Source, document};
use millrace_runtime::Shutdown;

use crate::{
    apply::{self, Abilities},
    error::{Error, Result},
    plan::Hash,
    store::Store,
};

/// How often it is looked at. A ConfigMap is swapped by links, which no notification tells reliably.
const LOOK: Duration = Duration::from_secs(2);

/// Applies a folder until shutdown.
pub(crate) async fn follow(
    folder: PathBuf,
    store: Store,
    abilities: Abilities,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let (mut applied, mut told) = (None, String::new());
    let path = folder.display().to_string();
    loop {
        let at = folder.clone();
        let outcome = match tokio::task::spawn_blocking(move || read(&at)).await? {
            Ok(read) if applied == Some(hash(&read)) => None,
            Ok(read) => Some(put(&read, &store, abilities).await.map(|changes| (hash(&read), read.len(), changes))),
            Err(faults) => Some(Err(Refused::Faults(faults))),
        };
        match outcome {
            None => {}
            Some(Ok((hash, documents, changes))) => {
                tracing::info!(folder = path, documents, changes, "folder is in force");
                (applied, told) = (Some(hash), String::new());
            }
            // What is wrong may be mended elsewhere: a pool that is made, a server that comes back.
            Some(Err(Refused::Faults(faults))) => {
                applied = None;
                let faults = faults.to_string();
                if faults != told {
                    tracing::error!(folder = path, faults, "folder is not in order: what was in force stays");
                    told = faults;
                }
            }
            Some(Err(Refused::Store(error))) => tracing::warn!(%error, "cannot apply the folder, trying again"),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = shutdown.wait() => return Ok(()),
        }
    }
}

enum Refused {
    Faults(Faults),
    Store(Error),
}

/// Names and texts of the documents in a folder, without those that are for others.
fn read(folder: &Path) -> Result<Vec<(String, String)>, Faults> {
    let mut documents = Vec::new();
    for file in document::files_in(folder) {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(&file).map_err(|error| {
            let message = format!("cannot be read: {error}");
            Faults::from(Fault { file: name.clone(), path: "$".to_owned(), line: 1, column: 1, message })
        })?;
        let texts = document::split(&text).into_iter().filter(|text| !is_for_others(&name, text));
        documents.extend(texts.map(|text| (name.clone(), text)));
    }
    Ok(documents)
}

/// Pipelines, and what is not ours at all, may lie in the same folder.
fn is_for_others(name: &str, text: &str) -> bool {
    if apply::unreadable(name, text).is_some() {
        return false;
    }
    let Ok(source) = Source::parse(name, text) else { return false };
    let field = |name: &str| source.value()[name].as_str().unwrap_or_default().to_owned();
    field("kind") == "Pipeline" || !field("apiVersion").starts_with("millrace.dev/")
}

fn hash(documents: &[(String, String)]) -> Hash {
    Hash::of_parts(documents.iter().flat_map(|(name, text)| [name.as_str(), text.as_str()]))
}

/// Applies documents. Gives how many of them were new or changed.
async fn put(documents: &[(String, String)], store: &Store, abilities: Abilities) -> Result<usize, Refused> {
    let texts = documents.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    let given = apply::parse(texts).map_err(Refused::Faults)?;
    let changes = apply::apply(&given, store, abilities, false).await;
    let changes = changes.map_err(Refused::Store)?.map_err(Refused::Faults)?;
    Ok(changes.iter().filter(|change| change.action != apply::Action::Unchanged).count())
}
