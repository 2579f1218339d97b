//! The model in use, and another one in its place when its folder says so.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use millrace_runtime::{ConfigError, Shutdown};
use millrace_schema::FieldPath;
use millrace_scoring::{Bundle, features};
use opentelemetry::metrics::Meter;

use crate::metrics::ModelMetrics;

/// How often a folder is looked at.
const INTERVAL: Duration = Duration::from_secs(2);
/// The file that is written last when a bundle is put in place.
const MANIFEST: &str = "manifest.json";

/// A model's bundle, shared by the lanes that score with it.
pub struct Model {
    dir: PathBuf,
    never: Vec<FieldPath>,
    current: RwLock<Arc<Bundle>>,
}

impl Model {
    /// Loads `models/<name>/`. Fields under `never` must not be among its features.
    pub fn load(models: &Path, name: &str, never: &[String]) -> Result<Self, ConfigError> {
        let dir = models.join(name);
        let never = forbidden_fields(never)?;
        let bundle = open(&dir, &never).map_err(|error| {
            ConfigError::new(format!(
                "--models: no usable bundle of model `{name}`: {error}; `millrace-scorer train --out {}` makes one",
                dir.display()
            ))
        })?;
        Ok(Self { dir, never, current: RwLock::new(bundle) })
    }

    /// A bundle that is in memory already, without a folder to watch.
    pub fn fixed(bundle: Arc<Bundle>) -> Self {
        Self { dir: PathBuf::new(), never: Vec::new(), current: RwLock::new(bundle) }
    }

    /// The bundle in use.
    pub fn current(&self) -> Arc<Bundle> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at the folder until the shutdown. A bundle that cannot be used is refused, once, and the old one stays.
    pub async fn watch(self: Arc<Self>, meter: Meter, shutdown: Shutdown) -> anyhow::Result<()> {
        let metrics = ModelMetrics::new(&meter);
        let mut seen = manifest(&self.dir);
        let first = self.current();
        metrics.in_use(first.name(), first.version(), true);
        warn_without_rows(&first);
        drop(first);
        loop {
            tokio::select! {
                () = shutdown.wait() => return Ok(()),
                () = tokio::time::sleep(INTERVAL) => {}
            }
            let found = manifest(&self.dir);
            if found.is_some() && found != seen {
                seen = found;
                let model = Arc::clone(&self);
                let loaded = tokio::task::spawn_blocking(move || open(&model.dir, &model.never)).await?;
                self.replace(loaded, &metrics);
            }
        }
    }

    fn replace(&self, loaded: Result<Arc<Bundle>, String>, metrics: &ModelMetrics) {
        let old = self.current();
        match loaded {
            Ok(new) if new.version() == old.version() => {}
            Ok(new) => {
                tracing::info!(model = new.name(), from = old.version(), to = new.version(), "model replaced");
                metrics.in_use(old.name(), old.version(), false);
                metrics.in_use(new.name(), new.version(), true);
                warn_without_rows(&new);
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
            }
            Err(error) => {
                tracing::error!(model = old.name(), keeps = old.version(), error, "model bundle refused");
                metrics.refused(old.name());
            }
        }
    }
}

fn open(dir: &Path, never: &[FieldPath]) -> Result<Arc<Bundle>, String> {
    let bundle = Bundle::load(dir).map_err(|error| match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    })?;
    if let Some(fault) = bundle.program().paths().iter().find_map(|path| features::forbidden(path, never)) {
        return Err(fault);
    }
    // Its own events are the first that it scores: caches are warm afterwards, and a bundle that this machine does not
    // score as the one that made it decides nothing.
    match bundle.warm_up() {
        Ok(_) => Ok(bundle),
        Err(error) => Err(format!("it fails its own reference rows: {error}")),
    }
}

/// Whoever made the bundle did without them, or an older version made it.
fn warn_without_rows(bundle: &Bundle) {
    if bundle.reference_rows() == 0 {
        let (model, version) = (bundle.name(), bundle.version());
        tracing::warn!(model, version, "model bundle has no reference rows to be tried on");
    }
}

/// The fields under a pipeline's `never`.
pub(crate) fn forbidden_fields(never: &[String]) -> Result<Vec<FieldPath>, ConfigError> {
    let parsed: Result<Vec<_>, _> = never.iter().map(|path| FieldPath::parse(path)).collect();
    parsed.map_err(|error| ConfigError::new(format!("`never`: {error}")))
}

fn manifest(dir: &Path) -> Option<Vec<u8>> {
    std::fs::read(dir.join(MANIFEST)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_bundle_is_bad_configuration_with_a_way_out() {
        let error = Model::load(Path::new("/no/such"), "mail", &[]).err().unwrap().to_string();
        assert!(error.contains("/no/such/mail") && error.contains("millrace-scorer train"), "{error}");
    }
}
