//! A model that a folder says: another bundle there takes its place.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use millrace_runtime::Shutdown;
use millrace_schema::FieldPath;
use opentelemetry::metrics::Meter;

use super::{InUse, Model, open::open_next};
use crate::metrics::ModelMetrics;

/// How often a folder is looked at.
const INTERVAL: Duration = Duration::from_secs(2);
/// The file that is written last when a bundle is put in place.
const MANIFEST: &str = "manifest.json";

/// Where a model's bundle is, and what it must not look at.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    pub(crate) dir: PathBuf,
    pub(crate) never: Vec<FieldPath>,
}

impl Folder {
    /// Looks at the folder until the shutdown. A bundle that cannot be used is refused, once, and the old one stays.
    pub(crate) async fn watch(self, model: Arc<Model>, meter: Meter, shutdown: Shutdown) -> anyhow::Result<()> {
        let metrics = ModelMetrics::new(&meter);
        let mut seen = manifest(&self.dir);
        if let Some(InUse { bundle, .. }) = model.current() {
            metrics.in_use(bundle.name(), bundle.version(), true);
        }
        loop {
            tokio::select! {
                () = shutdown.wait() => return Ok(()),
                () = tokio::time::sleep(INTERVAL) => {}
            }
            let found = manifest(&self.dir);
            if found.is_some() && found != seen {
                seen = found;
                let (Self { dir, never }, writers) = (self.clone(), model.writers());
                let opened = tokio::task::spawn_blocking(move || open_next(&dir, &never, &writers)).await?;
                take_up(&model, opened, &metrics);
            }
        }
    }
}

fn take_up(model: &Model, opened: Result<Arc<millrace_scoring::Bundle>, String>, metrics: &ModelMetrics) {
    let Some(InUse { bundle: old, .. }) = model.current() else { return };
    match opened {
        Ok(new) if new.version() == old.version() => {}
        Ok(new) => {
            tracing::info!(model = new.name(), from = old.version(), to = new.version(), "model replaced");
            metrics.in_use(old.name(), old.version(), false);
            metrics.in_use(new.name(), new.version(), true);
            model.replace(InUse { bundle: new, revision: 0 });
        }
        Err(error) => {
            tracing::error!(model = old.name(), keeps = old.version(), error, "model bundle refused");
            metrics.refused(old.name());
        }
    }
}

fn manifest(dir: &Path) -> Option<Vec<u8>> {
    std::fs::read(dir.join(MANIFEST)).ok()
}
