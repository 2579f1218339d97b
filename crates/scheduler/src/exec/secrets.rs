use std::path::PathBuf;

use millrace_runtime::{ConfigError, Secret};

/// Where the secrets are that documents name: mounted files, or the environment. A document never holds one.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    folder: Option<PathBuf>,
}

impl Secrets {
    /// Secrets in the files of a folder, by their names, and in the environment: `db-password` is also
    /// `MILLRACE_SECRET_DB_PASSWORD`.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self { folder }
    }

    /// The secret of a name, as it is now.
    pub fn get(&self, name: &str) -> Result<Secret, ConfigError> {
        let fits = |it: char| it.is_ascii_alphanumeric() || it == '-' || it == '_';
        if name.is_empty() || !name.chars().all(fits) {
            return Err(ConfigError::new(format!(
                "secret {name:?}: a name has letters, digits, dashes and underscores"
            )));
        }
        let variable = format!("MILLRACE_SECRET_{}", name.to_ascii_uppercase().replace('-', "_"));
        if let Some(path) = self.folder.as_ref().map(|folder| folder.join(name)).filter(|path| path.exists()) {
            return Secret::file(path);
        }
        match std::env::var(&variable) {
            Ok(value) if !value.is_empty() => Ok(Secret::value(value)),
            _ => Err(ConfigError::new(format!(
                "secret {name:?} is not there: neither a file in the secrets' folder nor {variable}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_come_from_files_and_never_from_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "abc\n").unwrap();
        let secrets = Secrets::new(Some(folder.path().to_owned()));
        assert_eq!(&*secrets.get("token").unwrap().expose(), "abc");
        let missing = secrets.get("other-token").unwrap_err().to_string();
        assert!(missing.contains("MILLRACE_SECRET_OTHER_TOKEN"), "{missing}");
        for name in ["../token", "", "a/b"] {
            assert!(secrets.get(name).is_err(), "{name}");
        }
    }
}
