//! A folder of documents that is watched: a Git checkout, a ConfigMap.
//!
//! What is in it is applied whole, and again when anything in it changes. A folder that is not in order changes nothing: its
//! faults are told, and what was in force stays.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use millrace_core::{Faults, document};
use millrace_runtime::Shutdown;
use sha2::{Digest as _, Sha256};

use crate::{
    apply,
    error::{Error, Result},
    store::Store,
};

/// How often it is looked at. A ConfigMap is swapped by links, which no notification tells reliably.
const LOOK: Duration = Duration::from_secs(2);

/// Applies a folder until shutdown.
pub(crate) async fn follow(folder: PathBuf, store: Store, shutdown: Shutdown) -> anyhow::Result<()> {
    let mut applied = None;
    loop {
        let (at, path) = (folder.clone(), folder.clone());
        let read = tokio::task::spawn_blocking(move || read(&at)).await?;
        let hash = hash(&read);
        if applied.as_ref() != Some(&hash) {
            match put(&read, &store).await {
                Ok(changes) => {
                    tracing::info!(folder = %path.display(), documents = read.len(), changes, "folder is in force");
                    applied = Some(hash);
                }
                Err(Refused::Faults(faults)) => {
                    tracing::error!(folder = %path.display(), %faults, "folder is not in order: what was in force stays");
                    applied = Some(hash);
                }
                Err(Refused::Store(error)) => tracing::warn!(%error, "cannot apply the folder, trying again"),
            }
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

/// Names and texts of the documents in a folder.
fn read(folder: &Path) -> Vec<(String, String)> {
    let mut documents = Vec::new();
    for file in document::files_in(folder) {
        let name = file.display().to_string();
        match std::fs::read_to_string(&file) {
            Ok(text) => documents.extend(document::split(&text).into_iter().map(|text| (name.clone(), text))),
            Err(error) => tracing::warn!(file = name, %error, "cannot be read"),
        }
    }
    documents
}

fn hash(documents: &[(String, String)]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for (name, text) in documents {
        // With their lengths: where one ends and the next begins is part of it.
        for part in [name, text] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
    }
    hash.finalize().into()
}

/// Applies documents. Gives how many of them were new or changed.
async fn put(documents: &[(String, String)], store: &Store) -> Result<usize, Refused> {
    let texts = documents.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    let given = apply::parse(texts).map_err(Refused::Faults)?;
    let decision =
        apply::checked(&given, store, Timestamp::now()).await.map_err(Refused::Store)?.map_err(Refused::Faults)?;
    store.put_in_force(&decision.writes).await.map_err(Refused::Store)?;
    Ok(decision.changes.iter().filter(|change| change.action != apply::Action::Unchanged).count())
}
