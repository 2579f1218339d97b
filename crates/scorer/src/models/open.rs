//! A bundle's way from its folder into use: its hashes, its parts, its features, its reference rows.

use std::{path::Path, sync::Arc};

use millrace_runtime::ConfigError;
use millrace_schema::{FieldPath, Guid, Schema};
use millrace_scoring::{Bundle, Plan, features};

/// Opens `models/<name>/`. Fields under `never` must not be among its features.
pub(crate) fn load(models: &Path, name: &str, never: &[FieldPath]) -> Result<Arc<Bundle>, ConfigError> {
    let dir = models.join(name);
    open(&dir, never).map_err(|error| {
        ConfigError::new(format!(
            "--models: no usable bundle of model `{name}`: {error}; `millrace-scorer train --out {}` makes one",
            dir.display()
        ))
    })
}

/// Opens a bundle, or says why it must not be used.
pub(crate) fn open(dir: &Path, never: &[FieldPath]) -> Result<Arc<Bundle>, String> {
    let bundle = Bundle::load(dir).map_err(|error| with_cause(&error))?;
    if let Some(fault) = bundle.program().paths().iter().find_map(|path| features::forbidden(path, never)) {
        return Err(fault);
    }
    warm_up(&bundle)?;
    Ok(bundle)
}

/// Opens a bundle that is to take the place of another: it must read the events that are scored now, or they would become dead
/// letters.
pub(crate) fn open_next(dir: &Path, never: &[FieldPath], writers: &[(Guid, Schema)]) -> Result<Arc<Bundle>, String> {
    let bundle = open(dir, never)?;
    for (guid, writer) in writers {
        Plan::compile(&bundle, writer)
            .map_err(|error| format!("it cannot read the events of schema {guid}: {}", with_cause(&error)))?;
    }
    Ok(bundle)
}

/// Tries it before anybody scores with it, on the events that it carries: caches are warm afterwards, and a bundle that this
/// machine does not score as the one that made it decides nothing.
fn warm_up(bundle: &Arc<Bundle>) -> Result<(), String> {
    Plan::compile(bundle, bundle.schema()).map_err(|error| with_cause(&error))?;
    bundle.warm_up().map_err(|error| format!("it fails its own reference rows: {}", with_cause(&error)))?;
    if bundle.reference_rows() == 0 {
        let (model, version) = (bundle.name(), bundle.version());
        // Whoever made it did without them, or an older version made it.
        tracing::warn!(model, version, "model bundle has no reference rows to be tried on");
    }
    Ok(())
}

fn with_cause(error: &millrace_scoring::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// The fields under a pipeline's `never`.
pub(crate) fn forbidden_fields(never: &[String]) -> Result<Vec<FieldPath>, ConfigError> {
    let parsed: Result<Vec<_>, _> = never.iter().map(|path| FieldPath::parse(path)).collect();
    parsed.map_err(|error| ConfigError::new(format!("`never`: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_bundle_is_bad_configuration_with_a_way_out() {
        let error = load(Path::new("/no/such"), "mail", &[]).err().unwrap().to_string();
        assert!(error.contains("/no/such/mail") && error.contains("millrace-scorer train"), "{error}");
    }
}
